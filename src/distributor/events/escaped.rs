//! Text from a peer, escaped for the log.
//!
//! The result has at most 256 bytes when quoted, and nothing that affects a terminal or a log
//! reader. Log it as a string, `name = escaped(name)`, not with `%`: then it is quoted, and cannot
//! pose as other fields.

const MAX_ESCAPED_BYTES: usize = 256;

/// Words after which a frame may contain a secret of its sender.
const SECRETS_FOLLOW: [&[u8]; 3] = [b"session", b"token", b"uthorization"];

/// Returns a frame as text for the log, without tokens and instances.
pub(crate) fn escaped_frame(bytes: &[u8]) -> String {
    let secrets = SECRETS_FOLLOW
        .iter()
        .filter_map(|word| memchr::memmem::find(bytes, word));
    match secrets.min().and_then(|at| bytes.get(..at)) {
        Some(shown) if shown.len() <= MAX_ESCAPED_BYTES => {
            escaped(&format!("{}…", String::from_utf8_lossy(shown)))
        }
        _ => escaped_bytes(bytes),
    }
}

fn escaped_bytes(bytes: &[u8]) -> String {
    // Escaping never shortens a character, so no more than these bytes can be shown.
    let shown = bytes.get(..MAX_ESCAPED_BYTES + 1).unwrap_or(bytes);
    escaped(&String::from_utf8_lossy(shown))
}

/// Returns a text for the log.
pub(crate) fn escaped(text: &str) -> String {
    const QUOTES_AND_MORE: usize = "\"\"…".len();
    let mut left = MAX_ESCAPED_BYTES - QUOTES_AND_MORE;
    let mut out = String::new();
    for character in text.chars() {
        let escaped = character.escape_debug();
        let is_plain = matches!(character, '"' | '\'' | '\\');
        // Size after quoting, which escapes some characters again.
        let bytes: usize = escaped.clone().map(char::len_utf8).sum();
        let bytes = bytes + usize::from(escaped.len() > 1 && !is_plain);
        if bytes > left {
            out.push('…');
            break;
        }
        left -= bytes;
        if is_plain {
            out.push(character);
        } else {
            out.extend(escaped);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_readable_text() {
        let text = "{\"name\":\"상품 'ö' \\\\\"}";
        assert_eq!(escaped(text), text);
    }

    #[test]
    fn escapes_control_and_format_characters() {
        let shown = escaped_bytes(b"a\x1b[31m\nb\r\0\xff\x9b \xe2\x80\xae");
        assert!(shown.starts_with("a\\u{1b}[31m\\nb\\r\\0"), "{shown}");
        assert!(
            shown.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{shown}"
        );
    }

    #[test]
    fn cuts_a_frame_before_secrets() {
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
            assert_eq!(escaped_frame(frame), shown);
        }
    }

    proptest! {
        #[test]
        fn limits_any_bytes_to_one_short_line(bytes: Vec<u8>, repeat in 1..50usize) {
            let shown = escaped_bytes(&bytes.repeat(repeat));
            let quoted = format!("{shown:?}");
            prop_assert!(quoted.len() <= MAX_ESCAPED_BYTES, "{}", quoted);
            prop_assert!(!shown.contains(char::is_control));
        }
    }
}
