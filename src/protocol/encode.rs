//! Encoding of lists without a session.

use std::io::{self, Write};

use super::DISTRIBUTES;

/// Writes the packet that carries the list of nodes.
///
/// `key` is JSON; `entries` are encoded entries with a comma between two.
pub fn write_list(out: &mut Vec<u8>, key: &str, entries: impl FnOnce(&mut Vec<u8>)) {
    // Writing to memory does not fail.
    let _ = write_list_head(&mut *out, key);
    out.extend_from_slice(b",\"params\":[");
    entries(out);
    out.extend_from_slice(b"]}");
}

/// Writes the part before the `params` of a list. With the key `0` it has [`LIST_HEAD_BYTES`].
///
/// Returns the errors of `out`.
pub(crate) fn write_list_head(mut out: impl Write, key: &str) -> io::Result<()> {
    write!(
        out,
        "{{\"uri\":\"{DISTRIBUTES}\",\"method\":\"GET\",\"key\":{key}"
    )
}

/// Length of the head of a list with the key `0`: only this part depends on the key.
pub(crate) const LIST_HEAD_BYTES: usize =
    "{\"uri\":\"/distributes\",\"method\":\"GET\",\"key\":0".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_plain_list_byte_for_byte() {
        let mut out = Vec::new();
        write_list(&mut out, "0", |out| {
            out.extend_from_slice(b"{\"port\":1},{\"port\":2}")
        });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"uri":"/distributes","method":"GET","key":0,"params":[{"port":1},{"port":2}]}"#
        );
    }

    #[test]
    fn writes_lists_that_differ_only_in_their_heads() {
        let written = |key: &str| {
            let mut out = Vec::new();
            write_list(&mut out, key, |out| out.extend_from_slice(b"{}"));
            out
        };
        let mut with_key = Vec::new();
        write_list_head(&mut with_key, "\"k\"").unwrap();
        with_key.extend_from_slice(&written("0")[LIST_HEAD_BYTES..]);
        assert_eq!(with_key, written("\"k\""));
    }
}
