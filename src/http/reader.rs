//! The boundaries of requests in a stream of bytes. Pure: bytes in, requests out.

use httparse::Header;
use memchr::memchr;

use super::body::BodyReader;
use super::head::Head;
use super::limits::{Limits, MAX_HEADERS};
use super::refusal::Refusal;
use super::request::Request;
use super::syntax::is_token;

#[cfg(test)]
mod tests;

/// Finds requests in the bytes of one connection.
///
/// It keeps no bytes. Unconsumed bytes are passed to it again, followed by those that arrived
/// since.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    /// Bytes of the head that were searched for a line end.
    scanned: usize,
    line_start: usize,
    /// Set once the head is complete.
    body: Option<BodyReader>,
}

/// The meaning of the bytes that were passed.
#[derive(Debug)]
pub(crate) enum Step<'b> {
    /// The bytes begin with an empty line of this length.
    Skip(usize),
    /// The bytes are the beginning of a request.
    More {
        /// The client waits for `100 Continue` before it sends the body.
        wants_continue: bool,
    },
    /// The bytes begin with a request.
    Complete { request: Request<'b>, bytes: usize },
}

impl RequestReader {
    /// Continues with `bytes`. Bytes that `Skip` and `Complete` consume must not be passed again.
    pub(crate) fn step<'b>(
        &mut self,
        bytes: &'b [u8],
        slots: &'b mut [Header<'b>; MAX_HEADERS],
        limits: &Limits,
    ) -> Result<Step<'b>, Refusal> {
        if self.body.is_none() && bytes.starts_with(b"\r\n") {
            *self = RequestReader::default();
            return Ok(Step::Skip(2));
        }
        // A head is parsed a second time only if its body arrived later, and is complete.
        if let Some(body) = &mut self.body
            && body.find_end(bytes, limits)?.is_none()
        {
            return Ok(wait_for(body));
        }
        let head_bytes = match &self.body {
            Some(body) => body.head_bytes,
            None => match self.find_head_end(bytes, limits.max_head_bytes)? {
                Some(head_bytes) => head_bytes,
                None => {
                    let wants_continue = false;
                    return Ok(Step::More { wants_continue });
                }
            },
        };
        let head = Head::read(bytes.get(..head_bytes).unwrap_or_default(), slots)?;
        let mut body = match self.body.take() {
            Some(body) => body,
            None => BodyReader::new(&head, head_bytes, limits)?,
        };
        let Some(end) = body.find_end(bytes, limits)? else {
            return Ok(wait_for(self.body.insert(body)));
        };
        *self = RequestReader::default();
        let body = body.into_contents(bytes.get(head_bytes..end).unwrap_or_default());
        let request = Request { head, body };
        Ok(Step::Complete {
            request,
            bytes: end,
        })
    }

    /// Returns the end of the empty line after a head.
    fn find_head_end(&mut self, bytes: &[u8], max_bytes: usize) -> Result<Option<usize>, Refusal> {
        // No further bytes can make this a request.
        if bytes
            .first()
            .is_some_and(|first| !is_token(*first) && *first != b'\r')
        {
            return Err(Refusal::bad(
                "not an HTTP request: it does not begin with a method",
            ));
        }
        let too_large = || Err(Refusal::too_large(431, "head", max_bytes));
        while let Some(found) = memchr(b'\n', bytes.get(self.scanned..).unwrap_or_default()) {
            let at = self.scanned + found;
            // Checked first, as if the end of the line had not arrived yet.
            if at >= max_bytes {
                return too_large();
            }
            if at == 0 || bytes.get(at - 1) != Some(&b'\r') {
                return Err(Refusal::bad("invalid line end in the head: LF without CR"));
            }
            let is_empty = at - self.line_start == 1;
            (self.scanned, self.line_start) = (at + 1, at + 1);
            if is_empty {
                return Ok(Some(self.scanned));
            }
        }
        self.scanned = bytes.len();
        if self.scanned > max_bytes {
            too_large()
        } else {
            Ok(None)
        }
    }
}

fn wait_for(body: &mut BodyReader) -> Step<'static> {
    Step::More {
        wants_continue: std::mem::take(&mut body.wants_continue),
    }
}
