//! Parsers of values of flags, and values in messages.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::IntErrorKind;
use std::path::Path;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use humantime::{DurationError, format_duration, parse_duration};

use crate::distributor::AddressRange;

/// Maximum duration. Adding it to the current time, or multiplying it, does not overflow.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(1000 * 31_557_600);

/// Returns a value as messages show it: in quotes if it is empty, has white space, or has
/// characters that a terminal acts on.
pub(crate) fn shown(value: &str) -> Cow<'_, str> {
    let is_plain = !value.is_empty() && !value.contains(['"', ' ']);
    let escaped = value.escape_debug().to_string().replace("\\'", "'");
    if is_plain && escaped == value {
        value.into()
    } else {
        format!("{value:?}").into()
    }
}

/// Returns a path as messages show it.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(&path.to_string_lossy()).into_owned()
}

/// Returns a parser of whole numbers. Without a maximum, `most` is `u64::MAX`.
pub(crate) fn whole<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let range = if most == u64::MAX {
            format!("at least {least}")
        } else {
            format!("{least} to {most}")
        };
        let too_large = || format!("too large; use {least} to {most}");
        let number = match text.parse::<i128>() {
            Ok(number) => number,
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => return Err(too_large()),
            Err(_) => return Err(format!("not a whole number; use digits only, {range}")),
        };
        if number < i128::from(least) {
            return Err(format!("too small; use {range}"));
        }
        let number = u64::try_from(number).ok().filter(|number| *number <= most);
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(too_large)
    }
}

/// Returns a parser of durations.
pub(crate) fn duration(
    least: Duration,
    most: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    const FORM: &str = "write a number and a unit, as in 500ms, 10s or 2m";
    move |text| {
        let too_long = || format!("too long; use at most {}", format_duration(most));
        let time = parse_duration(text).map_err(|error| match error {
            DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
                format!("missing unit; {FORM}")
            }
            DurationError::UnknownUnit { unit, .. } => {
                format!("unknown unit {}; {FORM}", shown(&unit))
            }
            DurationError::NumberOverflow => too_long(),
            _ => format!("not a duration; {FORM}"),
        })?;
        if time < least {
            Err(format!(
                "too short; use at least {}",
                format_duration(least)
            ))
        } else if time > most {
            Err(too_long())
        } else {
            Ok(time)
        }
    }
}

/// Parses a duration of any length, also zero.
pub(crate) fn any_duration(text: &str) -> Result<Duration, String> {
    duration(Duration::ZERO, MAX_TIME)(text)
}

/// Parses a duration of at least a millisecond.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    duration(Duration::from_millis(1), MAX_TIME)(text)
}

/// Returns a parser of a switch that accepts several spellings.
pub(crate) fn switch() -> impl TypedValueParser<Value = bool> {
    let on = PossibleValue::new("true").aliases(["t", "yes", "y", "on", "1"]);
    let off = PossibleValue::new("false").aliases(["f", "no", "n", "off", "0"]);
    let values = PossibleValuesParser::new([on.clone(), off]);
    values.map(move |text| on.matches(&text, true))
}

/// Parses an address without a port, or a host name.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.parse::<IpAddr>().is_ok() || text.split('.').all(is_name) {
        Ok(text.to_owned())
    } else {
        Err("not a host; use an address or a host name without a port, as in 10.0.0.5".to_owned())
    }
}

/// Parses an address, or a block of addresses.
pub(crate) fn address_range(text: &str) -> Result<AddressRange, String> {
    text.parse().map_err(|_| {
        "not an address block; use ADDRESS or ADDRESS/BITS, as in 10.0.0.0/8".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_values_only_where_their_ends_would_be_unclear() {
        for plain in ["10k", "/a/b.toml", "상품", "a'b", "[::1]:9000"] {
            assert_eq!(shown(plain), plain);
        }
        for (value, quoted) in [
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a\nb", "\"a\\nb\""),
            ("a\"b", "\"a\\\"b\""),
            ("\u{1b}[31m", "\"\\u{1b}[31m\""),
        ] {
            assert_eq!(shown(value), quoted);
        }
    }

    #[test]
    fn whole_numbers_have_a_range() {
        let parse = whole::<u16>(1, 65_535);
        assert_eq!(parse("007"), Ok(7));
        for (text, why) in [
            ("", "not a whole number; use digits only, 1 to 65535"),
            ("1.5", "not a whole number; use digits only, 1 to 65535"),
            ("10k", "not a whole number; use digits only, 1 to 65535"),
            ("0", "too small; use 1 to 65535"),
            ("-1", "too small; use 1 to 65535"),
            ("65536", "too large; use 1 to 65535"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
        let parse = whole::<u64>(1, u64::MAX);
        assert_eq!(parse("0"), Err("too small; use at least 1".to_owned()));
        let most = u64::MAX.to_string();
        assert_eq!(parse(&most), Ok(u64::MAX));
        let huge = "9".repeat(60);
        for text in [&format!("{most}0"), &huge] {
            let why = parse(text).unwrap_err();
            assert_eq!(why, format!("too large; use 1 to {most}"));
        }
    }

    #[test]
    fn durations_have_a_unit_and_a_range() {
        let second = Duration::from_secs(1);
        let parse = duration(second, second * 60);
        assert_eq!(parse("1.5s"), Ok(second * 3 / 2));
        assert_eq!(parse("1m"), Ok(second * 60));
        const FORM: &str = "write a number and a unit, as in 500ms, 10s or 2m";
        for (text, why) in [
            ("", format!("not a duration; {FORM}")),
            ("x", format!("not a duration; {FORM}")),
            ("-1s", format!("not a duration; {FORM}")),
            ("5", format!("missing unit; {FORM}")),
            ("1m30", format!("missing unit; {FORM}")),
            ("5parsec", format!("unknown unit parsec; {FORM}")),
            ("999ms", "too short; use at least 1s".to_owned()),
            ("61s", "too long; use at most 1m".to_owned()),
            (
                "99999999999999999999s",
                "too long; use at most 1m".to_owned(),
            ),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
        let longest = format_duration(MAX_TIME).to_string();
        assert_eq!(
            (any_duration(&longest), &*longest),
            (Ok(MAX_TIME), "1000years")
        );
        assert_eq!(any_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn accepts_addresses_and_names_as_hosts() {
        for good in ["10.0.0.1", "::1", "db.internal", "node-7"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "a..b", "a\"b", "a¶"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
