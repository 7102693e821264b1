//! JSON of a request, as text.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// JSON as it was received. Encoded as it is, without another check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawJson<'a>(&'a str);

impl<'a> RawJson<'a> {
    pub(in crate::node) fn new(json: &'a str) -> RawJson<'a> {
        RawJson(json)
    }

    /// Returns the text.
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The name under which [`serde_json::value::RawValue`] encodes itself. Making a `RawValue` of a
/// text costs a parse of all of it, a fifth of the cost of a request.
const RAW: &str = "$serde_json::private::RawValue";

impl Serialize for RawJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut raw = serializer.serialize_struct(RAW, 1)?;
        raw.serialize_field(RAW, self.0)?;
        raw.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_text_as_it_is() {
        let text = r#"{"a": [1.50, "\u00b6"]}"#;
        let encoded = serde_json::to_string(&(7, RawJson(text))).unwrap();
        assert_eq!(encoded, format!("[7,{text}]"));
    }
}
