//! The model of subscriptions: what a session may be sent.

use std::cell::RefCell;
use std::collections::HashMap;
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

    /// Returns the only one that is left.
    pub fn only(&self) -> Option<Only> {
        match &*self.0 {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// True if any of them is not for all entries.
    pub fn is_any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// Drops those before the first that a frame may be of. `place_of` returns the earliest list
    /// that it may be of, with a subscription. Returns the earliest of all that are left.
    pub fn advance(&mut self, place_of: impl Fn(&Only) -> Option<usize>) -> Option<usize> {
        let places: Vec<Option<usize>> = self.0.iter().map(place_of).collect();
        let first = places.iter().position(Option::is_some)?;
        self.0.drain(..first);
        places.into_iter().flatten().min()
    }
}

/// Returns the entries that match.
pub fn matching(list: &[Rc<str>], only: &Only) -> Vec<Rc<str>> {
    let matching = list.iter().filter(|text| matches(text, only.as_deref()));
    matching.cloned().collect()
}

/// Returns whether an entry matches.
pub fn matches(text: &str, only: Option<&Value>) -> bool {
    let Some(only) = only else {
        return true;
    };
    let entry = read(text);
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

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    urls: Vec<String>,
}

/// Reads an entry. Each frame is compared with many lists, which have the same entries.
fn read(text: &str) -> Rc<Entry> {
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Rc<Entry>>> = RefCell::default();
    }
    let known = KNOWN.with_borrow(|known| known.get(text).cloned());
    known.unwrap_or_else(|| {
        let entry = Rc::new(serde_json::from_str(text).unwrap_or_default());
        KNOWN.with_borrow_mut(|known| known.insert(text.to_owned(), Rc::clone(&entry)));
        entry
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
