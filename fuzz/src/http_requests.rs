//! The requests in a stream do not depend on how it is cut, and the end of each is unambiguous.

use crate::script::Script;
use pilcrow::fuzzing::{RequestReader, max_request_bytes};
use pilcrow::http::Limits;

/// A parsed request, and its bytes on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    method: String,
    path: String,
    query: Option<String>,
    body: Vec<u8>,
    wire: Vec<u8>,
}

/// The input is two limits, cuts, and the stream.
///
/// Returns whether there was a request.
pub fn http_requests(input: &[u8]) -> bool {
    let mut script = Script::new(input);
    let limits = Limits {
        max_head_bytes: 32 + usize::from(script.byte()),
        max_body_bytes: usize::from(script.byte()),
        ..Limits::default()
    };
    let cuts = script.bytes();
    let stream = script.rest();

    let whole = read(stream, &[], &limits);
    assert_eq!(read(stream, cuts, &limits), whole, "in pieces");
    assert_eq!(
        read(stream, &vec![1; stream.len()], &limits),
        whole,
        "byte by byte"
    );
    for seen in &whole.0 {
        assert!(seen.body.len() <= limits.max_body_bytes);
        assert_ends_in_one_way(seen, limits.max_head_bytes);
        let alone = read(&seen.wire, cuts, &limits);
        assert_eq!(alone, (vec![seen.clone()], None), "without what follows");
    }
    !whole.0.is_empty()
}

/// Returns the requests, and the status of the first that was rejected.
fn read(stream: &[u8], cuts: &[u8], limits: &Limits) -> (Vec<Seen>, Option<u16>) {
    let (mut reader, mut kept, mut requests) = (RequestReader::default(), Vec::new(), Vec::new());
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut));
    let mut rest = stream;
    loop {
        let (piece, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
        kept.extend_from_slice(piece);
        // Like the loop, which does not call the reader without bytes.
        while !kept.is_empty() {
            let step = reader.step(&kept, limits, &mut |request, bytes| {
                requests.push(Seen {
                    method: request.method().to_owned(),
                    path: request.path().to_owned(),
                    query: request.query().map(ToOwned::to_owned),
                    body: request.body().to_vec(),
                    wire: kept[..bytes].to_vec(),
                });
            });
            let used = match step {
                Ok(0) => break,
                Ok(used) => used,
                Err(status) => return (requests, Some(status)),
            };
            kept.drain(..used);
        }
        assert!(kept.len() <= max_request_bytes(limits) + piece.len());
        if after.is_empty() {
            return (requests, None);
        }
        rest = after;
    }
}

/// Checks a request with a simple and strict parser.
fn assert_ends_in_one_way(seen: &Seen, max_head_bytes: usize) {
    let wire = &seen.wire;
    let end = wire.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = wire.split_at(end.expect("a head ends") + 4);
    assert!(head.len() <= max_head_bytes);
    let head = String::from_utf8_lossy(&head[..head.len() - 4]).into_owned();
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    assert_eq!((line.len(), line[0]), (3, &*seen.method));
    let minor = line[2].strip_prefix("HTTP/1.").map(str::as_bytes);
    assert!(matches!(minor, Some([b'0'..=b'9'])), "{line:?}");

    let (mut lengths, mut encodings) = (Vec::new(), Vec::new());
    for line in lines {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let (name, value) = line.split_once(':').expect("a name and a value");
        let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        assert!(!name.is_empty() && name.chars().all(is_name), "{line:?}");
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.trim_matches([' ', '\t'])),
            "transfer-encoding" => encodings.push(value.trim_matches([' ', '\t'])),
            _ => {}
        }
    }
    match (&lengths[..], &encodings[..]) {
        ([], []) => assert!(body.is_empty()),
        ([length], []) => {
            assert_eq!(length.parse(), Ok(body.len()));
            assert_eq!(body, seen.body);
        }
        ([], [encoding]) => {
            assert!(encoding.eq_ignore_ascii_case("chunked") && line[2] != "HTTP/1.0");
            assert_eq!(dechunked(body), Some(seen.body.clone()));
        }
        _ => panic!("two lengths: {head:?}"),
    }

    assert!(seen.path.starts_with('/') || seen.path == "*");
    let segments = seen.path.split('/');
    assert!(segments.into_iter().all(|name| name != "." && name != ".."));
    assert!(!seen.path.contains(['?', '#', '\\', ' ']));
}

/// Decodes chunks, if the bytes end after the last one and its trailers.
fn dechunked(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = until_line_end(&mut wire)?;
        let digits = line.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let (data, rest) = wire.split_at_checked(size)?;
        body.extend_from_slice(data);
        wire = rest.strip_prefix(b"\r\n")?;
    }
    while !until_line_end(&mut wire)?.is_empty() {}
    wire.is_empty().then_some(body)
}

fn until_line_end<'w>(wire: &mut &'w [u8]) -> Option<&'w [u8]> {
    let end = wire.windows(2).position(|two| two == b"\r\n")?;
    let (line, rest) = wire.split_at(end);
    *wire = &rest[2..];
    Some(line)
}
