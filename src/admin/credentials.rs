//! The credentials that a request carries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A token, and how it was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Credentials {
    /// `Authorization: Bearer TOKEN`: never added by a browser on its own.
    Bearer(String),
    /// `Authorization: Basic`, with the token as the password: a browser adds it on its own.
    Basic(String),
    None,
}

impl Credentials {
    /// Parses the value of an `Authorization` header.
    pub(super) fn parse(header: Option<&str>) -> Credentials {
        let Some((scheme, rest)) = header.and_then(|value| value.split_once(' ')) else {
            return Credentials::None;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Credentials::Bearer(rest.to_owned())
        } else if scheme.eq_ignore_ascii_case("basic") {
            password(rest).map_or(Credentials::None, Credentials::Basic)
        } else {
            Credentials::None
        }
    }

    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Credentials::Bearer(token) | Credentials::Basic(token) => Some(token),
            Credentials::None => None,
        }
    }
}

/// Returns the password in `user:password`, in base64.
fn password(encoded: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_bearer_and_basic() {
        let parse = |header| Credentials::parse(Some(header));
        let bearer = Credentials::Bearer("s3cret".to_owned());
        assert_eq!(parse("Bearer s3cret"), bearer);
        assert_eq!(parse("bearer  s3cret "), bearer);
        // operator:open:sesame
        assert_eq!(
            parse("Basic b3BlcmF0b3I6b3BlbjpzZXNhbWU="),
            Credentials::Basic("open:sesame".to_owned())
        );
        for none in ["", "Bearer", "Basic !!!", "Basic b3BlcmF0b3I=", "Digest a"] {
            assert_eq!(parse(none), Credentials::None, "{none}");
        }
        assert_eq!(Credentials::parse(None), Credentials::None);
    }
}
