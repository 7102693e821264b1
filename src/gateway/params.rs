//! The `params` of a call, from a query or a body. Pure.
//!
//! They equal those of a plain gateway in Node.js: a name that occurs twice has an array of its
//! values, every value of a query is text, and `key` is the key of the call, even if the client
//! sent another one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use memchr::memmem;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::protocol::json::{Fields, depth};

/// Names and values, in the order of their first occurrence.
#[derive(Debug)]
pub(super) struct Params<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

#[derive(Serialize, Debug)]
#[serde(untagged)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    Json(&'a RawValue),
    Key(u64),
}

/// Maximum number of pairs of a query or a body. Further ones are ignored, as by Node.js.
const MAX_PAIRS: usize = 1000;
/// Maximum depth of a JSON body: nodes may parse it by recursion.
const MAX_DEPTH: usize = 128;

impl<'a> Params<'a> {
    /// Reads urlencoded pairs.
    pub(super) fn from_pairs(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Params<'a> {
        let mut params = Params { fields: Vec::new() };
        let mut places = HashMap::new();
        for (name, value) in pairs.take(MAX_PAIRS) {
            params.put(&mut places, name, Value::Text(value), Value::add);
        }
        params
    }

    /// Appends a field, or combines its value with that of an earlier one of the same name.
    fn put(
        &mut self,
        places: &mut HashMap<Cow<'a, str>, usize>,
        name: Cow<'a, str>,
        value: Value<'a>,
        combine: fn(&mut Value<'a>, Value<'a>),
    ) {
        let place = *places.entry(name.clone()).or_insert(self.fields.len());
        match self.fields.get_mut(place) {
            Some((_, known)) => combine(known, value),
            None => self.fields.push((name, value)),
        }
    }

    /// Reads a JSON object. The error describes the body.
    pub(super) fn from_json(body: &'a [u8]) -> Result<Params<'a>, &'static str> {
        if depth(body) > MAX_DEPTH {
            return Err("the body is nested too deeply");
        }
        let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
        let no_object = "the body is not a JSON object";
        let text = text.trim_ascii();
        if !text.starts_with('{') {
            return Err(no_object);
        }
        let Fields(fields) = serde_json::from_str(text).map_err(|_| no_object)?;
        let mut params = Params { fields: Vec::new() };
        let mut places = HashMap::new();
        for (name, value) in fields {
            // Receivers differ in which of two fields with the same name counts: here the last
            // value, at the first place.
            let last = |known: &mut Value<'a>, value| *known = value;
            params.put(&mut places, name, Value::Json(value), last);
        }
        Ok(params)
    }

    /// Adds the key of the request, or replaces the client's own.
    pub(super) fn set_key(&mut self, key: u64) {
        match self.fields.iter_mut().find(|(name, _)| name == "key") {
            Some((_, value)) => *value = Value::Key(key),
            None => self.fields.push((Cow::Borrowed("key"), Value::Key(key))),
        }
    }

    /// Returns their length in a packet, where a `¶` is escaped.
    pub(super) fn packet_bytes(&self) -> usize {
        let mut counted = Counted(0);
        // Counting does not fail.
        let _ = serde_json::to_writer(&mut counted, self);
        counted.0
    }
}

impl<'a> Value<'a> {
    fn add(&mut self, value: Value<'a>) {
        match (&mut *self, value) {
            (Value::Texts(texts), Value::Text(text)) => texts.push(text),
            (Value::Text(first), Value::Text(text)) => {
                *self = Value::Texts(vec![std::mem::take(first), text]);
            }
            _ => {}
        }
    }
}

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

/// Counts the bytes written to it, as they would be in a frame.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const ADDED: usize = "\\u00b6".len() - "¶".len();
        self.0 += bytes.len() + ADDED * memmem::find_iter(bytes, "¶").count();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_pairs(text: &str) -> String {
        let mut params = Params::from_pairs(form_urlencoded::parse(text.as_bytes()));
        params.set_key(7);
        let encoded = serde_json::to_string(&params).unwrap();
        let marks = encoded.matches('¶').count();
        assert_eq!(params.packet_bytes(), encoded.len() + 4 * marks);
        encoded
    }

    fn of_json(text: &str) -> Result<String, &'static str> {
        let mut params = Params::from_json(text.as_bytes())?;
        params.set_key(7);
        Ok(serde_json::to_string(&params).unwrap())
    }

    #[test]
    fn reads_a_query_as_node_js_does() {
        for (query, params) in [
            ("", r#"{"key":7}"#),
            ("a=1", r#"{"a":"1","key":7}"#),
            ("a=1&b=2&a=3&a", r#"{"a":["1","3",""],"b":"2","key":7}"#),
            ("key=1&a=2", r#"{"key":7,"a":"2"}"#),
            ("key=1&key=2", r#"{"key":7}"#),
            ("%6bey=1", r#"{"key":7}"#),
            ("=x&&a=b=c&", r#"{"":"x","a":"b=c","key":7}"#),
            ("a=%22%5C+%EC%82%AC%zz", r#"{"a":"\"\\ 사%zz","key":7}"#),
            ("a=¶", r#"{"a":"¶","key":7}"#),
        ] {
            assert_eq!(of_pairs(query), params, "{query}");
        }
        let many: String = (0..2000).map(|number| format!("n{number}=&")).collect();
        assert_eq!(of_pairs(&many).matches('n').count(), MAX_PAIRS);
    }

    #[test]
    fn keeps_a_json_object_but_for_its_key() {
        for (body, params) in [
            ("{}", r#"{"key":7}"#),
            (
                " {\"a\" : 1.0, \"b\":[1, {\"key\":2}]}\r\n",
                r#"{"a":1.0,"b":[1, {"key":2}],"key":7}"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2,"key":7}"#),
            (r#"{"key":1,"a":2}"#, r#"{"key":7,"a":2}"#),
            (r#"{"k\u0065y":1}"#, r#"{"key":7}"#),
            (
                r#"{"big":12345678901234567890123}"#,
                r#"{"big":12345678901234567890123,"key":7}"#,
            ),
        ] {
            assert_eq!(of_json(body).as_deref(), Ok(params), "{body}");
        }
    }

    #[test]
    fn rejects_bodies_that_are_not_json_objects() {
        for body in [
            "",
            "null",
            "1",
            "\"a\"",
            "[]",
            "{",
            "{}{}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":01}",
        ] {
            assert!(of_json(body).is_err(), "{body}");
        }
        assert!(Params::from_json(b"{\"a\":\"\xff\"}").is_err());
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(of_json(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(of_json(&nested(MAX_DEPTH)).is_err());
        assert!(of_json(r#"{"a":"[[[[\"[[[[[["}"#).is_ok());
    }
}
