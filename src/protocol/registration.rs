//! Registrations: validated completely, and kept as received.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::error_code::{ErrorCode, Refusal};
use super::json::{Fields, Text, WellFormed, decode, depth};
use super::route::Route;

/// Limits for a registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistrationLimits {
    /// Maximum length of a registration in bytes. Every node receives all registrations.
    pub max_bytes: usize,
    /// Maximum length of the decoded name, in bytes.
    pub max_name_bytes: usize,
    /// Maximum number of urls.
    pub max_urls: usize,
    /// Maximum length of a decoded url, in bytes.
    pub max_url_bytes: usize,
    /// Maximum nesting of objects and arrays, including the registration itself: deeper ones are a
    /// risk for receivers that parse by recursion.
    pub max_depth: usize,
}

impl Default for RegistrationLimits {
    fn default() -> RegistrationLimits {
        RegistrationLimits {
            max_bytes: 16 << 10,
            max_name_bytes: 128,
            max_urls: 256,
            max_url_bytes: 2 << 10,
            max_depth: 16,
        }
    }
}

/// The `params` of a registration.
///
/// All other nodes receive them byte for byte: every string can be decoded, and no top-level field
/// occurs twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration<'a> {
    text: &'a str,
    name: Cow<'a, str>,
    port: Option<u16>,
    /// Place of the value of `urls`.
    urls_value: Option<Range<usize>>,
    /// Place of the value of `host`; empty if the node sent none.
    host_place: Range<usize>,
    /// Text that is written before the host in this place.
    host_head: &'static str,
}

impl<'a> Registration<'a> {
    /// Checks the `params` of a registration.
    pub fn check(
        params: Option<&'a RawValue>,
        limits: &RegistrationLimits,
    ) -> Result<Registration<'a>, Refusal> {
        let text = params.map_or("null", RawValue::get);
        if text.len() > limits.max_bytes {
            let (bytes, most) = (text.len(), limits.max_bytes);
            return too_much(format!(
                "registration too long: {bytes} bytes, at most {most}"
            ));
        }
        if !text.starts_with('{') {
            return invalid("params is not an object");
        }
        let fields = top_level_fields(text)?;
        if depth(text.as_bytes()) > limits.max_depth {
            return invalid("params: nested too deeply");
        }
        for (_, value) in &fields {
            // A raw value may contain strings that cannot be decoded, and numbers out of range.
            let checked = serde_json::from_str::<WellFormed>(value.get());
            checked.or_else(|error| invalid(format!("params: {error}")))?;
        }

        let field = |wanted: &str| {
            let found = fields.iter().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| *value)
        };
        let name = check_name(field("name"), limits)?;
        check_urls(field("urls"), limits)?;
        let (host_place, host_head) = match (field("host"), fields.last()) {
            (Some(value), _) => (span(text, value), ""),
            (None, Some((_, last))) => {
                let end = span(text, last).end;
                (end..end, ",\"host\":")
            }
            (None, None) => (1..1, "\"host\":"),
        };
        Ok(Registration {
            text,
            name,
            port: field("port").and_then(port_number),
            urls_value: field("urls").map(|value| span(text, value)),
            host_place,
            host_head,
        })
    }

    /// Returns the name, decoded; empty if there is none. Several nodes may have the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, if it is a number from 1 to 65535, or a string of one. Existing peers
    /// crash on a list with an entry without such a port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the urls, decoded. They are parsed at each call.
    pub fn urls(&self) -> Vec<Cow<'a, str>> {
        let value = self.urls_value.clone().and_then(|at| self.text.get(at));
        let urls = value.and_then(|value| serde_json::from_str::<Vec<Text<'a>>>(value).ok());
        (urls.into_iter().flatten()).map(|Text(url)| url).collect()
    }

    /// Writes the registration as received, with `host` as its host.
    pub fn write_with_host(&self, out: &mut Vec<u8>, host: &str) {
        let Range { start, end } = self.host_place;
        out.extend_from_slice(self.text.get(..start).unwrap_or_default().as_bytes());
        out.extend_from_slice(self.host_head.as_bytes());
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *out, host);
        out.extend_from_slice(self.text.get(end..).unwrap_or_default().as_bytes());
    }
}

fn invalid<T>(message: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidParameters, message))
}

fn too_much<T>(message: impl Into<Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::TooMuch, message))
}

fn check_name<'a>(
    value: Option<&'a RawValue>,
    limits: &RegistrationLimits,
) -> Result<Cow<'a, str>, Refusal> {
    let Some(value) = value else {
        return Ok(Cow::Borrowed(""));
    };
    let Some(name) = decode(value) else {
        return invalid("name is not a string");
    };
    if name.len() > limits.max_name_bytes {
        let (bytes, most) = (name.len(), limits.max_name_bytes);
        return too_much(format!("name too long: {bytes} bytes, at most {most}"));
    }
    if name.contains(char::is_control) {
        return invalid("name has a control character");
    }
    Ok(name)
}

fn check_urls(value: Option<&RawValue>, limits: &RegistrationLimits) -> Result<(), Refusal> {
    let Some(value) = value else {
        return Ok(());
    };
    let Ok(urls) = serde_json::from_str::<Vec<Text<'_>>>(value.get()) else {
        return invalid("urls is not an array of strings");
    };
    if urls.len() > limits.max_urls {
        let (count, most) = (urls.len(), limits.max_urls);
        return too_much(format!("too many urls: {count}, at most {most}"));
    }
    for Text(url) in &urls {
        if url.len() > limits.max_url_bytes {
            let (bytes, most) = (url.len(), limits.max_url_bytes);
            return too_much(format!("url too long: {bytes} bytes, at most {most}"));
        }
        if let Err(mistake) = Route::parse(url).check() {
            return invalid(format!("urls: {mistake}"));
        }
    }
    Ok(())
}

pub(super) fn port_number(value: &RawValue) -> Option<u16> {
    let digits = decode(value).unwrap_or(Cow::Borrowed(value.get()));
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Returns the place of `value` in `text`, which it borrows from.
fn span(text: &str, value: &RawValue) -> Range<usize> {
    let value = value.get();
    let start = value.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + value.len()
}

fn top_level_fields(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, Refusal> {
    let fields = serde_json::from_str(text).or_else(|error| invalid(format!("params: {error}")));
    let Fields(fields) = fields?;
    let mut keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return invalid("params has a field twice");
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn code(text: &str) -> ErrorCode {
        let raw = raw(text);
        Registration::check(Some(&raw), &RegistrationLimits::default())
            .unwrap_err()
            .code
    }

    fn with_host(text: &str) -> String {
        let raw = raw(text);
        let registration = Registration::check(Some(&raw), &RegistrationLimits::default()).unwrap();
        let mut out = Vec::new();
        registration.write_with_host(&mut out, "10.0.0.7");
        String::from_utf8(out).unwrap()
    }

    fn port(text: &str) -> Option<u16> {
        let raw = raw(text);
        Registration::check(Some(&raw), &RegistrationLimits::default())
            .unwrap()
            .port()
    }

    #[test]
    fn keeps_the_registration_verbatim_with_the_host_last() {
        assert_eq!(
            with_host(r#"{"port":9010,"name":"goods","urls":["POST/goods"]}"#),
            r#"{"port":9010,"name":"goods","urls":["POST/goods"],"host":"10.0.0.7"}"#
        );
        assert_eq!(
            with_host("{ \"zone\" : {\"a\":[1.50, \"\\u00b6\"]} , \"port\":\"9010\" }"),
            "{ \"zone\" : {\"a\":[1.50, \"\\u00b6\"]} , \"port\":\"9010\",\"host\":\"10.0.0.7\" }"
        );
        assert_eq!(with_host("{}"), r#"{"host":"10.0.0.7"}"#);
        assert_eq!(with_host("{ }"), r#"{"host":"10.0.0.7" }"#);
    }

    #[test]
    fn gives_no_key_a_special_meaning() {
        let text = r#"{"x":{"$serde_json::private::RawValue":1},"port":1}"#;
        assert_eq!(port(text), Some(1));
    }

    #[test]
    fn overwrites_a_sent_host_in_place() {
        assert_eq!(
            with_host(r#"{"host":"evil","port":1}"#),
            r#"{"host":"10.0.0.7","port":1}"#
        );
        assert_eq!(
            with_host(r#"{"\u0068ost": [{"host":1}] ,"port":1}"#),
            r#"{"\u0068ost": "10.0.0.7" ,"port":1}"#
        );
    }

    #[test]
    fn rejects_params_that_readers_would_interpret_differently() {
        for text in [
            r#"{"host":"a","host":"b"}"#,
            r#"{"host":"a","\u0068ost":"b"}"#,
            r#"{"x":1,"x":1}"#,
            r#"{"x":"\ud800"}"#,
            r#"{"x":{"deep":["\udc00\ud800"]}}"#,
            r#"{"\ud800":1}"#,
            r#"{"x":{"\ud800":1}}"#,
        ] {
            assert_eq!(code(text), ErrorCode::InvalidParameters, "{text}");
        }
    }

    #[test]
    fn rejects_params_of_another_type() {
        for text in ["null", "\"text\"", "7", "[]", "true"] {
            assert_eq!(code(text), ErrorCode::InvalidParameters, "{text}");
        }
        let missing = Registration::check(None, &RegistrationLimits::default());
        assert_eq!(missing.unwrap_err().code, ErrorCode::InvalidParameters);
    }

    #[test]
    fn limits_nesting() {
        let nested = |depth: usize| {
            format!(
                "{{\"x\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        with_host(&nested(16));
        assert_eq!(code(&nested(17)), ErrorCode::InvalidParameters);
        let objects = |depth: usize| "{\"x\":".repeat(depth) + "1" + &"}".repeat(depth);
        with_host(&objects(16));
        assert_eq!(code(&objects(17)), ErrorCode::InvalidParameters);
        assert_eq!(code(&nested(5_000)), ErrorCode::InvalidParameters);
    }

    #[test]
    fn limits_sizes() {
        with_host(&format!("{{\"name\":\"{}\"}}", "n".repeat(128)));
        assert_eq!(
            code(&format!("{{\"name\":\"{}\"}}", "n".repeat(129))),
            ErrorCode::TooMuch
        );

        let urls = |count: usize| format!("{{\"urls\":[{}]}}", vec!["\"GET/a\""; count].join(","));
        with_host(&urls(256));
        assert_eq!(code(&urls(257)), ErrorCode::TooMuch);

        let url = |bytes: usize| format!("{{\"urls\":[\"GET/{}\"]}}", "u".repeat(bytes - 4));
        with_host(&url(2048));
        assert_eq!(code(&url(2049)), ErrorCode::TooMuch);

        let pad = |bytes: usize| format!("{{\"x\":\"{}\"}}", "p".repeat(bytes - 8));
        with_host(&pad(16 << 10));
        assert_eq!(code(&pad((16 << 10) + 1)), ErrorCode::TooMuch);
    }

    #[test]
    fn rejects_control_characters_in_names_and_urls() {
        for text in [
            r#"{"name":7}"#,
            r#"{"name":null}"#,
            r#"{"name":"a\nb"}"#,
            r#"{"name":"a\u009bb"}"#,
            r#"{"urls":"GET/goods"}"#,
            r#"{"urls":[1]}"#,
            r#"{"urls":["GET/a\u0000"]}"#,
        ] {
            assert_eq!(code(text), ErrorCode::InvalidParameters, "{text}");
        }
        with_host(r#"{"name":"상품 서비스"}"#);
    }

    #[test]
    fn reads_a_port_from_a_number_or_a_string() {
        assert_eq!(port(r#"{"port":9010}"#), Some(9010));
        assert_eq!(port(r#"{"port":"9010"}"#), Some(9010));
        for text in [
            "{}",
            r#"{"prot":9010}"#,
            r#"{"port":0}"#,
            r#"{"port":65536}"#,
            r#"{"port":-1}"#,
            r#"{"port":"+80"}"#,
            r#"{"port":""}"#,
            r#"{"port":80.5}"#,
            r#"{"port":null}"#,
            r#"{"port":[80]}"#,
        ] {
            assert_eq!(port(text), None, "{text}");
        }
    }

    proptest! {
        /// Checks that an accepted registration, with its host, is JSON with the same fields.
        #[test]
        fn the_host_is_the_only_change(
            mut fields in prop::collection::vec(("[a-z\"\\\\é¶]{0,6}", "[ -~]{0,8}"), 0..8),
            spaces in "[ \n\t]{0,3}",
        ) {
            fields.sort();
            fields.dedup_by(|a, b| a.0 == b.0);
            fields.retain(|(key, _)| !["name", "urls"].contains(&key.as_str()));
            let quote = |text: &str| serde_json::Value::from(text).to_string();
            let body: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}{spaces}:{}", quote(key), quote(value)))
                .collect();
            let text = format!("{{{spaces}{}{spaces}}}", body.join(","));
            let out = with_host(&text);
            let parsed = top_level_fields(&out).unwrap();
            let mut expected: Vec<(String, String)> = fields
                .iter()
                .filter(|(key, _)| key != "host")
                .map(|(key, value)| (key.clone(), quote(value)))
                .collect();
            let without_host: Vec<(String, String)> = parsed
                .iter()
                .filter(|(key, _)| key != "host")
                .map(|(key, value)| (key.to_string(), value.get().to_owned()))
                .collect();
            expected.sort();
            let mut sorted = without_host.clone();
            sorted.sort();
            prop_assert_eq!(&sorted, &expected);
            prop_assert!(parsed.iter().any(|(key, value)| key == "host" && value.get() == "\"10.0.0.7\""));
        }
    }
}
