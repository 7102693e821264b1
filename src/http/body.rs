//! Where the body of a request ends. Pure.

use super::chunked::ChunkedDecoder;
use super::head::{BodyLength, Head};
use super::limits::Limits;
use super::refusal::Refusal;

/// Reads the body of one request.
#[derive(Debug)]
pub(super) struct BodyReader {
    pub(super) head_bytes: usize,
    /// The client waits for `100 Continue`, and was not sent it.
    pub(super) wants_continue: bool,
    end: BodyEnd,
}

#[derive(Debug)]
enum BodyEnd {
    /// So many bytes after the head.
    After(usize),
    Chunked {
        decoder: ChunkedDecoder,
        /// Bytes of the chunks that were decoded.
        taken: usize,
    },
}

impl BodyReader {
    /// Returns a reader of the body that follows this head.
    pub(super) fn new(
        head: &Head<'_>,
        head_bytes: usize,
        limits: &Limits,
    ) -> Result<BodyReader, Refusal> {
        let end = match head.body {
            BodyLength::Chunked => BodyEnd::Chunked {
                decoder: ChunkedDecoder::default(),
                taken: 0,
            },
            BodyLength::Bytes(length) => match usize::try_from(length) {
                Ok(length) if length <= limits.max_body_bytes => BodyEnd::After(length),
                _ => return Err(TOO_LARGE),
            },
        };
        Ok(BodyReader {
            head_bytes,
            wants_continue: head.expects_continue,
            end,
        })
    }

    /// Returns the length of the body on the wire once it is complete. `bytes` begin with the head.
    pub(super) fn find_end(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        let body = bytes.get(self.head_bytes..).unwrap_or_default();
        match &mut self.end {
            BodyEnd::After(length) => Ok((body.len() >= *length).then_some(*length)),
            BodyEnd::Chunked { decoder, taken } => {
                let new = body.get(*taken..).unwrap_or_default();
                let room = limits.max_chunked_bytes() - *taken;
                // Bytes beyond the limit are not looked at, as if they had not come yet.
                let (new, beyond) = new.split_at_checked(room).unwrap_or((new, &[]));
                let (used, is_complete) =
                    decoder.take(new, limits.max_body_bytes, limits.max_head_bytes)?;
                *taken += used;
                if is_complete {
                    Ok(Some(*taken))
                } else if beyond.is_empty() {
                    Ok(None)
                } else {
                    Err(TOO_LARGE)
                }
            }
        }
    }

    /// Returns the body of a request in chunks. Otherwise the body is what is on the wire.
    pub(super) fn into_decoded(self) -> Option<Vec<u8>> {
        match self.end {
            BodyEnd::Chunked { decoder, .. } => Some(decoder.decoded),
            BodyEnd::After(_) => None,
        }
    }
}

const TOO_LARGE: Refusal = Refusal::new(413, "the body is too large");
