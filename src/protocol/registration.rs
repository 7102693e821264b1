//! What a node says about itself, checked in full and kept as it came.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error_code::{ErrorCode, Refusal};
use super::packet::decode;
use super::route::Route;

/// How much a node may say about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistrationLimits {
    /// All of it as it came. Everyone is sent everybody's.
    pub max_bytes: usize,
    /// The name, decoded.
    pub max_name_bytes: usize,
    /// How many urls.
    pub max_urls: usize,
    /// One url, decoded.
    pub max_url_bytes: usize,
    /// Objects and arrays in each other, the registration itself counted: more would be a risk for
    /// receivers that parse by recursion.
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
/// They go to all other nodes byte for byte, so they were checked first: whatever reads them can
/// decode every string, and finds no top-level field twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration<'a> {
    text: &'a str,
    name: Cow<'a, str>,
    port: Option<u16>,
    /// The value of `urls`, if there is one.
    urls_value: Option<Range<usize>>,
    /// The value of `host`; if the node sent none, the empty place for one.
    host_place: Range<usize>,
    /// What the value in this place follows.
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
            let most = limits.max_bytes;
            return too_much(format!("a registration has at most {most} bytes"));
        }
        if !text.starts_with('{') {
            return invalid("params is not an object");
        }
        let fields = top_level_fields(text)?;
        let depth = limits.max_depth.saturating_sub(1);
        for (_, value) in &fields {
            let mut parser = serde_json::Deserializer::from_str(value.get());
            let checked = WellFormed { depth_left: depth }.deserialize(&mut parser);
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

    /// The name, decoded; empty if there is none. A label: several nodes may have the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if it is a number from 1 to 65535, or a string of one. Existing peers die of a
    /// list with an entry that has no such port.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// What it serves, decoded. Read anew each time: few ask.
    pub fn urls(&self) -> Vec<Cow<'a, str>> {
        let value = self.urls_value.clone().and_then(|at| self.text.get(at));
        let urls = value.and_then(|value| serde_json::from_str::<Vec<Text<'a>>>(value).ok());
        (urls.into_iter().flatten()).map(|Text(url)| url).collect()
    }

    /// Writes the registration as it came, but with `host` as its host.
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
        let most = limits.max_name_bytes;
        return too_much(format!("a name has at most {most} bytes"));
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
        return too_much(format!("a node has at most {} urls", limits.max_urls));
    }
    for Text(url) in &urls {
        if url.len() > limits.max_url_bytes {
            return too_much(format!("a url has at most {} bytes", limits.max_url_bytes));
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
    digits.parse().ok().filter(|_| plain)
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Where in `text` the part of it that `value` borrows lies.
fn span(text: &str, value: &RawValue) -> Range<usize> {
    let value = value.get();
    let start = value.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + value.len()
}

type Fields<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

fn top_level_fields(text: &str) -> Result<Fields<'_>, Refusal> {
    struct TopLevel;
    impl<'de> Visitor<'de> for TopLevel {
        type Value = Fields<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some((Text(key), value)) = map.next_entry()? {
                fields.push((key, value));
            }
            Ok(fields)
        }
    }

    let mut parser = serde_json::Deserializer::from_str(text);
    let fields = parser.deserialize_map(TopLevel);
    let fields = fields.or_else(|error| invalid(format!("params: {error}")))?;
    let mut keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return invalid("params has a field twice");
    }
    Ok(fields)
}

/// Goes through a whole value: each string must decode, and nothing be nested too deep.
struct WellFormed {
    depth_left: usize,
}

impl WellFormed {
    fn below<E: serde::de::Error>(&self) -> Result<WellFormed, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(WellFormed { depth_left }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for WellFormed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WellFormed {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.below::<A::Error>()?;
        while seq.next_element_seed(self.below::<A::Error>()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.below::<A::Error>()?;
        while map.next_key::<Text<'de>>()?.is_some() {
            map.next_value_seed(self.below::<A::Error>()?)?;
        }
        Ok(())
    }
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
    fn a_registration_is_kept_verbatim_with_the_host_last() {
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
    fn a_host_that_the_node_sent_is_overwritten_in_place() {
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
    fn what_would_be_read_differently_by_others_is_refused() {
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
    fn params_of_another_type_are_refused() {
        for text in ["null", "\"text\"", "7", "[]", "true"] {
            assert_eq!(code(text), ErrorCode::InvalidParameters, "{text}");
        }
        let missing = Registration::check(None, &RegistrationLimits::default());
        assert_eq!(missing.unwrap_err().code, ErrorCode::InvalidParameters);
    }

    #[test]
    fn nesting_is_limited() {
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
    fn sizes_are_limited() {
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
    fn names_and_urls_are_text_without_controls() {
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
    fn a_port_is_a_number_or_a_string_of_one() {
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
        /// Whatever is accepted is, with its host, still JSON with the same fields in the same order.
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
