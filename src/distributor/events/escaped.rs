//! Text of a peer, made harmless for the log.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Text of a peer for a field of a log line: at most 256 bytes, and nothing in it that a terminal
/// or a log reader would act on.
///
/// Log it as a string, `name = escaped.to_string()`, not as `%escaped`: then it is quoted, and
/// cannot pose as other fields.
#[derive(Clone, Debug)]
pub(crate) struct Escaped<'a>(Cow<'a, str>);

const MAX_ESCAPED_BYTES: usize = 256;

impl<'a> Escaped<'a> {
    pub(crate) fn text(text: &'a str) -> Escaped<'a> {
        Escaped(Cow::Borrowed(text))
    }

    /// Returns bytes that a connection sent, without tokens and instances.
    pub(crate) fn frame(bytes: &'a [u8]) -> Escaped<'a> {
        let secrets = SECRETS_FOLLOW
            .iter()
            .filter_map(|word| memchr::memmem::find(bytes, word));
        match secrets.min().and_then(|at| bytes.get(..at)) {
            Some(shown) if shown.len() <= MAX_ESCAPED_BYTES => {
                let shown = String::from_utf8_lossy(shown);
                Escaped(Cow::Owned(format!("{shown}…")))
            }
            _ => Escaped::bytes(bytes),
        }
    }

    fn bytes(bytes: &'a [u8]) -> Escaped<'a> {
        // A character is escaped to no fewer bytes than it has, so no more than these can show.
        let shown = bytes.get(..MAX_ESCAPED_BYTES + 1).unwrap_or(bytes);
        Escaped(String::from_utf8_lossy(shown))
    }
}

/// After the first of these a frame may contain a secret of its sender.
const SECRETS_FOLLOW: [&[u8]; 3] = [b"session", b"token", b"uthorization"];

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const QUOTES_AND_MORE: usize = "\"\"…".len();
        let mut left = MAX_ESCAPED_BYTES - QUOTES_AND_MORE;
        for character in self.0.chars() {
            let escaped = character.escape_debug();
            let is_plain = matches!(character, '"' | '\'' | '\\');
            // As it is when the whole is put in quotes, which escapes some of it again.
            let bytes: usize = escaped.clone().map(char::len_utf8).sum();
            let bytes = bytes + usize::from(escaped.len() > 1 && !is_plain);
            if bytes > left {
                return f.write_char('…');
            }
            left -= bytes;
            if is_plain {
                f.write_char(character)?;
            } else {
                write!(f, "{escaped}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_people_read_stays_readable() {
        let text = "{\"name\":\"상품 'ö' \\\\\"}";
        assert_eq!(Escaped::text(text).to_string(), text);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let shown = Escaped::bytes(b"a\x1b[31m\nb\r\0\xff\x9b \xe2\x80\xae").to_string();
        assert!(shown.starts_with("a\\u{1b}[31m\\nb\\r\\0"), "{shown}");
        assert!(
            shown.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{shown}"
        );
    }

    #[test]
    fn what_is_its_senders_secret_is_not_shown() {
        for (frame, shown) in [
            (
                &b"{\"params\":{},\"session\":{\"token\":\"s3cret\"}}"[..],
                "{\"params\":{},\"…",
            ),
            (b"{\"token\":\"s3cret", "{\"…"),
            (
                b"GET / HTTP/1.1\r\nAuthorization: s3cret",
                "GET / HTTP/1.1\\r\\nA…",
            ),
            (b"{\"params\":7}", "{\"params\":7}"),
        ] {
            assert_eq!(Escaped::frame(frame).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_long_line_or_a_second_one(bytes: Vec<u8>, repeat in 1..50usize) {
            let shown = Escaped::bytes(&bytes.repeat(repeat)).to_string();
            let quoted = format!("{shown:?}");
            prop_assert!(quoted.len() <= MAX_ESCAPED_BYTES, "{}", quoted);
            prop_assert!(!shown.contains(char::is_control));
        }
    }
}
