//! Who may ask.

use std::fmt;
use std::net::IpAddr;

use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};

/// What admits a request that changes something. Kept as a hash.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// The first line of a file that is not empty and no comment. The error says what is wrong, and
    /// nothing that stands in it.
    pub fn parse(text: &str) -> Result<AdminToken, &'static str> {
        let mut lines = text.lines().map(str::trim);
        let token = lines
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .ok_or("there is no token in it; write one as its first line")?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is made of printable ASCII characters, without spaces");
        }
        if token.len() < SHORT_BYTES {
            return Err("the token has fewer than 16 characters and can be guessed");
        }
        Ok(AdminToken(Sha256::digest(token).into()))
    }

    /// Takes the same time whatever the two have in common.
    pub(super) fn is(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        constant_time_eq_32(&self.0, &digest)
    }
}

/// A token that can be guessed is none.
const SHORT_BYTES: usize = 16;

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

/// How a request shows its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// `Authorization: Bearer TOKEN`: only who means it says that.
    Bearer(String),
    /// `Authorization: Basic`, the token as the password: a browser adds it by itself.
    Basic(String),
    Nothing,
}

impl Shown {
    pub(super) fn read(header: Option<&str>) -> Shown {
        let Some((scheme, rest)) = header.and_then(|value| value.split_once(' ')) else {
            return Shown::Nothing;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Shown::Bearer(rest.to_owned());
        }
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| base64(rest));
        let password = decoded.flatten().and_then(|bytes| {
            let text = String::from_utf8(bytes).ok()?;
            Some(text.split_once(':')?.1.to_owned())
        });
        password.map_or(Shown::Nothing, Shown::Basic)
    }

    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Shown::Bearer(token) | Shown::Basic(token) => Some(token),
            Shown::Nothing => None,
        }
    }
}

/// Decodes base64; `None` if it is none.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len());
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            let [.., byte] = (bits >> held).to_be_bytes();
            bytes.push(byte);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

/// Whether a request that names this host means us. A page of somebody else can have its name
/// resolve to our address, and then read what we answer; but it can't change the name that the
/// browser sends.
pub(super) fn is_our_host(host: &str, names: &[String]) -> bool {
    let host = host.trim();
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = without_port.trim_end_matches('.');
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok()
        || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
        || names.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_our_names_are_ours() {
        let names = ["registry.internal".to_owned()];
        for ours in [
            "localhost",
            "LOCALHOST:9001",
            "127.0.0.1:1",
            "[::1]:9001",
            "::1",
            "10.0.0.5",
            "registry.internal:80",
            "Registry.internal.",
        ] {
            assert!(is_our_host(ours, &names), "{ours}");
        }
        for not in [
            "",
            "evil.example",
            "evil.example:9001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "registry.internal.evil",
            "[evil]",
            "127.0.0.1:x",
        ] {
            assert!(!is_our_host(not, &names), "{not}");
        }
    }

    #[test]
    fn a_token_is_shown_in_two_ways() {
        let read = |header| Shown::read(Some(header));
        assert_eq!(read("Bearer s3cret"), Shown::Bearer("s3cret".to_owned()));
        assert_eq!(read("bearer  s3cret "), Shown::Bearer("s3cret".to_owned()));
        // operator:open:sesame
        assert_eq!(
            read("Basic b3BlcmF0b3I6b3BlbjpzZXNhbWU="),
            Shown::Basic("open:sesame".to_owned())
        );
        for none in ["", "Bearer", "Basic !!!", "Basic b3BlcmF0b3I=", "Digest a"] {
            assert_eq!(read(none), Shown::Nothing, "{none}");
        }
        assert_eq!(Shown::read(None), Shown::Nothing);
    }

    #[test]
    fn an_admin_token_is_itself_and_no_other() {
        let token = AdminToken::parse("# mine\n\n  0123456789abcdef \nmore\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcde") && !token.is("") && !token.is("more"));
        assert_eq!(format!("{token:?}"), "AdminToken");
        for (text, why) in [
            ("", "no token"),
            ("# only\n", "no token"),
            ("short", "guessed"),
            ("0123456789abcdéf0", "printable"),
        ] {
            let mistake = AdminToken::parse(text).unwrap_err();
            assert!(mistake.contains(why), "{text}: {mistake}");
        }
    }
}
