//! Registrations are accepted exactly if they are harmless to all readers.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::text;
use pilcrow::fuzzing::{Registration, check_url};
use pilcrow::protocol::RegistrationLimits;
use pilcrow::reactor::SharedFrame;

/// The input is the `params`.
///
/// Returns whether it was accepted.
pub fn registration(input: &[u8]) -> bool {
    let params = std::str::from_utf8(input).map(serde_json::from_str::<&RawValue>);
    let Ok(Ok(params)) = params else {
        return false;
    };
    // Small enough for inputs to reach them.
    let limits = RegistrationLimits {
        max_bytes: 512,
        max_name_bytes: 16,
        max_urls: 3,
        max_url_bytes: 32,
        max_depth: 4,
    };
    let model = model(params.get(), &limits);
    match (Registration::check(Some(params), &limits), model) {
        (Ok(registration), Some(model)) => {
            compare(params.get(), &registration, &model);
            true
        }
        (Err(_), None) => false,
        (Ok(_), None) => panic!("accepted: {params}"),
        (Err(why), Some(_)) => panic!("rejected: {params}: {why}"),
    }
}

/// The fields in their order, with decoded keys.
type Fields = Vec<(String, Value)>;

/// Returns the fields that other readers see, or `None` if it is to be rejected.
fn model(params: &str, limits: &RegistrationLimits) -> Option<Fields> {
    let fields = fields(params)?;
    let mut keys: Vec<&String> = fields.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let is_text = |text: &str, max: usize| text.len() <= max && !text.contains(char::is_control);
    let name_is_fine = match find(&fields, "name") {
        None => true,
        Some(Value::String(name)) => is_text(name, limits.max_name_bytes),
        Some(_) => false,
    };
    let url_is_fine = |url: &Value| {
        url.as_str()
            .is_some_and(|url| is_text(url, limits.max_url_bytes) && check_url(url).is_ok())
    };
    let urls_are_fine = match find(&fields, "urls") {
        None => true,
        Some(Value::Array(urls)) => urls.len() <= limits.max_urls && urls.iter().all(url_is_fine),
        Some(_) => false,
    };
    let depth = 1 + fields
        .iter()
        .map(|(_, value)| depth(value))
        .max()
        .unwrap_or(0);
    let is_fine = keys.len() == fields.len()
        && params.len() <= limits.max_bytes
        && depth <= limits.max_depth
        && name_is_fine
        && urls_are_fine;
    is_fine.then_some(fields)
}

fn find<'f>(fields: &'f Fields, key: &str) -> Option<&'f Value> {
    let found = fields.iter().find(|(other, _)| other == key);
    found.map(|(_, value)| value)
}

fn depth(value: &Value) -> usize {
    let below: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => return 0,
    };
    1 + below.into_iter().map(depth).max().unwrap_or(0)
}

/// Returns the fields as values, or `None` unless it is an object that can be decoded.
fn fields(text: &str) -> Option<Fields> {
    struct InOrder;
    impl<'de> Visitor<'de> for InOrder {
        type Value = Fields;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let fields = parser.deserialize_map(InOrder).ok()?;
    parser.end().ok()?;
    Some(fields)
}

fn compare(params: &str, registration: &Registration<'_>, fields: &Fields) {
    let name = find(fields, "name").and_then(Value::as_str);
    assert_eq!(registration.name(), name.unwrap_or(""), "{params}");
    let urls = find(fields, "urls").and_then(Value::as_array);
    let urls: Vec<&str> = urls
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(registration.urls(), urls, "{params}");
    urls.iter().for_each(|url| text::url(url.as_bytes()));
    let port = match find(fields, "port") {
        Some(Value::Number(port)) => port.as_u64().and_then(|port| u16::try_from(port).ok()),
        Some(Value::String(port)) if !port.starts_with(['+', '0']) => port.parse().ok(),
        _ => None,
    };
    assert_eq!(
        registration.port(),
        port.filter(|port| *port > 0),
        "{params}"
    );

    for host in ["10.0.0.7", "a \"b\" ¶ \\"] {
        let mut listed = Vec::new();
        registration.write_with_host(&mut listed, host);
        let mut expected = fields.clone();
        match expected.iter_mut().find(|(key, _)| key == "host") {
            Some((_, value)) => *value = host.into(),
            None => expected.push(("host".to_owned(), host.into())),
        }
        let text = std::str::from_utf8(&listed).expect("it is text");
        assert_eq!(self::fields(text), Some(expected.clone()), "{params}");

        // In a list.
        let frame = SharedFrame::new(|out| out.extend_from_slice(&listed));
        let sent = frame.as_bytes().strip_suffix("¶".as_bytes()).expect("it ends");
        assert!(!sent.windows(2).any(|pair| pair == "¶".as_bytes()), "{params}");
        let sent = std::str::from_utf8(sent).expect("it is text");
        assert_eq!(self::fields(sent), Some(expected), "{params}");
    }
    if find(fields, "host").is_none() {
        // Unchanged except for its end.
        let mut listed = Vec::new();
        registration.write_with_host(&mut listed, "h");
        let rest = params.trim_end().trim_end_matches('}').trim_end();
        assert!(listed.starts_with(rest.trim_end_matches('}').as_bytes()) || fields.is_empty());
    }
}
