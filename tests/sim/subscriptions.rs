//! The model of subscriptions: what a session may be sent.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Value, json};

use pilcrow::testing::sim::Random;

/// The `only` of a session; `None` for all entries.
pub type Only = Option<Rc<Value>>;

/// The subscriptions that a connection has requested, the oldest first. A frame is of one of them,
/// and of none before the one of the last frame.
#[derive(Clone, Default)]
pub struct Requested(Vec<Only>);

impl Requested {
    /// Only all entries.
    pub fn all() -> Requested {
        Requested(vec![None])
    }

    pub fn push(&mut self, only: Only) {
        if self.0.last() != Some(&only) {
            self.0.push(only);
        }
    }

    /// True if a frame can be of one only.
    pub fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// True if any of them is not for all entries.
    pub fn is_any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// Drops those before the first for which this is true, and returns it.
    pub fn advance(&mut self, mut may_be: impl FnMut(&Only) -> bool) -> Option<Only> {
        let place = self.0.iter().position(&mut may_be)?;
        self.0.drain(..place);
        self.0.first().cloned()
    }
}

/// Returns the entries that match.
pub fn matching(list: &[Rc<str>], only: &Only) -> Vec<Rc<str>> {
    let matching = list.iter().filter(|text| matches(text, only.as_deref()));
    matching.cloned().collect()
}

/// Returns whether an entry matches.
pub fn matches(text: &str, only: Option<&Value>) -> bool {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        name: String,
        #[serde(default)]
        urls: Vec<String>,
    }
    let Some(only) = only else {
        return true;
    };
    let Ok(entry) = serde_json::from_str::<Entry>(text) else {
        return false;
    };
    let any = |kind: &str, is: &dyn Fn(&str) -> bool| {
        let texts = only[kind].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).any(is)
    };
    any("names", &|name| entry.name == name)
        || any("urls", &|url| entry.urls.iter().any(|own| own == url))
        || any("prefixes", &|prefix| {
            entry.urls.iter().any(|own| own.starts_with(prefix))
        })
}

/// Draws a subscription to some of what the peers of the fleet register.
pub fn draw(random: &mut Random) -> Rc<Value> {
    let name = |random: &mut Random| format!("node {}", random.index(6));
    Rc::new(match random.index(6) {
        0 => json!({}),
        1 => json!({"urls": ["GET/raw"]}),
        2 => json!({"prefixes": ["GET/"]}),
        3 => json!({"names": [name(random), name(random)], "urls": ["GET/raw"]}),
        4 => json!({"names": ["node 0", "node 1", "node 2", "node 3"]}),
        _ => json!({"names": [name(random)], "prefixes": ["POST/"]}),
    })
}
