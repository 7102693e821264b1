//! The flag that narrows what a gateway receives.

use crate::node::Interest;
use crate::protocol::{Route, Subscription};

/// Methods of a prefix without one.
const METHODS: [&str; 5] = ["DELETE", "GET", "PATCH", "POST", "PUT"];

/// Checks a prefix: `METHOD/PATH`, or `/PATH`.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    for route in routes(text) {
        let checked = route.check();
        checked.map_err(|why| format!("{why}; /PATH alone is for all methods"))?;
    }
    Ok(text.to_owned())
}

/// Returns the interest in the nodes that serve something under these prefixes; in all nodes
/// without any.
pub(super) fn interest(prefixes: &[String]) -> Result<Interest, String> {
    if prefixes.is_empty() {
        return Ok(Interest::All);
    }
    let mut only = Subscription::new();
    for route in prefixes.iter().flat_map(|prefix| routes(prefix)) {
        // Nodes that list a shorter path serve what is under it as well.
        let shorter = route.prefixes(usize::MAX).skip(1);
        only = only.urls(shorter).prefixes([&route]);
    }
    if only.fits() {
        Ok(Interest::Only(only))
    } else {
        Err("too many prefixes: use at most 256 of a method and path, and 8 KiB".to_owned())
    }
}

fn routes(prefix: &str) -> impl Iterator<Item = Route<'_>> {
    let route = Route::parse(prefix);
    let methods = if route.method.is_empty() {
        &METHODS[..]
    } else {
        &[]
    };
    let all = methods.iter().map({
        let path = route.path.clone();
        move |method| Route::new(*method, path.clone())
    });
    let given = methods.is_empty().then_some(route);
    all.chain(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receives_what_is_under_a_prefix_and_what_serves_it() {
        let get = interest(&["GET/shop/eu".to_owned(), "POST/".to_owned()]);
        let only = Subscription::new()
            .urls(["GET/shop", "GET/"])
            .prefixes(["GET/shop/eu", "POST/"]);
        assert_eq!(get, Ok(Interest::Only(only)));
        let all = METHODS.map(|method| format!("{method}/a"));
        let roots = METHODS.map(|method| format!("{method}/"));
        let only = Subscription::new().urls(roots).prefixes(all);
        assert_eq!(interest(&["/a".to_owned()]), Ok(Interest::Only(only)));
        assert_eq!(interest(&[]), Ok(Interest::All));
    }

    #[test]
    fn rejects_what_no_node_can_list() {
        for text in ["GET/shop", "/shop", "GET/", "/", "OPTIONS/a/b"] {
            assert_eq!(prefix(text), Ok(text.to_owned()));
        }
        for text in ["", "GET", "shop/a", "GET/../a", "GET//host"] {
            assert!(prefix(text).unwrap_err().contains("/PATH alone"), "{text}");
        }
        let many: Vec<String> = (0..300).map(|number| format!("GET/{number}")).collect();
        assert!(interest(&many).is_err());
        assert!(interest(&["/".repeat(9000)]).is_err());
    }
}
