//! Validation of paths of requests and of urls that nodes serve. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Maximum number of times that a path is decoded: receivers may decode it repeatedly.
const MAX_DECODINGS: usize = 4;

/// Rejects a text with characters that receivers interpret differently. Also rejects it if `check`
/// fails. Both apply to the text as it is, and to each result of decoding it.
pub(crate) fn check_decodings(
    text: &str,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    // As bytes, since a character may be complete only after decoding.
    let mut bytes = Cow::Borrowed(text.as_bytes());
    for _ in 0..MAX_DECODINGS {
        let text = String::from_utf8_lossy(&bytes);
        if text.contains(char::is_control) {
            return Err("invalid path: a control character");
        }
        if text.contains('\\') {
            return Err("invalid path: a backslash");
        }
        check(&text)?;
        let decoded: Vec<u8> = percent_decode(&bytes).collect();
        if decoded == *bytes {
            return Ok(());
        }
        bytes = Cow::Owned(decoded);
    }
    Err("invalid path: percent-encoded too many times")
}

/// Returns whether a segment of the path has this name, before any `;` in it.
pub(crate) fn has_segment(path: &str, name: &str) -> bool {
    let mut segments = path.split('/').map(|segment| segment.split(';').next());
    segments.any(|segment| segment == Some(name))
}
