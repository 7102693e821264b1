//! The target of a request: a path and a query. Pure.

use super::syntax::is_host;
use crate::path::{check_decodings, has_segment};

/// The target of a request, in any of its forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target<'b> {
    /// As sent, percent-encoded. Begins with `/`, or is `*`.
    pub(super) path: &'b str,
    /// The part after the `?`, as sent.
    pub(super) query: Option<&'b str>,
    /// The host and port of a URL, which take precedence over the `Host`.
    pub(super) authority: Option<&'b str>,
}

pub(super) const NOT_ASCII: &str = "invalid request target: not printable ASCII; percent-encode it";

impl<'b> Target<'b> {
    /// Reads a target: a path, `*`, or an `http` URL.
    pub(super) fn read(method: &str, text: &'b str) -> Result<Target<'b>, &'static str> {
        if text == "*" && method == "OPTIONS" {
            return Ok(Target {
                path: text,
                query: None,
                authority: None,
            });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NOT_ASCII);
        }
        if text.contains('#') {
            return Err("invalid request target: it has a fragment");
        }
        let (authority, text) = if text.starts_with('/') {
            (None, text)
        } else {
            let (authority, text) = split_authority(text)?;
            (Some(authority), text)
        };
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        check_decodings(path, |path| {
            if has_segment(path, ".") || has_segment(path, "..") {
                return Err("invalid path: a `.` or `..` segment");
            }
            Ok(())
        })?;
        Ok(Target {
            path,
            query,
            authority,
        })
    }
}

/// Returns the authority of an absolute target, and the rest.
fn split_authority(text: &str) -> Result<(&str, &str), &'static str> {
    let no_path = "invalid request target: neither a path nor an http URL";
    let (scheme, rest) = text.split_once("://").ok_or(no_path)?;
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Err(no_path);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.is_empty() || !authority.bytes().all(is_host) {
        return Err("invalid request target: its host is not a host and a port");
    }
    Ok((authority, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_path_and_query() {
        for (text, path, query) in [
            ("/", "/", None),
            ("/goods?", "/goods", Some("")),
            ("/goods?a=1?b#", "", None),
            ("/goods?a=/../1", "/goods", Some("a=/../1")),
            ("http://a.example/goods?x", "/goods", Some("x")),
            ("HTTP://a.example:80", "/", None),
            ("https://a.example?x=http://b", "/", Some("x=http://b")),
            ("/a%2Fb", "/a%2Fb", None),
            ("/100%", "/100%", None),
            ("//goods", "//goods", None),
            ("/..goods/...", "/..goods/...", None),
            ("/%EC%82%AC", "/%EC%82%AC", None),
        ] {
            let target = Target::read("GET", text);
            if path.is_empty() {
                assert!(target.is_err(), "{text}")
            } else {
                let target = target.unwrap();
                assert_eq!((target.path, target.query), (path, query), "{text}");
            }
        }
    }

    #[test]
    fn takes_the_host_of_an_absolute_target() {
        for (text, authority) in [
            ("/a?http://b", None),
            ("http://a.example", Some("a.example")),
            ("http://[::1]:80/x", Some("[::1]:80")),
            ("HTTPS://a?x", Some("a")),
        ] {
            let target = Target::read("GET", text).unwrap();
            assert_eq!(target.authority, authority, "{text}");
        }
    }

    #[test]
    fn refuses_paths_that_lead_elsewhere() {
        for text in [
            "",
            "goods",
            "*",
            "?a",
            "a.example:80",
            "ftp://a/goods",
            "http:///goods",
            "http:/goods",
            "http://u@a/goods",
            "http://a\\b/goods",
            "http://a,b/goods",
            "http://\u{444}/goods",
            "javascript:1",
            "/..",
            "/goods/../secret",
            "/goods/..",
            "/./goods",
            "/goods/.",
            "/goods/%2e%2e/secret",
            "/goods/.%2E",
            "/goods/..%2fsecret",
            "/goods%2F..%2Fsecret",
            "/goods/%252e%252e/secret",
            "/a\\b",
            "/goods/..\\secret",
            "/a%5Cb",
            "/goods/..;x/secret",
            "/a%00",
            "/a%0d%0ab",
            "/%25252525252e",
            "/goods#x",
            "/사과",
            "/goods?q=\u{e9}",
            "http://a/../goods",
        ] {
            assert!(Target::read("GET", text).is_err(), "{text}");
        }
        assert!(Target::read("OPTIONS", "*").is_ok());
    }
}
