//! Configuration of the admin API.

use std::fmt;

use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};

use crate::protocol::Token;
use crate::setters::setters;

/// Configuration of an [`AdminApi`](super::AdminApi). Begin with the default, and set what
/// differs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Host names that requests may use besides `localhost` and addresses. Requests to other names
    /// are rejected: a page of another origin may have sent them.
    pub hosts: Vec<String>,
    /// Token that admits to all requests, including changes. Without one, changes are disabled.
    pub admin_token: Option<AdminToken>,
    /// Maximum number of connections.
    pub max_connections: usize,
    /// Maximum number of event streams.
    pub max_streams: usize,
}

impl Config {
    setters! {
        hosts: Vec<String>,
        admin_token: impl Into<Option<AdminToken>>,
        max_connections: usize,
        max_streams: usize,
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hosts: Vec::new(),
            admin_token: None,
            max_connections: 1024,
            max_streams: 600,
        }
    }
}

/// The token that admits to all requests, including changes. Only its hash is kept.
#[derive(Clone)]
pub struct AdminToken {
    digest: [u8; 32],
    is_short: bool,
}

impl AdminToken {
    /// Parses the first line of a file that is neither empty nor a comment.
    ///
    /// The error never contains any of the text.
    pub fn parse(text: &str) -> Result<AdminToken, &'static str> {
        let mut lines = text.lines().map(str::trim);
        let token = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .ok_or("no token in the file; write one on its first line")?;
        Token::check(token)?;
        Ok(AdminToken {
            digest: Sha256::digest(token).into(),
            is_short: token.len() < Token::MIN_BYTES,
        })
    }

    /// Returns whether the token has fewer than 16 bytes.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Returns whether this is the token. Takes constant time, however much of it matches.
    pub(super) fn matches(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        constant_time_eq_32(&self.digest, &digest)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_token_matches_only_itself() {
        let token = AdminToken::parse("# mine\n\n  0123456789abcdef \nmore\n").unwrap();
        assert!(token.matches("0123456789abcdef"));
        assert!(!token.matches("0123456789abcde"));
        assert!(!token.is_short());
        assert!(AdminToken::parse("0123456789abcde").unwrap().is_short());
        assert!(!token.matches("") && !token.matches("more"));
        assert_eq!(format!("{token:?}"), "AdminToken");
        for (text, why) in [
            ("", "no token"),
            ("# only\n", "no token"),
            ("0123456789abcdéf0", "printable"),
            ("0123456789abcdef 0", "without spaces"),
            (&"a".repeat(513), "too long"),
        ] {
            let error = AdminToken::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
