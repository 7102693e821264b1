//! Routes that somebody served a moment ago.

use std::collections::HashMap;
use std::time::Duration;

use memchr::memchr_iter;

use crate::node::Member;
use crate::time::Time;

/// Routes that are gone, for a while.
#[derive(Debug)]
pub(super) struct GoneRoutes {
    remembered: Duration,
    gone_at: HashMap<Box<str>, Time>,
    /// In one of them.
    most_slashes: usize,
}

/// A fleet that loses more routes at once has other worries than their statuses.
const MAX_GONE: usize = 65_536;

impl GoneRoutes {
    pub(super) fn new(remembered: Duration) -> GoneRoutes {
        GoneRoutes {
            remembered,
            gone_at: HashMap::new(),
            most_slashes: 0,
        }
    }

    /// A node is gone, and with it perhaps its routes.
    pub(super) fn left(&mut self, member: &Member, now: Time) {
        if self.gone_at.len() >= MAX_GONE {
            let remembered = self.remembered;
            self.gone_at
                .retain(|_, at| now.saturating_since(*at) < remembered);
        }
        for url in &member.node.urls {
            if self.gone_at.len() < MAX_GONE {
                self.insert(url, now);
            }
        }
    }

    fn insert(&mut self, url: &str, now: Time) {
        let slashes = memchr_iter(b'/', url.as_bytes()).count();
        self.most_slashes = self.most_slashes.max(slashes);
        self.gone_at.insert(url.into(), now);
    }

    /// Whether a route was listed a moment ago, or a beginning of it: whoever served it may be
    /// starting again.
    pub(super) fn has(&self, method: &str, path: &str, now: Time) -> bool {
        if self.gone_at.is_empty() {
            return false;
        }
        let mut slashes = memchr_iter(b'/', path.as_bytes());
        let end = slashes.nth(self.most_slashes).unwrap_or(path.len());
        let mut url = format!("{method}{}", path.get(..end).unwrap_or(path));
        loop {
            let gone_at = self.gone_at.get(url.as_str());
            if gone_at.is_some_and(|at| now.saturating_since(*at) < self.remembered) {
                return true;
            }
            // One segment less, down to the root.
            match url.rfind('/') {
                Some(at) if at > method.len() => url.truncate(at),
                Some(at) if url.len() > at + 1 => url.truncate(at + 1),
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_remembered_for_a_while_with_all_below_it() {
        let mut gone = GoneRoutes::new(Duration::from_secs(1));
        assert!(!gone.has("GET", "/goods", Time::ZERO));
        let second = Time::from_millis(1000);
        for url in ["GET/goods", "POST/"] {
            gone.insert(url, second);
        }
        for (method, path, at, is_gone) in [
            ("GET", "/goods", 1000, true),
            ("GET", "/goods", 1999, true),
            ("GET", "/goods", 2000, false),
            ("GET", "/goods/1/2", 1000, true),
            ("GET", "/goodsbye", 1000, false),
            ("GET", "/", 1000, false),
            ("PUT", "/goods", 1000, false),
            ("POST", "/x/y", 1000, true),
            ("POST", "/", 1000, true),
            ("OPTIONS", "*", 1000, false),
        ] {
            let at = Time::from_millis(at);
            assert_eq!(gone.has(method, path, at), is_gone, "{method}{path}");
        }
    }
}
