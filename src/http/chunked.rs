//! A body in chunks (RFC 9112 §7.1). Pure.

use super::refusal::Refusal;
use super::syntax::{is_field_value, is_token};

/// Decodes the chunks of a body, whichever pieces they come in.
#[derive(Debug, Default)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// The contents of the chunks.
    pub(super) decoded: Vec<u8>,
    line_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Before the first digit of a size.
    #[default]
    SizeBegins,
    Size(usize),
    /// An extension follows the size: it is skipped.
    Extension(usize),
    SizeEnds(usize),
    Data(usize),
    DataEnds,
    DataEnded,
    TrailerBegins,
    TrailerName,
    TrailerValue,
    TrailerEnds,
    AllEnds,
    Done,
}

/// The line with a chunk's size, its extensions included.
const MAX_SIZE_LINE_BYTES: usize = 256;
const MAX_SIZE_DIGITS: usize = 8;

impl ChunkedDecoder {
    /// Decodes the bytes after those of the last call. Returns how many of them belong to the body,
    /// and whether it is complete.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        max_body_bytes: usize,
        max_trailer_bytes: usize,
    ) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        while let Some(byte) = bytes.get(used).copied() {
            if let State::Data(left) = self.state {
                let rest = bytes.get(used..).unwrap_or_default();
                let (data, _) = rest.split_at_checked(left).unwrap_or((rest, &[]));
                self.decoded.extend_from_slice(data);
                used += data.len();
                self.state = match left - data.len() {
                    0 => State::DataEnds,
                    left => State::Data(left),
                };
                continue;
            }
            used += 1;
            self.state = self.next(byte, max_body_bytes, max_trailer_bytes)?;
            if self.state == State::Done {
                return Ok((used, true));
            }
        }
        Ok((used, false))
    }

    fn next(
        &mut self,
        byte: u8,
        max_body_bytes: usize,
        max_trailer_bytes: usize,
    ) -> Result<State, Refusal> {
        let no_size = Refusal::bad("invalid chunk size");
        self.line_bytes += 1;
        Ok(match (self.state, byte) {
            (State::SizeBegins, _) => {
                self.line_bytes = 1;
                State::Size(digit(byte).ok_or(no_size)?)
            }
            (State::Size(size), b'\r') => State::SizeEnds(size),
            (State::Size(size), b';') => State::Extension(size),
            (State::Size(_), _) if self.line_bytes > MAX_SIZE_DIGITS => return Err(no_size),
            (State::Size(size), _) => State::Size(size << 4 | digit(byte).ok_or(no_size)?),
            (State::Extension(size), b'\r') => State::SizeEnds(size),
            (State::Extension(_), _) if self.line_bytes > MAX_SIZE_LINE_BYTES => {
                return Err(Refusal::bad("invalid chunk: its extension is too long"));
            }
            (State::Extension(_), _) if !is_field_value(byte) => {
                return Err(Refusal::bad("invalid chunk extension: control character"));
            }
            (State::Extension(size), _) => State::Extension(size),
            (State::SizeEnds(0), b'\n') => State::TrailerBegins,
            (State::SizeEnds(size), b'\n') => {
                if size > max_body_bytes - self.decoded.len().min(max_body_bytes) {
                    return Err(Refusal::new(413, "the body is too large"));
                }
                State::Data(size)
            }
            (State::DataEnds, b'\r') => State::DataEnded,
            (State::DataEnded, b'\n') => State::SizeBegins,
            (State::TrailerBegins, b'\r') => State::AllEnds,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerEnds,
            (state @ (State::TrailerBegins | State::TrailerName | State::TrailerValue), _) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > max_trailer_bytes {
                    return Err(Refusal::new(431, "the trailers are too long"));
                }
                match state {
                    State::TrailerValue if is_field_value(byte) => State::TrailerValue,
                    State::TrailerValue => {
                        return Err(Refusal::bad("invalid trailer: control character"));
                    }
                    _ if is_token(byte) => State::TrailerName,
                    _ => return Err(Refusal::bad("invalid trailer: not `name: value`")),
                }
            }
            (State::TrailerEnds, b'\n') => State::TrailerBegins,
            (State::AllEnds, b'\n') => State::Done,
            _ => {
                return Err(Refusal::bad(
                    "invalid chunk: longer than its size, or a line that does not end in CRLF",
                ));
            }
        })
    }
}

fn digit(byte: u8) -> Option<usize> {
    let digit = char::from(byte).to_digit(16)?;
    usize::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(wire: &str) -> Result<(usize, String), u16> {
        let mut decoder = ChunkedDecoder::default();
        match decoder.take(wire.as_bytes(), 1000, 100) {
            Ok((used, true)) => Ok((used, String::from_utf8_lossy(&decoder.decoded).into_owned())),
            Ok((_, false)) => Err(0),
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
            ("0\r\n\rX", 400),
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
}
