//! Subscriptions: the entries that a session receives.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error_code::{ErrorCode, Refusal};
use super::json::Text;
use super::route::Route;

/// The `only` of a session. An entry matches if its name is one of the names, one of its urls is
/// one of the urls, or one of its urls is under one of the prefixes. The empty one matches none.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Subscription {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) names: BTreeSet<Box<str>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) urls: BTreeSet<Box<str>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) prefixes: BTreeSet<Box<str>>,
}

/// Maximum number of names, of urls and of prefixes.
pub(crate) const MAX_OF_A_KIND: usize = 256;
/// Maximum length of a subscription as JSON.
pub(crate) const MAX_SUBSCRIPTION_BYTES: usize = 8 << 10;

/// The part of a `session` that is a subscription.
#[derive(Deserialize)]
struct Field<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    only: Option<&'a RawValue>,
}

/// Keeps a `null`, which is invalid, apart from an absent field.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists<'a> {
    #[serde(borrow, default)]
    names: Vec<Text<'a>>,
    #[serde(borrow, default)]
    urls: Vec<Text<'a>>,
    #[serde(borrow, default)]
    prefixes: Vec<Text<'a>>,
}

impl Subscription {
    /// Returns the subscription that matches nothing.
    pub fn new() -> Subscription {
        Subscription::default()
    }

    /// Adds names: entries with one of them match.
    #[must_use]
    pub fn names(mut self, names: impl IntoIterator<Item = impl ToString>) -> Self {
        self.names.extend(texts(names));
        self
    }

    /// Adds urls, as in `GET/goods`, or routes: entries that list one of them match.
    #[must_use]
    pub fn urls(mut self, urls: impl IntoIterator<Item = impl ToString>) -> Self {
        self.urls.extend(texts(urls));
        self
    }

    /// Adds prefixes of urls: entries that list a url under one of them match. Only whole segments
    /// count: `GET/stock/7` is under `GET/stock/` and under `GET/stock`, not under `GET/sto`.
    #[must_use]
    pub fn prefixes(mut self, prefixes: impl IntoIterator<Item = impl ToString>) -> Self {
        self.prefixes.extend(texts(prefixes));
        self
    }

    pub(crate) fn add_name(&mut self, name: &str) {
        self.names.insert(name.into());
    }

    /// Adds all urls that may serve routes under this one, whose path has one segment: the url
    /// itself, those under it, and the one of the method that serves every path.
    pub(crate) fn add_segment(&mut self, route: &Route<'_>) {
        let url = route.to_string();
        self.urls.insert(format!("{}/", route.method).into());
        self.prefixes.insert(format!("{url}/").into());
        self.urls.insert(url.into());
    }

    /// Returns whether a Distributor accepts the subscription.
    pub(crate) fn fits(&self) -> bool {
        let kinds = [&self.names, &self.urls, &self.prefixes];
        let bytes = serde_json::to_string(self).map_or(usize::MAX, |text| text.len());
        kinds.iter().all(|kind| kind.len() <= MAX_OF_A_KIND) && bytes <= MAX_SUBSCRIPTION_BYTES
    }

    /// Reads the subscription of a `session`; `None` if it has none.
    pub(crate) fn parse(session: &RawValue) -> Result<Option<Subscription>, Refusal> {
        let invalid = || {
            let message = "session: invalid only: use an object with the arrays of strings names, \
                           urls and prefixes";
            Refusal::new(ErrorCode::InvalidParameters, message)
        };
        let field: Field<'_> = serde_json::from_str(session.get()).map_err(|_| invalid())?;
        let Some(only) = field.only else {
            return Ok(None);
        };
        let text = only.get();
        if text.len() > MAX_SUBSCRIPTION_BYTES {
            let (bytes, most) = (text.len(), MAX_SUBSCRIPTION_BYTES);
            let message = format!("session: only too long: {bytes} bytes, at most {most}");
            return Err(Refusal::new(ErrorCode::TooMuch, message));
        }
        // A derived implementation would also accept an array.
        if !text.starts_with('{') {
            return Err(invalid());
        }
        let lists: Lists<'_> = serde_json::from_str(text).map_err(|_| invalid())?;
        let set = |kind: &str, list: Vec<Text<'_>>| {
            let (count, most) = (list.len(), MAX_OF_A_KIND);
            if count > most {
                let message = format!("session: only: too many {kind}: {count}, at most {most}");
                return Err(Refusal::new(ErrorCode::TooMuch, message));
            }
            Ok(list.into_iter().map(|Text(text)| text.into()).collect())
        };
        Ok(Some(Subscription {
            names: set("names", lists.names)?,
            urls: set("urls", lists.urls)?,
            prefixes: set("prefixes", lists.prefixes)?,
        }))
    }

    /// Returns whether an entry with this name and these urls matches.
    pub(crate) fn matches(&self, name: &str, urls: &[impl AsRef<str>]) -> bool {
        let has_url = |url: &str| {
            self.urls.contains(url) || self.prefixes.iter().any(|prefix| is_under(url, prefix))
        };
        self.names.contains(name) || urls.iter().any(|url| has_url(url.as_ref()))
    }
}

fn texts(from: impl IntoIterator<Item = impl ToString>) -> impl Iterator<Item = Box<str>> {
    from.into_iter().map(|text| text.to_string().into())
}

/// Returns whether a url begins with the prefix, and the prefix ends with a segment of it.
pub(crate) fn is_under(url: &str, prefix: &str) -> bool {
    let rest = url.strip_prefix(prefix);
    rest.is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(session: &str) -> Result<Option<Subscription>, Refusal> {
        let raw = RawValue::from_string(session.to_owned()).unwrap();
        Subscription::parse(&raw)
    }

    #[test]
    fn matches_names_urls_and_prefixes_of_whole_segments() {
        let only = |text: &str| parse(&format!("{{\"only\":{text}}}")).unwrap().unwrap();
        for (text, matches) in [
            (r#"{"names":["goods"]}"#, true),
            (r#"{"names":["good","GET/a/b"]}"#, false),
            (r#"{"urls":["GET/a/b"]}"#, true),
            (r#"{"urls":["GET/a","GET/a/b/","GET/"]}"#, false),
            (r#"{"prefixes":["GET/"]}"#, true),
            (r#"{"prefixes":["GET"]}"#, true),
            (r#"{"prefixes":["GET/a"]}"#, true),
            (r#"{"prefixes":["GET/a/"]}"#, true),
            (r#"{"prefixes":["GET/a/b"]}"#, true),
            (r#"{"prefixes":["GET/a/b/"]}"#, false),
            (r#"{"prefixes":["","G","GET/a/bc","POST/"]}"#, false),
            (r#"{"names":["x"],"urls":["y"],"prefixes":["GET/a"]}"#, true),
            (r#"{"names":["g\u006fods"]}"#, true),
            ("{}", false),
        ] {
            let urls = ["PUT/x", "GET/a/b"];
            assert_eq!(only(text).matches("goods", &urls), matches, "{text}");
        }
        assert!(!only("{}").matches("", &[""; 0]));
    }

    #[test]
    fn is_equal_in_any_order() {
        let a = parse(r#"{"only":{"names":["a","b","a"],"urls":[]}}"#);
        assert_eq!(a, parse(r#"{"only":{"names":["b","a"]}}"#));
        let text = serde_json::to_string(&a.unwrap()).unwrap();
        assert_eq!(text, r#"{"names":["a","b"]}"#);
    }

    #[test]
    fn rejects_other_types_and_keys_and_too_many() {
        assert_eq!(parse("{}"), Ok(None));
        let many = |count: usize| format!("{{\"urls\":{:?}}}", vec!["GET/"; count]);
        let long = |bytes: usize| format!("{{\"names\":[{:?}]}}", "x".repeat(bytes));
        assert!(parse(&format!("{{\"only\":{}}}", many(256))).is_ok());
        assert!(parse(&format!("{{\"only\":{}}}", long(8 * 1024 - 14))).is_ok());
        for (only, code) in [
            ("null", ErrorCode::InvalidParameters),
            ("[]", ErrorCode::InvalidParameters),
            ("[[],[],[]]", ErrorCode::InvalidParameters),
            ("true", ErrorCode::InvalidParameters),
            (r#"{"names":"a"}"#, ErrorCode::InvalidParameters),
            (r#"{"names":null}"#, ErrorCode::InvalidParameters),
            (r#"{"names":[7]}"#, ErrorCode::InvalidParameters),
            (r#"{"names":[],"names":[]}"#, ErrorCode::InvalidParameters),
            (r#"{"paths":[]}"#, ErrorCode::InvalidParameters),
            (&*many(257), ErrorCode::TooMuch),
            (&*long(8 * 1024 - 13), ErrorCode::TooMuch),
        ] {
            let refused = parse(&format!("{{\"only\":{only}}}"));
            assert_eq!(refused.unwrap_err().code, code, "{only}");
        }
    }
}
