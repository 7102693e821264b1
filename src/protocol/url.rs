//! What a node may say that it serves.

use crate::path::{check_decodings, has_segment};

/// A url is `METHOD/path`, and nothing that could lead a gateway to another host or out of a path.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    let Some((method, path)) = url.split_once('/') else {
        return Err("a url is METHOD/path, as in GET/goods");
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("a url begins with a method in capitals, as in GET/goods");
    }
    check_decodings(path, |path| {
        if path.starts_with('/') || path.contains("://") {
            return Err("a url has no scheme and no host");
        }
        // What follows these is not part of the path.
        let path = path.split(['?', '#']).next().unwrap_or_default();
        if has_segment(path, "..") {
            return Err("a url has no .. in its path");
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_paths() {
        for url in [
            "GET/",
            "GET/goods",
            "POST/a/b.c/..d",
            "GET/상품",
            "DELETE/a?x=1",
            "GET/a//b",
            "GET/%EC%83%81",
            "GET/a b",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "goods",
            "/goods",
            "http://evil/x",
            "GET//evil/x",
            "evil.example/x",
            "localhost:80/x",
            "get/x",
            "GET/../x",
            "GET/a/..",
            "GET/a/%2E%2e/b",
            "GET/a%2f..%2fb",
            "GET/a\\..\\b",
            "GET/a\\b",
            "GET/http://evil",
            "GET/a\u{7f}",
            "GET/..?x",
            "GET/..#f",
            "GET/..;v=1/x",
            "GET/%2fevil.example",
            "GET/%5Cevil.example",
            "GET/%252e%252e/x",
            "GET/%25252525252e./x",
            "GET/a%0d%0aHost:evil",
            "GET/a%25c2%99",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }
}
