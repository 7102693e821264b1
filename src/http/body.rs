//! The body of a request: where it ends, and the contents of its chunks (RFC 9112 §7.1). Pure.

use std::borrow::Cow;

use memchr::memchr;

use super::head::{BodyLength, Head};
use super::limits::Limits;
use super::refusal::Refusal;
use super::syntax::{is_field_value, is_header};

#[cfg(test)]
mod tests;

/// Finds the end of the body of one request.
#[derive(Debug)]
pub(super) struct BodyReader {
    pub(super) head_bytes: usize,
    /// The client waits for `100 Continue`, which was not sent yet.
    pub(super) wants_continue: bool,
    part: Part,
    /// Bytes of the chunks that were decoded.
    taken: usize,
    /// The contents of the chunks.
    decoded: Vec<u8>,
}

/// The part of a body that comes next.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// All of a body of this length, which is not in chunks.
    Whole(usize),
    /// The line with the size of a chunk.
    Size,
    /// This many bytes of a chunk, and the line end after them.
    Data(usize),
    /// A trailer, or the empty line at the end. Trailers may have this many more bytes.
    Trailer(usize),
    Nothing,
}

/// The line with the size of a chunk, its extensions included.
const MAX_SIZE_LINE_BYTES: usize = 256;
const MAX_SIZE_DIGITS: usize = 8;

/// Returns the refusal of a body beyond the limit.
fn too_large(limits: &Limits) -> Refusal {
    Refusal::too_large(413, "body", limits.max_body_bytes)
}

impl BodyReader {
    /// Returns a reader of the body that follows this head.
    pub(super) fn new(
        head: &Head<'_>,
        head_bytes: usize,
        limits: &Limits,
    ) -> Result<BodyReader, Refusal> {
        let part = match head.body {
            BodyLength::Chunked => Part::Size,
            BodyLength::Bytes(length) if length <= limits.max_body_bytes => Part::Whole(length),
            BodyLength::Bytes(_) => return Err(too_large(limits)),
        };
        Ok(BodyReader {
            head_bytes,
            wants_continue: head.expects_continue,
            part,
            taken: 0,
            decoded: Vec::new(),
        })
    }

    /// Returns the end of the body in `bytes`, which begin with the head, once it is complete.
    pub(super) fn find_end(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        let body = bytes.get(self.head_bytes..).unwrap_or_default();
        if let Part::Whole(length) = self.part {
            return Ok((body.len() >= length).then_some(self.head_bytes + length));
        }
        // Bytes beyond the limit are ignored, as if they had not arrived yet.
        let allowed = body.get(..limits.max_chunked_bytes()).unwrap_or(body);
        let mut rest = allowed.get(self.taken..).unwrap_or_default();
        self.decode(&mut rest, limits)?;
        self.taken = allowed.len() - rest.len();
        if let Part::Nothing = self.part {
            Ok(Some(self.head_bytes + self.taken))
        } else if allowed.len() == body.len() {
            Ok(None)
        } else {
            Err(too_large(limits))
        }
    }

    /// Decodes complete lines and all data at the beginning of `rest`, and removes them from it.
    fn decode(&mut self, rest: &mut &[u8], limits: &Limits) -> Result<(), Refusal> {
        while !rest.is_empty() {
            self.part = match self.part {
                Part::Size => {
                    let too_long = || Refusal::bad("invalid chunk: its extension is too long");
                    let Some(line) = take_line(rest, MAX_SIZE_LINE_BYTES, too_long)? else {
                        break;
                    };
                    match chunk_size(line)? {
                        0 => Part::Trailer(limits.max_head_bytes),
                        size if size > limits.max_body_bytes - self.decoded.len() => {
                            return Err(too_large(limits));
                        }
                        size => Part::Data(size),
                    }
                }
                Part::Data(0) => {
                    let too_long = || Refusal::bad("invalid chunk: longer than its size");
                    let Some(_) = take_line(rest, 0, too_long)? else {
                        break;
                    };
                    Part::Size
                }
                Part::Data(left) => {
                    let (data, after) = rest.split_at_checked(left).unwrap_or((rest, &[]));
                    self.decoded.extend_from_slice(data);
                    *rest = after;
                    Part::Data(left - data.len())
                }
                Part::Trailer(left) => {
                    let too_long = || Refusal::too_large(431, "trailers", limits.max_head_bytes);
                    match take_line(rest, left, too_long)? {
                        None => break,
                        Some(b"") => Part::Nothing,
                        Some(line) if is_trailer(line) => Part::Trailer(left - line.len()),
                        Some(_) => return Err(Refusal::bad("invalid trailer: not `name: value`")),
                    }
                }
                Part::Whole(_) | Part::Nothing => break,
            };
        }
        Ok(())
    }

    /// Returns the contents of the body from its bytes on the wire.
    pub(super) fn into_contents(self, wire: &[u8]) -> Cow<'_, [u8]> {
        match self.part {
            Part::Whole(_) => Cow::Borrowed(wire),
            _ => Cow::Owned(self.decoded),
        }
    }
}

/// Takes a line from the beginning of `rest`, and returns it without its CRLF. Returns `None` while
/// it is incomplete, and `too_long` if it has more than `max_bytes`.
fn take_line<'b>(
    rest: &mut &'b [u8],
    max_bytes: usize,
    too_long: impl FnOnce() -> Refusal,
) -> Result<Option<&'b [u8]>, Refusal> {
    let allowed = rest.get(..max_bytes + 2);
    let Some(end) = memchr(b'\n', allowed.unwrap_or(rest)) else {
        return if allowed.is_some() {
            Err(too_long())
        } else {
            Ok(None)
        };
    };
    let line = rest.get(..end).unwrap_or_default();
    *rest = rest.get(end + 1..).unwrap_or_default();
    let without_cr = || Refusal::bad("invalid line end in a chunked body: LF without CR");
    line.strip_suffix(b"\r").map(Some).ok_or_else(without_cr)
}

/// Reads the size of a chunk. Extensions after it are ignored.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let (digits, extension) = match memchr(b';', line) {
        Some(end) => line.split_at_checked(end).unwrap_or_default(),
        None => (line, &[][..]),
    };
    if !extension.iter().copied().all(is_field_value) {
        return Err(Refusal::bad("invalid chunk extension: control character"));
    }
    let digits = std::str::from_utf8(digits).ok();
    digits
        .filter(|digits| digits.len() <= MAX_SIZE_DIGITS && !digits.starts_with('+'))
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or_else(|| Refusal::bad("invalid chunk size: not 1 to 8 hexadecimal digits"))
}

fn is_trailer(line: &[u8]) -> bool {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (name, value) = (parts.next(), parts.next());
    name.zip(value)
        .is_some_and(|(name, value)| is_header(name, value))
}
