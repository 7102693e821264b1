use super::*;
use proptest::prelude::*;

/// The requests in a stream, and the status of a refusal after them. Each has its method, path,
/// query and body.
type Seen = (Vec<(String, String, Option<String>, Vec<u8>)>, Option<u16>);

fn small() -> Limits {
    Limits {
        max_head_bytes: 300,
        max_body_bytes: 100,
        ..Limits::default()
    }
}

/// Reads a stream that arrives in pieces of these lengths, repeated.
fn read(stream: &[u8], pieces: &[usize]) -> Seen {
    let (mut reader, mut kept) = (RequestReader::default(), Vec::new());
    let mut requests = Vec::new();
    let (mut rest, mut pieces) = (stream, pieces.iter().cycle());
    while !rest.is_empty() {
        let length = (*pieces.next().unwrap()).clamp(1, rest.len());
        kept.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
        while !kept.is_empty() {
            let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let used = match reader.step(&kept, &mut slots, &small()) {
                Err(refusal) => return (requests, Some(refusal.status)),
                Ok(Step::Skip(used)) => used,
                Ok(Step::More { .. }) => break,
                Ok(Step::Complete { request, bytes }) => {
                    requests.push((
                        request.method().to_owned(),
                        request.path().to_owned(),
                        request.query().map(str::to_owned),
                        request.body().to_vec(),
                    ));
                    bytes
                }
            };
            kept.drain(..used);
        }
    }
    (requests, None)
}

#[track_caller]
fn assert_refused(stream: &str, status: u16) {
    for pieces in [&[usize::MAX][..], &[1], &[7, 2]] {
        let (requests, refused) = read(stream.as_bytes(), pieces);
        assert_eq!(refused, Some(status), "{stream:?}");
        assert!(requests.is_empty(), "{stream:?} {requests:?}");
    }
}

#[test]
fn refuses_ambiguous_lengths_of_a_body() {
    let post = |lines: &str, body: &str| {
        format!(
            "POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}GET /y HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    };
    for (lines, wire, body) in [
        ("X: y", "", ""),
        ("Content-Length: 0", "", ""),
        ("content-length:3", "abc", "abc"),
        ("Content-Length: 0003 ", "abc", "abc"),
        (
            "Transfer-Encoding: chunked",
            "1;a\r\nx\r\n2\r\nyz\r\n0\r\nT: r\r\n\r\n",
            "xyz",
        ),
        ("transfer-encoding:\tChunked ", "0\r\n\r\n", ""),
    ] {
        let stream = post(lines, wire);
        let (requests, refused) = read(stream.as_bytes(), &[usize::MAX]);
        assert_eq!((requests.len(), refused), (2, None), "{stream:?}");
        assert_eq!(requests[0].3, body.as_bytes());
        assert_eq!(requests[1].1, "/y");
    }
    for (lines, status) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", 400),
        ("Content-Length: 3\r\nContent-Length: 4", 400),
        ("Content-Length: 3\r\nContent-Length: 3", 400),
        ("Content-Length: 3, 3", 400),
        ("Content-Length: +3", 400),
        ("Content-Length: -3", 400),
        ("Content-Length: 0x3", 400),
        ("Content-Length: 3 3", 400),
        ("Content-Length:", 400),
        ("Content-Length: 101", 413),
        ("Content-Length: 99999999999999999999999", 413),
        ("Content-Length : 3", 400),
        ("Content-Length\t: 3", 400),
        (" Content-Length: 3", 400),
        ("X: y\r\n Content-Length: 3", 400),
        ("X: y\r\n\tz", 400),
        ("X: y\nContent-Length: 3", 400),
        ("X: y\rContent-Length: 3", 400),
        ("X: y\r\r\nContent-Length: 3", 400),
        ("X: a\0b", 400),
        ("X: a\x7fb", 400),
        ("X\0: b", 400),
        ("X y: b", 400),
        (": b", 400),
        ("no colon", 400),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: gzip, chunked", 400),
        ("Transfer-Encoding: chunked, chunked", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            400,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            400,
        ),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: \x0bchunked", 400),
        ("Transfer-Encoding: xchunked", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding:", 400),
        (
            "Transfer_Encoding: chunked\r\nTransfer-Encoding : chunked",
            400,
        ),
        ("Host: b", 400),
        ("Host: a", 400),
        ("Expect: 200-ok", 417),
    ] {
        assert_refused(&post(lines, "abc"), status);
    }
}

#[test]
fn refuses_malformed_request_lines() {
    for (line, status) in [
        ("GET / HTTP/2.1", 505),
        ("GET / HTTP/0.9", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/1.1 x", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.10", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET / a HTTP/1.1", 400),
        ("GET /a\tb HTTP/1.1", 400),
        ("GET /a\x01b HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("G@T / HTTP/1.1", 400),
        ("\u{16}\u{3}\u{1}", 400),
        ("{\"uri\":\"/distributes\"}", 400),
        ("GET goods HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("GET /?q=\u{e9} HTTP/1.1", 400),
        ("GET http://a/\u{e9} HTTP/1.1", 400),
        ("G\u{e9}T / HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("CONNECT a:80 HTTP/1.1", 400),
        ("GET /../x HTTP/1.1", 400),
        ("GET /%2e%2E/x HTTP/1.1", 400),
        ("GET http://a/%2e%2E/x HTTP/1.1", 400),
    ] {
        assert_refused(&format!("{line}\r\nHost: a\r\n\r\n"), status);
    }
    assert_refused("GET / HTTP/1.1\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\nHost: a\n\n", 400);
    assert_refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    assert_refused(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(300)), 431);
    assert_refused(
        &format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(300)
        ),
        431,
    );
}

#[test]
fn serves_a_higher_minor_version_as_1_1() {
    for (version, is_1_0) in [
        ("1.0", true),
        ("1.1", false),
        ("1.2", false),
        ("1.9", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        match RequestReader::default().step(bytes.as_bytes(), &mut slots, &small()) {
            Ok(Step::Complete { request, .. }) => {
                assert_eq!(request.head.traits.is_1_0, is_1_0, "{version}");
                assert_eq!(request.head.traits.keeps_alive, !is_1_0, "{version}");
            }
            other => panic!("{version}: {other:?}"),
        }
    }
    // The Host header is required as in HTTP/1.1.
    assert_refused("GET / HTTP/1.2\r\n\r\n", 400);
}

#[test]
fn reports_limits_before_errors_beyond_them() {
    let line = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\n", "x".repeat(300));
    assert_refused(&line, 431);
    let chunks = "1;eeeeeeeeee\r\nx\r\n".repeat(40);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_refused(&format!("{head}{chunks}bad"), 413);
    assert_refused(&format!("{head}{chunks}0\r\n\r\n"), 413);
}

#[test]
fn refuses_too_many_headers() {
    let request = |lines: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "X:\r\n".repeat(lines));
    let limits = Limits::default();
    for (lines, is_refused) in [(MAX_HEADERS, false), (MAX_HEADERS + 1, true)] {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let request = request(lines);
        let step = RequestReader::default().step(request.as_bytes(), &mut slots, &limits);
        let refused = step.err().map(|refusal| refusal.status);
        assert_eq!(refused, is_refused.then_some(431));
    }
}

#[test]
fn requests_100_continue_once() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let mut reader = RequestReader::default();
    let mut wants = Vec::new();
    for bytes in [&head[..], &[&head[..], b"x"].concat()] {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        if let Ok(Step::More { wants_continue }) = reader.step(bytes, &mut slots, &small()) {
            wants.push(wants_continue);
        }
    }
    assert_eq!(wants, [true, false]);
}

/// Valid and invalid requests.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(b"GET /goods?a=1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| {
            let head = format!("POST /g HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.into_bytes(), body].concat()
        }),
        4 => prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..4).prop_map(|chunks| {
            let mut bytes = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in chunks {
                bytes.extend_from_slice(format!("{:x};e\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(&chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nT: x\r\n\r\n");
            bytes
        }),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => Just(b"\n".to_vec()),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn reads_the_same_requests_from_any_pieces(
        stream in stream(),
        pieces in prop::collection::vec(1..30usize, 1..8),
    ) {
        let (whole, refused) = read(&stream, &[usize::MAX]);
        let (cut, refused_cut) = read(&stream, &pieces);
        prop_assert_eq!(whole, cut);
        prop_assert_eq!(refused, refused_cut);
    }

    #[test]
    fn never_panics(stream: Vec<u8>, pieces in prop::collection::vec(1..9usize, 1..4)) {
        read(&stream, &pieces);
    }
}
