//! The methods that the listed nodes serve.

use std::collections::BTreeMap;

use crate::node::{Member, Roster};
use crate::protocol::Route;

/// The methods in the routes of all nodes, each with the number of its routes.
#[derive(Debug, Default)]
pub(super) struct Methods(BTreeMap<Box<str>, usize>);

/// Maximum number of methods. Routes with further ones are not in `Allow`.
const MAX_METHODS: usize = 32;
/// Maximum length of a method.
const MAX_METHOD_BYTES: usize = 32;

impl Methods {
    /// Adds the methods of a node that joined.
    pub(super) fn joined(&mut self, member: &Member) {
        for method in methods_of(member) {
            if let Some(routes) = self.0.get_mut(method) {
                *routes += 1;
            } else if self.0.len() < MAX_METHODS && method.len() <= MAX_METHOD_BYTES {
                self.0.insert(method.into(), 1);
            }
        }
    }

    /// Removes the methods of a node that left.
    pub(super) fn left(&mut self, member: &Member) {
        for method in methods_of(member) {
            let Some(routes) = self.0.get_mut(method) else {
                continue;
            };
            *routes = routes.saturating_sub(1);
            if *routes == 0 {
                self.0.remove(method);
            }
        }
    }

    /// Returns the methods for which nodes serve a path, as the value of `Allow`. `None` if the
    /// path is unknown: it is listed for no method, or only a node that serves all paths would
    /// serve it.
    pub(super) fn allowed(&self, roster: &Roster, path: &str) -> Option<String> {
        let mut allowed: Vec<&str> = Vec::new();
        let mut is_known = false;
        for method in self.0.keys() {
            let route = Route::new(&**method, path);
            let Some(member) = roster.serving_prefix(&route).next() else {
                continue;
            };
            is_known |= member.node.urls.iter().any(|url| lists(url, &route));
            allowed.push(method);
            if **method == *"GET" {
                // It is served as `GET`.
                allowed.push("HEAD");
            }
        }
        allowed.sort_unstable();
        allowed.dedup();
        is_known.then(|| allowed.join(", "))
    }
}

fn methods_of(member: &Member) -> impl Iterator<Item = &str> {
    let routes = member.node.urls.iter().map(|url| url.split_once('/'));
    routes.flatten().map(|(method, _)| method)
}

/// Returns whether a url of a node is the route, or a prefix of it other than `METHOD/`.
fn lists(url: &str, route: &Route<'_>) -> bool {
    let listed = Route::parse(url);
    let rest = route.path.strip_prefix(&*listed.path);
    listed.method == route.method
        && rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') && !matches!(&*listed.path, "" | "/")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_a_path_lists_only_its_root() {
        for (url, path, is_listed) in [
            ("GET/goods", "/goods", true),
            ("GET/goods", "/goods/17/x", true),
            ("GET/goods", "/goodsbye", false),
            ("GET/goods", "/", false),
            ("GET/", "/", true),
            ("GET/", "/goods", false),
            ("GET/", "//goods", false),
            ("GET/a/", "/a//b", true),
            ("GET/a/", "/a/b", false),
            ("POST/goods", "/goods", false),
            ("GET", "/goods", false),
        ] {
            assert_eq!(lists(url, &Route::get(path)), is_listed, "{url} {path}");
        }
    }
}
