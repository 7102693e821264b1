//! Tokens: each with its scope. Only hashes of them are stored.

use std::fmt;
use std::num::ParseIntError;
use std::sync::Arc;

use constant_time_eq::constant_time_eq_32;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::protocol::Token;

/// A set of tokens, each with the names and URLs that it admits.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Scopes, each with the hash of its token.
    grants: Vec<([u8; 32], Arc<Scope>)>,
    short: usize,
}

/// The names and URLs that a token admits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::distributor) struct Scope {
    /// If empty, every name.
    name_prefix: Box<str>,
    /// If empty, every URL.
    url_prefixes: Vec<Box<str>>,
}

impl Scope {
    pub(in crate::distributor) fn allows(&self, name: &str, urls: &[impl AsRef<str>]) -> bool {
        let is_bound = |url: &str| {
            self.url_prefixes
                .iter()
                .any(|prefix| has_prefix(url, prefix))
        };
        name.starts_with(&*self.name_prefix)
            && (self.url_prefixes.is_empty() || urls.iter().all(|url| is_bound(url.as_ref())))
    }
}

/// Returns whether `url` starts with `prefix`; a prefix without a method matches the path.
fn has_prefix(url: &str, prefix: &str) -> bool {
    let path = url.find('/').and_then(|slash| url.get(slash..));
    if prefix.starts_with('/') {
        path.is_some_and(|path| path.starts_with(prefix))
    } else {
        url.starts_with(prefix)
    }
}

impl Tokens {
    /// Parses a token file.
    ///
    /// Each line holds a token, optionally followed by the required prefix of a name (`*` for any
    /// name) and by URL prefixes, one of which each URL must have: `METHOD/path`, or `/path` for
    /// every method. Lines that start with `#` are comments. A token may be on several lines, of
    /// which at least one has to match.
    ///
    /// Errors contain the line number, never the text.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens = Tokens::default();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(token) = words.next().filter(|token| !token.starts_with('#')) else {
                continue;
            };
            let wrong = |what: &str| format!("line {}: {what}", number + 1);
            Token::check(token).map_err(wrong)?;
            let words: Vec<&str> = words.collect();
            if words.iter().any(|word| word.starts_with('#')) {
                return Err(wrong("comment after a token: move it to a line of its own"));
            }
            let mut words = words.into_iter();
            let name_prefix = words.next().filter(|prefix| *prefix != "*");
            let url_prefixes: Vec<Box<str>> = words.map(Into::into).collect();
            if url_prefixes.iter().any(|prefix| !prefix.contains('/')) {
                return Err(wrong(
                    "invalid URL prefix: write METHOD/path, or /path for every method",
                ));
            }
            tokens.short += usize::from(token.len() < Token::MIN_BYTES);
            let scope = Scope {
                name_prefix: name_prefix.unwrap_or_default().into(),
                url_prefixes,
            };
            let digest = Sha256::digest(token).into();
            tokens.grants.push((digest, Arc::new(scope)));
        }
        Ok(tokens)
    }

    /// Adds the tokens of another file.
    pub fn extend(&mut self, other: Tokens) {
        self.grants.extend(other.grants);
        self.short += other.short;
    }

    /// Returns the number of lines with a token.
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Returns whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Returns the number of tokens with fewer than 16 bytes.
    pub fn short(&self) -> usize {
        self.short
    }

    /// Returns the scopes of a token; empty if the token is unknown.
    ///
    /// The duration reveals nothing about known tokens: all hashes are compared to their end.
    pub(in crate::distributor) fn scopes_of(&self, token: &str) -> Vec<Arc<Scope>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.grants
            .iter()
            .filter(|(known, _)| constant_time_eq_32(known, &digest))
            .map(|(_, scope)| Arc::clone(scope))
            .collect()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.len())
    }
}

/// Salt of the token marks in a state file, so that marks in two files cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub(in crate::distributor) struct Salt(pub(in crate::distributor) Hex);

/// Salted hash of the token that a node sent, to recognize the token later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(in crate::distributor) struct TokenMark(pub(in crate::distributor) Hex);

/// 128 bits, written as hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "Box<str>")]
pub(in crate::distributor) struct Hex(u128);

impl Salt {
    pub(in crate::distributor) fn new(high: u64, low: u64) -> Salt {
        Salt(Hex(u128::from(high) << 64 | u128::from(low)))
    }

    pub(in crate::distributor) fn mark(self, token: &str) -> TokenMark {
        let Salt(Hex(salt)) = self;
        let hash = Sha256::new().chain_update(salt.to_be_bytes());
        let hash = hash.chain_update(token).finalize();
        let bytes = hash.first_chunk().copied().unwrap_or_default();
        TokenMark(Hex(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TryFrom<Box<str>> for Hex {
    type Error = ParseIntError;

    fn try_from(digits: Box<str>) -> Result<Hex, ParseIntError> {
        u128::from_str_radix(&digits, 16).map(Hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# for all nodes
aaaaaaaaaaaaaaaa
   bbbbbbbbbbbbbbbb goods
cccccccccccccccc * GET/goods /public

dddddddddddddddd goods- POST/goods
dddddddddddddddd members-\t/members
";

    fn allows(tokens: &Tokens, token: &str, name: &str, urls: &[&str]) -> bool {
        let scopes = tokens.scopes_of(token);
        scopes.iter().any(|scope| scope.allows(name, urls))
    }

    #[test]
    fn admits_names_and_urls_by_prefix() {
        let tokens = Tokens::parse(FILE).unwrap();
        assert_eq!((tokens.len(), tokens.short()), (5, 0));
        for (token, name, urls) in [
            ("aaaaaaaaaaaaaaaa", "", &["GET/x"][..]),
            ("bbbbbbbbbbbbbbbb", "goods-7", &["GET/x"]),
            ("cccccccccccccccc", "any", &["GET/goods/7", "PUT/public"]),
            ("cccccccccccccccc", "any", &[]),
            ("dddddddddddddddd", "goods-1", &["POST/goods"]),
            (
                "dddddddddddddddd",
                "members-1",
                &["GET/members", "POST/members/x"],
            ),
        ] {
            assert!(
                allows(&tokens, token, name, urls),
                "{token} {name} {urls:?}"
            );
        }
        for (token, name, urls) in [
            ("", "", &[][..]),
            ("#", "", &[]),
            ("aaaaaaaaaaaaaaa", "", &[]),
            ("aaaaaaaaaaaaaaaaa", "", &[]),
            ("bbbbbbbbbbbbbbbb", "good", &[]),
            ("cccccccccccccccc", "any", &["GET/goods", "POST/goods"]),
            ("cccccccccccccccc", "any", &["GET/x/public"]),
            ("dddddddddddddddd", "goods-1", &["GET/members"]),
        ] {
            assert!(
                !allows(&tokens, token, name, urls),
                "{token} {name} {urls:?}"
            );
        }
    }

    #[test]
    fn names_the_line_and_no_token_in_parse_errors() {
        let long = "x".repeat(513);
        for text in [
            "ok\nsecret name goods",
            "ok\nsecrét",
            "ok\nsecret #goods",
            "ok\nsecret * /goods # goods",
            &format!("\n{long}"),
        ] {
            let mistake = Tokens::parse(text).unwrap_err();
            assert!(mistake.starts_with("line 2: "), "{mistake}");
            assert!(
                !mistake.contains("secr") && !mistake.contains("goods"),
                "{mistake}"
            );
        }
        let tokens = Tokens::parse("secret").unwrap();
        assert_eq!(
            (tokens.short(), format!("{tokens:?}")),
            (1, "Tokens(1)".to_owned())
        );
    }
}
