//! Routes that were served recently.

use std::collections::HashMap;
use std::time::Duration;

use crate::node::Member;
use crate::protocol::Route;
use crate::time::Time;

/// Routes of nodes that left, kept for a while.
#[derive(Debug)]
pub(super) struct GoneRoutes {
    remembered: Duration,
    gone_at: HashMap<Route<'static>, Time>,
    /// Maximum number of slashes in one of them.
    most_slashes: usize,
}

/// Maximum number of remembered routes. Requests for others are answered with 404.
const MAX_GONE: usize = 65_536;

impl GoneRoutes {
    pub(super) fn new(remembered: Duration) -> GoneRoutes {
        GoneRoutes {
            remembered,
            gone_at: HashMap::new(),
            most_slashes: 0,
        }
    }

    /// Adds the routes of a node that left.
    pub(super) fn left(&mut self, member: &Member, now: Time) {
        if self.gone_at.len() >= MAX_GONE {
            let remembered = self.remembered;
            self.gone_at
                .retain(|_, at| now.saturating_since(*at) < remembered);
        }
        for url in &member.node.urls {
            if self.gone_at.len() < MAX_GONE {
                self.insert(Route::parse(url), now);
            }
        }
    }

    fn insert(&mut self, route: Route<'_>, now: Time) {
        self.most_slashes = self.most_slashes.max(route.slashes());
        self.gone_at.insert(route.into_owned(), now);
    }

    /// Returns whether a prefix of a route was listed recently: its node may be restarting.
    pub(super) fn has(&self, route: &Route<'_>, now: Time) -> bool {
        let is_recent = |at: &Time| now.saturating_since(*at) < self.remembered;
        let mut prefixes = route.prefixes(self.most_slashes);
        prefixes.any(|prefix| self.gone_at.get(&prefix).is_some_and(is_recent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_gone_routes_with_all_below_them_for_a_while() {
        let mut gone = GoneRoutes::new(Duration::from_secs(1));
        assert!(!gone.has(&Route::get("/goods"), Time::ZERO));
        let second = Time::from_millis(1000);
        for url in ["GET/goods", "POST/"] {
            gone.insert(Route::parse(url), second);
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
            assert_eq!(
                gone.has(&Route::new(method, path), at),
                is_gone,
                "{method}{path}"
            );
        }
    }
}
