//! Protocol detection: which other protocol the first bytes of a connection belong to.

/// HTTP methods, and the beginning of an HTTP/2 connection.
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

/// Returns the other protocol that these first bytes of a connection belong to, if that is clear
/// already.
pub(super) fn detect(bytes: &[u8]) -> Option<&'static str> {
    if HTTP_METHODS.iter().any(|method| bytes.starts_with(method)) {
        return Some("HTTP");
    }
    // The record type "handshake" and the major version, the same from SSL 3 to TLS 1.3.
    if bytes.starts_with(&[0x16, 0x03]) {
        return Some("TLS");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_http_and_tls_by_the_first_bytes() {
        assert_eq!(detect(b"GET / HTTP/1.1\r\n"), Some("HTTP"));
        assert_eq!(detect(b"POST /distributes HTTP/1.1"), Some("HTTP"));
        assert_eq!(detect(&[0x16, 3, 1, 2, 0, 1]), Some("TLS"));
        for own in [
            &b"{\"uri\":\"/distributes\"}"[..],
            b"GE",
            b"GETTING",
            b"\x16",
            b"",
            b"hello",
        ] {
            assert_eq!(detect(own), None);
        }
    }
}
