//! Inputs close to those that the properties distinguish.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A sequence of these parts, and now and then another byte.
fn parts(parts: &'static [&'static str], count: usize) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        9 => select(parts).prop_map(|part| part.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    vec(part, 0..count).prop_map(|parts| parts.concat())
}

/// Bytes that a property reads decisions from.
pub fn decisions(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..bytes)
}

/// A limit, stops, cuts, and a stream with many frame ends and halves of them.
pub fn stream() -> impl Strategy<Value = Vec<u8>> {
    let ends = [
        &b"\xC2"[..],
        b"\xB6",
        b"\xC2\xB6",
        b" ",
        b"\r\n",
        b"\xC3\xB6",
    ];
    let byte = prop_oneof![
        select(ends.to_vec()).prop_map(<[u8]>::to_vec),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    let stream = vec(byte, 0..60).prop_map(|parts| parts.concat());
    let cuts = vec(0..9u8, 0..12);
    (0..30u8, any::<u8>(), cuts, stream).prop_map(|(limit, stops, cuts, stream)| {
        let count = u8::try_from(cuts.len()).unwrap();
        [&[limit, stops, count], &*cuts, &*stream].concat()
    })
}

/// Two limits, cuts, and requests with ambiguous ends.
pub fn http_stream() -> impl Strategy<Value = Vec<u8>> {
    const LINES: &[&str] = &[
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST /g?a=1 HTTP/1.1\r\nHost: a\r\n",
        "PUT /%2e%2e/x HTTP/1.1\r\nHost: a\r\n",
        "GET http://b/c HTTP/1.0\r\n",
        "Content-Length: 3\r\n",
        "content-length:0003 \r\n",
        "Content-Length: 0\r\n",
        "Content-Length : 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "TRANSFER-ENCODING:\tChunked\t\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Expect: 100-continue\r\n",
        "X: y\r\n",
        " folded\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "03;e=\"f\"\r\nabc\r\n",
        "0x1\r\na\r\n",
        "0\r\n\r\n",
        "0\r\nT: x\r\n\r\n",
        "\n",
        "\r",
    ];
    let request = (
        select(&LINES[..4]),
        vec(select(&LINES[12..14]), 0..2),
        select(&[
            "\r\n",
            "Content-Length: 3\r\n\r\nabc",
            "content-length:0003 \r\n\r\nabc",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "TRANSFER-ENCODING:\tChunked\t\r\n\r\n03;e=\"f\"\r\nabc\r\n0\r\nT: x\r\n\r\n",
        ]),
    );
    let request = request.prop_map(|(line, headers, rest)| {
        let request = [line, &headers.concat(), rest].concat();
        request.into_bytes()
    });
    let stream = vec(prop_oneof![request, parts(LINES, 8)], 0..4);
    let limits = (20..255u8, select(vec![0u8, 3, 100]));
    let cuts = vec(1..40u8, 0..12);
    (limits, cuts, stream).prop_map(|((head, body), cuts, stream)| {
        let stream = stream.concat();
        let count = u8::try_from(cuts.len()).unwrap();
        [&[head, body, count], &*cuts, &*stream].concat()
    })
}

fn json() -> impl Strategy<Value = String> {
    let words = [
        "null",
        "true",
        "0",
        "-0",
        "9010",
        "65536",
        "80.0",
        "1e3",
        "1e999",
        "\"\"",
        "\"9010\"",
        "\"080\"",
        "\"+80\"",
        "\"¶\"",
        "\"\\u00b6\"",
        "\"\\ud800\"",
        "\"\\u0039\"",
        "\"GET/a\"",
        "\"GET/../a\"",
        "\"GET/%2e%2e/a\"",
        "\"PUT/\\u0061\"",
        "\"a\\nb\"",
        "\"a name\"",
        "\"a name that is too long\"",
        "[]",
        "{}",
    ];
    let leaf = select(words.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(5, 24, 4, |inner| {
        let fields = vec((key(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            fields.prop_map(|fields| object(&fields, "")),
        ]
    })
}

fn key() -> impl Strategy<Value = &'static str> {
    select(&[
        "\"port\"",
        "\"name\"",
        "\"urls\"",
        "\"host\"",
        "\"\\u0068ost\"",
        "\"x\"",
        "\"¶\"",
        "\"\\ud83d\\ude00\"",
        "\"\\udc00\"",
    ])
}

fn object(fields: &[(&str, String)], space: &str) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("{space}{key}{space}:{space}{value}{space}"))
        .collect();
    format!("{{{}{space}}}", fields.join(","))
}

/// The `params` of a registration: valid, nearly valid, and with one byte changed.
pub fn registration() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop_oneof![
        Just(("\"port\"", "9010".to_owned())),
        Just(("\"name\"", "\"goods\"".to_owned())),
        Just(("\"urls\"", "[\"GET/goods\"]".to_owned())),
    ];
    let field = prop_oneof![usual, (key(), json())];
    let space = select(&["", " ", "\n\t"]);
    let params = (vec(field, 0..6), space).prop_map(|(fields, space)| object(&fields, space));
    let change = prop::option::weighted(0.2, (any::<prop::sample::Index>(), 32..127u8));
    (params, change).prop_map(|(params, change)| {
        let mut params = params.into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(params.len());
            if params[at].is_ascii() {
                params[at] = byte;
            }
        }
        params
    })
}

pub fn url() -> impl Strategy<Value = Vec<u8>> {
    let path = parts(
        &[
            "..", ".", "%2e", "%2E", "%252e", "%", "25", "/", "%2f", "\\", "%5c", ";", "?", "#",
            "a", "ö", "://", ":", "%0a", "%c3%a9", "\u{7f}",
        ],
        8,
    );
    let head = select(&["GET/", "PUT/a/", "GET", "get/", ""]);
    (head, path).prop_map(|(head, path)| [head.as_bytes(), &path].concat())
}

pub fn log_text() -> impl Strategy<Value = Vec<u8>> {
    let text = parts(
        &[
            "a",
            "\"",
            "'",
            "\\",
            "\n",
            "\x1b[31m",
            "\u{202e}",
            "\u{2028}",
            "\u{ad}",
            "\u{301}",
            "상",
            "session",
            "token",
            "uthorization",
            "\u{feff}",
            "\u{e0041}",
            "\0",
            "¶",
        ],
        20,
    );
    (text, 1..40usize).prop_map(|(text, times)| text.repeat(times))
}

/// A place, a bit, and a body with mostly valid entries.
pub fn state_file() -> impl Strategy<Value = Vec<u8>> {
    let entry = registration().prop_map(|params| {
        let params = String::from_utf8(params).unwrap();
        let host = match params.len() {
            2 => "{\"host\":\"h\"",
            _ => "{\"host\":\"h\",",
        };
        format!("{host}{}", params.strip_prefix('{').unwrap_or(&params))
    });
    let beside = select(&[
        "\"address\":\"10.0.0.7\"",
        "\"address\":\"::1\",\"instance\":\"ab12\"",
        "\"address\":\"10.0.0.7\",\"instance\":\"\"",
        "\"address\":7",
    ]);
    let line =
        (beside, entry).prop_map(|(beside, entry)| format!("{{{beside},\"entry\":{entry}}}\n"));
    let head = prop_oneof![
        9 => Just(format!("{{\"salt\":\"{}\"}}\n", "0123456789abcdef".repeat(2))),
        1 => "[ -~]{0,20}\n",
    ];
    let place = any::<[u8; 3]>();
    (place, head, vec(line, 0..5)).prop_map(|(place, head, lines)| {
        [&place[..], head.as_bytes(), lines.concat().as_bytes()].concat()
    })
}
