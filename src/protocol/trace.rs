//! Trace context: the place of a request in a distributed trace, as W3C Trace Context defines it.

use std::borrow::Cow;
use std::fmt;

/// The place of a request in a distributed trace: the `traceparent` and `tracestate` of W3C Trace
/// Context. Both are valid, and passed on unchanged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceContext<'a> {
    /// ASCII.
    parent: [u8; PARENT_BYTES],
    /// Empty if there is none.
    state: Cow<'a, str>,
}

/// Length of a `traceparent`: version, id of the trace, id of the span, and flags, with a dash
/// between two of them.
const PARENT_BYTES: usize = 55;
/// Maximum number of members of a `tracestate`.
const MAX_MEMBERS: usize = 32;
/// Maximum length of a `tracestate` that is passed on. W3C requires at least 512 characters.
const MAX_STATE_BYTES: usize = 4096;
/// Longer members are the first to be left out of a `tracestate` that is too long.
const LONG_MEMBER_BYTES: usize = 128;

impl TraceContext<'static> {
    /// Reads a `traceparent`, as in `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
    ///
    /// Returns `None` if it is invalid: then a `tracestate` beside it must not be used either. A
    /// longer one of a later version is converted to version 00.
    pub fn parse(traceparent: &str) -> Option<TraceContext<'static>> {
        let bytes = traceparent.as_bytes();
        let (parent, rest) = bytes.split_first_chunk::<PARENT_BYTES>()?;
        let mut parent = *parent;
        let is_parent = parent.iter().enumerate().all(|(place, byte)| match place {
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        let is_zero =
            |part: Option<&[u8]>| part.is_none_or(|part| part.iter().all(|byte| *byte == b'0'));
        let is_later = !parent.starts_with(b"00");
        if !is_parent
            || parent.starts_with(b"ff")
            || is_zero(parent.get(3..35))
            || is_zero(parent.get(36..52))
            || !(rest.is_empty() || is_later && rest.starts_with(b"-"))
        {
            return None;
        }
        if !rest.is_empty() {
            // What follows is of an unknown format.
            if let Some(version) = parent.first_chunk_mut() {
                *version = *b"00";
            }
        }
        Some(TraceContext {
            parent,
            state: Cow::Borrowed(""),
        })
    }
}

impl TraceContext<'_> {
    /// Adds a `tracestate`, as in `vendor=1,tenant@system=2`. An invalid one is ignored. One with
    /// more than 4096 characters is shortened by whole members: first by those with more than 128
    /// characters, then by the last ones.
    pub fn with_state<'b>(self, tracestate: impl Into<Cow<'b, str>>) -> TraceContext<'b> {
        let state = tracestate.into();
        let state = if !is_state(&state) {
            Cow::Borrowed("")
        } else if state.len() > MAX_STATE_BYTES {
            Cow::Owned(shortened(&state))
        } else {
            state
        };
        TraceContext {
            parent: self.parent,
            state,
        }
    }

    /// Returns the `traceparent`.
    pub fn traceparent(&self) -> &str {
        self.part(0, PARENT_BYTES)
    }

    /// Returns the `tracestate`, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        (!self.state.is_empty()).then_some(&*self.state)
    }

    /// Returns the id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.part(3, 35)
    }

    /// Returns the id of the span that the request belongs to: 16 hexadecimal digits.
    pub fn parent_id(&self) -> &str {
        self.part(36, 52)
    }

    /// Returns an owned copy.
    pub fn into_owned(self) -> TraceContext<'static> {
        TraceContext {
            parent: self.parent,
            state: Cow::Owned(self.state.into_owned()),
        }
    }

    fn part(&self, start: usize, end: usize) -> &str {
        let part = self.parent.get(start..end).unwrap_or_default();
        std::str::from_utf8(part).unwrap_or_default()
    }
}

impl fmt::Debug for TraceContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceContext")
            .field("traceparent", &self.traceparent())
            .field("tracestate", &self.tracestate())
            .finish()
    }
}

/// Returns the members of a list, which may have empty ones.
fn members(state: &str) -> impl Iterator<Item = &str> {
    let members = state
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']));
    members.filter(|member| !member.is_empty())
}

/// Returns whether this is a list of valid members, at most 32, with different keys.
fn is_state(state: &str) -> bool {
    let mut keys = [""; MAX_MEMBERS];
    let mut count = 0;
    for member in members(state) {
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        let is_known = keys.iter().take(count).any(|known| *known == key);
        let (Some(place), false) = (keys.get_mut(count), is_known) else {
            return false;
        };
        if !is_key(key) || !is_value(value) {
            return false;
        }
        *place = key;
        count += 1;
    }
    count > 0
}

/// Returns whether this is a key: a name, or the name of a tenant and that of its system.
fn is_key(key: &str) -> bool {
    let fits = |part: &str, may_begin_with_digit: bool, max: usize| {
        let is_inner =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        let is_first =
            |byte: u8| byte.is_ascii_lowercase() || may_begin_with_digit && byte.is_ascii_digit();
        part.len() <= max && part.bytes().next().is_some_and(is_first) && part.bytes().all(is_inner)
    };
    match key.split_once('@') {
        Some((tenant, system)) => fits(tenant, true, 241) && fits(system, false, 14),
        None => fits(key, false, 256),
    }
}

/// Returns whether this is a value: 1 to 256 printable characters. Spaces at its end are not part
/// of it.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

/// Returns as many members as fit.
fn shortened(state: &str) -> String {
    let mut left: Vec<&str> = members(state).collect();
    let bytes = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    while bytes(&left) > MAX_STATE_BYTES + 1 {
        let long = left
            .iter()
            .rposition(|member| member.len() > LONG_MEMBER_BYTES);
        left.remove(long.unwrap_or(left.len() - 1));
    }
    left.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn state(state: &str) -> Option<String> {
        let trace = TraceContext::parse(PARENT).unwrap().with_state(state);
        assert_eq!(trace.traceparent(), PARENT);
        trace.tracestate().map(ToOwned::to_owned)
    }

    #[test]
    fn reads_the_parts_of_a_traceparent() {
        let trace = TraceContext::parse(PARENT).unwrap();
        assert_eq!(trace.traceparent(), PARENT);
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent_id(), "b7ad6b7169203331");
        assert_eq!(trace.tracestate(), None);
    }

    #[test]
    fn rejects_invalid_traceparents() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for valid in [
            PARENT.to_owned(),
            format!("00-{trace}-{span}-00"),
            format!("00-{trace}-{span}-ff"),
            format!("cc-{trace}-{span}-01"),
        ] {
            let read = TraceContext::parse(&valid).unwrap();
            assert_eq!(read.traceparent(), valid);
        }
        let later = TraceContext::parse(&format!("cc-{trace}-{span}-01-what-follows")).unwrap();
        assert_eq!(later.traceparent(), PARENT);
        for invalid in [
            "".to_owned(),
            "00".to_owned(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-1"),
            format!("00-{trace}-{span}-001"),
            format!("00-{trace}-{span}-01-"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}-01."),
            format!("cc-{trace}-{span}-01.more"),
            format!("ff-{trace}-{span}-01"),
            format!("0-{trace}-{span}-01"),
            format!("0g-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{}-01", span.to_uppercase()),
            format!("00-{trace}-{span}-0A"),
            format!("00_{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.replace('a', ".")),
            format!(" 00-{trace}-{span}-01"),
            format!("00-{trace}-{span}-0é"),
        ] {
            assert_eq!(TraceContext::parse(&invalid), None, "{invalid}");
        }
    }

    #[test]
    fn keeps_valid_tracestates_unchanged() {
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("k{n}=v")).collect();
            members.join(",")
        };
        for valid in [
            "a=1",
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "a=1 ,\tb=2",
            "a=1,,b=2,",
            "0tenant/x@system=1",
            "a_-*/9=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~ x",
            &format!("{}=1", "z".repeat(256)),
            &format!("{}@{}=1", "t".repeat(241), "v".repeat(14)),
            &format!("a={}", "x".repeat(256)),
            &members(32),
        ] {
            assert_eq!(state(valid).as_deref(), Some(valid), "{valid}");
        }
        for invalid in [
            "",
            " , ",
            "a",
            "a=",
            "=1",
            "a=1,b",
            "A=1",
            "0a=1",
            "a.b=1",
            "a =1",
            "a=1=2",
            "a=é",
            "a=\u{1}",
            "a=1,a=2",
            "a@=1",
            "@a=1",
            "a@0=1",
            "a@b@c=1",
            &format!("{}=1", "z".repeat(257)),
            &format!("{}@v=1", "t".repeat(242)),
            &format!("t@{}=1", "v".repeat(15)),
            &format!("a={}", "x".repeat(257)),
            &members(33),
        ] {
            assert_eq!(state(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn shortens_tracestates_by_whole_members() {
        let short = |n: usize| format!("s{n}={}", "x".repeat(100));
        let long = |n: usize| format!("l{n}={}", "x".repeat(250));
        let mixed: Vec<String> = (0..30)
            .map(|n| if n % 2 == 0 { short(n) } else { long(n) })
            .collect();
        let kept = state(&mixed.join(",")).unwrap();
        assert!(kept.len() <= MAX_STATE_BYTES);
        assert_eq!(kept.matches("s").count(), 15);
        assert!(kept.starts_with(&format!("{},{},", short(0), long(1))));
        assert!(!kept.contains("l29") && kept.ends_with(&short(28)));

        let medium: Vec<String> = (0..32)
            .map(|n| format!("m{n}={}", "x".repeat(124)))
            .collect();
        let kept = state(&medium.join(",")).unwrap();
        assert!(kept.len() <= MAX_STATE_BYTES && kept.len() > MAX_STATE_BYTES - 128);
        assert!(kept.starts_with(&medium[0]) && !kept.contains("m31"));
    }
}
