//! Routes: the methods and paths that nodes serve.

use std::borrow::Cow;
use std::fmt;
use std::iter::successors;

use serde::{Serialize, Serializer};

use crate::path::{check_decodings, has_segment};

/// A method and a path. Nodes register it as one text, `METHOD/path`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Route<'a> {
    /// The method, in capitals.
    pub method: Cow<'a, str>,
    /// The path, from its first slash on.
    pub path: Cow<'a, str>,
}

impl<'a> Route<'a> {
    /// Creates a route.
    pub fn new(method: impl Into<Cow<'a, str>>, path: impl Into<Cow<'a, str>>) -> Route<'a> {
        Route {
            method: method.into(),
            path: path.into(),
        }
    }

    /// Creates a route with the method `GET`.
    pub const fn get(path: &'a str) -> Route<'a> {
        Route {
            method: Cow::Borrowed("GET"),
            path: Cow::Borrowed(path),
        }
    }

    /// Creates a route with the method `POST`.
    pub const fn post(path: &'a str) -> Route<'a> {
        Route {
            method: Cow::Borrowed("POST"),
            path: Cow::Borrowed(path),
        }
    }

    /// Splits `METHOD/path` at its first slash; without one, the path is empty.
    pub fn parse(text: &'a str) -> Route<'a> {
        let (method, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        Route::new(method, path)
    }

    /// Returns an owned copy of the route.
    pub fn into_owned(self) -> Route<'static> {
        Route::new(self.method.into_owned(), self.path.into_owned())
    }

    /// Returns the routes whose nodes serve this one, the longest first: the route itself, and its
    /// prefixes. Routes with more than `max_slashes` slashes are left out.
    pub(crate) fn prefixes(&self, max_slashes: usize) -> impl Iterator<Item = Route<'_>> {
        let mut slashes = memchr::memchr_iter(b'/', self.path.as_bytes());
        let end = slashes.nth(max_slashes).unwrap_or(self.path.len());
        let paths = successors(self.path.get(..end), |path| match path.rfind('/')? {
            0 if *path == "/" => None,
            0 => Some("/"),
            end => path.get(..end),
        });
        paths.map(|path| Route::new(&*self.method, path))
    }

    /// Returns the number of slashes in the path.
    pub(crate) fn slashes(&self) -> usize {
        memchr::memchr_iter(b'/', self.path.as_bytes()).count()
    }

    /// Rejects routes that could lead a gateway to another host or out of a path.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let Some(path) = self.path.strip_prefix('/') else {
            return Err("not METHOD/path, as in GET/goods");
        };
        if self.method.is_empty() || !self.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err("the method is not in capitals, as in GET/goods");
        }
        check_decodings(path, |path| {
            if path.starts_with('/') || path.contains("://") {
                return Err("a scheme or a host before the path");
            }
            // The path ends at these characters.
            let path = path.split(['?', '#']).next().unwrap_or_default();
            if has_segment(path, "..") {
                return Err("a segment .. in the path");
            }
            Ok(())
        })
    }
}

impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.method)?;
        f.write_str(&self.path)
    }
}

impl Serialize for Route<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_routes_that_leave_their_path() {
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
            assert_eq!(Route::parse(url).check(), Ok(()), "{url}");
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
            assert!(Route::parse(url).check().is_err(), "{url}");
        }
    }
}
