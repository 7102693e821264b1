//! Text of peers in the log, and their urls.

use pilcrow::fuzzing::{check_url, logged_frame, logged_text};

/// Checks quoted text as the log shows it.
fn assert_harmless(shown: &str) {
    let quoted = format!("{shown:?}");
    assert!(quoted.len() <= 256, "{} bytes: {quoted}", quoted.len());
    for text in [shown, &quoted] {
        for character in text.chars() {
            let acts = match character {
                '\u{61c}' | '\u{ad}' | '\u{feff}' => true,
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
                '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e0fff}' => true,
                _ => character.is_control(),
            };
            assert!(!acts, "{character:?} in {quoted}");
        }
    }
}

/// The log shows any text of a peer in a short form that has no effect on a terminal or on lines.
pub fn log_escape(input: &[u8]) {
    assert_harmless(&logged_frame(input));
    assert_secret(input);
    assert_harmless(&logged_text(&String::from_utf8_lossy(input)));
}

/// The text after one of these words is not shown.
fn assert_secret(input: &[u8]) {
    for word in ["session", "token", "uthorization"] {
        let shown = |secret: &[u8]| {
            let frame = [input, word.as_bytes(), secret].concat();
            logged_frame(&frame)
        };
        assert_eq!(shown(b"\":\"s3cret\"}"), shown(b"!"));
    }
}

/// An accepted url stays in its path and acceptable, however often it is decoded.
pub fn url(input: &[u8]) {
    let Ok(url) = std::str::from_utf8(input) else {
        return;
    };
    if check_url(url).is_err() {
        return;
    }
    let (method, path) = url.split_once('/').expect("a url has a path");
    assert!(!method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase()));
    let mut path = path.as_bytes().to_vec();
    for _ in 0..8 {
        assert_stays_inside(&path, url);
        path = decode(&path);
        if let Ok(text) = std::str::from_utf8(&path) {
            assert_eq!(check_url(&format!("{method}/{text}")), Ok(()), "{url}");
        }
    }
}

fn assert_stays_inside(path: &[u8], url: &str) {
    assert!(!path.starts_with(b"/"), "another host: {url}");
    assert!(
        !path.windows(3).any(|part| part == b"://"),
        "a scheme: {url}"
    );
    assert!(!path.iter().any(u8::is_ascii_control), "a control: {url}");
    assert!(!path.contains(&b'\\'), "a backslash: {url}");
    let end = path.iter().position(|byte| b"?#".contains(byte));
    for segment in path[..end.unwrap_or(path.len())].split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next();
        assert_ne!(name, Some(&b".."[..]), "a way out: {url}");
    }
}

/// Decodes each `%XX`, once.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let digits = path.get(at + 1..at + 3);
        let hex = |digit: u8| char::from(digit).to_digit(16);
        let byte = digits.and_then(|two| Some(hex(two[0])? * 16 + hex(two[1])?));
        match byte {
            Some(byte) if path[at] == b'%' => {
                decoded.push(u8::try_from(byte).expect("two digits"));
                at += 3;
            }
            _ => {
                decoded.push(path[at]);
                at += 1;
            }
        }
    }
    decoded
}
