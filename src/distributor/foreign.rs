//! Who has come to the wrong port.

/// Methods of HTTP, and the beginning of an HTTP/2 connection.
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
    b"PRI ",
];

/// What another protocol these first bytes of a connection belong to, if that is already clear.
pub(super) fn foreign_protocol(bytes: &[u8]) -> Option<&'static str> {
    if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some("an HTTP request");
    }
    // The record type "handshake" and the major version, the same from SSL 3 to TLS 1.3.
    if bytes.starts_with(&[0x16, 0x03]) {
        return Some("a TLS hello");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_by_their_first_words() {
        assert_eq!(
            foreign_protocol(b"GET / HTTP/1.1\r\n"),
            Some("an HTTP request")
        );
        assert_eq!(
            foreign_protocol(b"POST /distributes HTTP/1.1"),
            Some("an HTTP request")
        );
        assert_eq!(
            foreign_protocol(&[0x16, 3, 1, 2, 0, 1]),
            Some("a TLS hello")
        );
        for own in [
            &b"{\"uri\":\"/distributes\"}"[..],
            b"GE",
            b"GETTING",
            b"\x16",
            b"",
            b"hello",
        ] {
            assert_eq!(foreign_protocol(own), None);
        }
    }
}
