use super::*;

/// Returns the length and the contents of a body in chunks. The error is the status of the refusal,
/// 0 if the body is incomplete.
fn decode(wire: &str) -> Result<(usize, String), u16> {
    let limits = Limits {
        max_body_bytes: 1000,
        max_head_bytes: 100,
        ..Limits::default()
    };
    let mut body = BodyReader {
        head_bytes: 0,
        wants_continue: false,
        part: Part::Size,
        taken: 0,
        decoded: Vec::new(),
    };
    match body.find_end(wire.as_bytes(), &limits) {
        Ok(Some(end)) => {
            let contents = body.into_contents(&[]).into_owned();
            Ok((end, String::from_utf8(contents).unwrap()))
        }
        Ok(None) => Err(0),
        Err(refusal) => Err(refusal.status),
    }
}

#[test]
fn joins_chunks_and_ignores_trailers() {
    for (wire, body) in [
        ("0\r\n\r\n", ""),
        ("1\r\na\r\n0\r\n\r\n", "a"),
        (
            "a;x=\"y\"\r\n0123456789\r\n00\r\nX: y\r\nZ:\r\n\r\n",
            "0123456789",
        ),
        ("00000002\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ] {
        assert_eq!(decode(wire), Ok((wire.len(), body.to_owned())), "{wire:?}");
        let more = format!("{wire}GET / HTTP/1.1");
        assert_eq!(decode(&more).unwrap().0, wire.len());
    }
}

#[test]
fn refuses_malformed_chunks_and_trailers() {
    for (wire, status) in [
        ("", 0),
        ("1\r\na", 0),
        ("0\r\n", 0),
        ("\r\n", 400),
        (" 1\r\na\r\n", 400),
        ("1 \r\na\r\n", 400),
        ("0x1\r\na\r\n", 400),
        ("+1\r\na\r\n", 400),
        ("-1\r\na\r\n", 400),
        ("1_0\r\na\r\n", 400),
        ("1\na\n0\n\n", 400),
        ("1\r\na\n0\r\n\r\n", 400),
        ("1\r\nab\r\n0\r\n\r\n", 400),
        ("1\r\na0\r\n\r\n", 400),
        ("1\rXa\r\n0\r\n\r\n", 400),
        ("1;\n\r\na\r\n0\r\n\r\n", 400),
        ("000000001\r\na\r\n0\r\n\r\n", 400),
        ("fffffffffffffffff\r\n", 400),
        ("ffffffff\r\n", 413),
        ("3e9\r\n", 413),
        ("0\r\n X: y\r\n\r\n", 400),
        ("0\r\nX: y\n\r\n", 400),
        ("0\r\n\rX\r\n", 400),
        ("0\r\nX\r\n\r\n", 400),
        ("0\r\n: y\r\n\r\n", 400),
        ("0\r\nX : y\r\n\r\n", 400),
        ("0\r\nX y: z\r\n\r\n", 400),
        ("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("0\r\n\u{e9}: y\r\n\r\n", 400),
        ("0\r\nX: a\0b\r\n\r\n", 400),
        ("0\r\nX: y\r\nZ\r\n\r\n", 400),
    ] {
        assert_eq!(decode(wire), Err(status), "{wire:?}");
    }
    assert_eq!(decode(&format!("1;{}\r\n", "x".repeat(300))), Err(400));
    assert_eq!(
        decode(&format!("0\r\nX: {}\r\n", "x".repeat(300))),
        Err(431)
    );
}
