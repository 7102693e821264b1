//! What a node may say that it serves.

/// A url is `METHOD/path`, and nothing that could lead a gateway to another host or out of a path.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    let Some((method, path)) = url.split_once('/') else {
        return Err("a url is METHOD/path, as in GET/goods");
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("a url begins with a method in capitals, as in GET/goods");
    }
    // Whoever reads it may decode it, some of them twice. As bytes: a character may come together
    // only then.
    let mut path = path.as_bytes().to_vec();
    for _ in 0..MAX_DECODINGS {
        check_path(&String::from_utf8_lossy(&path))?;
        let decoded = percent_decode(&path);
        if decoded == path {
            return Ok(());
        }
        path = decoded;
    }
    Err("a url is not encoded again and again")
}

const MAX_DECODINGS: usize = 4;

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.contains(char::is_control) {
        return Err("a url has no control characters");
    }
    if path.contains('\\') {
        return Err("a url has no backslash");
    }
    if path.starts_with('/') || path.contains("://") {
        return Err("a url has no scheme and no host");
    }
    // What follows these is no part of the path, or none of a segment's name.
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split('/').map(|segment| segment.split(';').next());
    if segments.any(|segment| segment == Some("..")) {
        return Err("a url has no .. in its path");
    }
    Ok(())
}

/// Decodes each `%XX` once.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let hex = |digits: &[u8; 2]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        let escaped = after.split_first_chunk::<2>();
        match escaped.and_then(|(digits, behind)| Some((hex(digits)?, behind))) {
            Some((byte, behind)) if *first == b'%' => {
                bytes.push(byte);
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_paths() {
        for url in [
            "GET/",
            "GET/goods",
            "POST/a/b.c/..d",
            "GET/상품",
            "DELETE/a?x=1",
            "GET/a//b",
            "GET/%EC%83%81",
            "GET/a b",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "goods",
            "/goods",
            "http://evil/x",
            "GET//evil/x",
            "evil.example/x",
            "localhost:80/x",
            "get/x",
            "GET/../x",
            "GET/a/..",
            "GET/a/%2E%2e/b",
            "GET/a%2f..%2fb",
            "GET/a\\..\\b",
            "GET/a\\b",
            "GET/http://evil",
            "GET/a\u{7f}",
            "GET/..?x",
            "GET/..#f",
            "GET/..;v=1/x",
            "GET/%2fevil.example",
            "GET/%5Cevil.example",
            "GET/%252e%252e/x",
            "GET/%25252525252e./x",
            "GET/a%0d%0aHost:evil",
            "GET/a%25c2%99",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }
}
