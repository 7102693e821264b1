//! Cuts input into frames. Pure: bytes in, frames out.

use std::ops::ControlFlow;

use memchr::memchr;

use super::buffer_pool::BufferPool;

/// Framing of the input of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// Frames that end with `¶`, each passed to `Handler::on_frame` as a whole, without the `¶`.
    #[default]
    Pilcrow,
    /// Bytes as they arrive, passed to `Handler::on_bytes`, which returns how many it consumed.
    Raw,
}

/// `¶` in UTF-8. In valid UTF-8 these two bytes are never part of another character.
pub(crate) const FRAME_END: [u8; 2] = [LEAD, TRAIL];
const LEAD: u8 = 0xC2;
const TRAIL: u8 = 0xB6;

/// Reason why [`FrameBuffer::feed`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fed {
    /// Every complete frame was passed on.
    Drained,
    /// The receiver stopped; complete frames may be kept.
    Stopped,
    /// A frame is longer than the limit. The buffer must not be used any more.
    TooLarge,
}

/// Cuts a stream of bytes, which arrives in pieces of any size, into frames.
///
/// A frame within one piece is passed on in place; only the unfinished tail of a piece is copied.
/// Between frames the buffer owns no memory. White space around frames and empty frames are
/// dropped.
///
/// Invariant: `scanned <= kept.len()`, and `kept[..scanned]` holds no frame end.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    kept: Vec<u8>,
    scanned: usize,
}

impl FrameBuffer {
    /// Passes each frame that `input` completes to `receive`, and keeps the rest.
    ///
    /// If `receive` stops, the other frames are kept and come first in the next call.
    pub fn feed(
        &mut self,
        input: &[u8],
        max_frame_bytes: usize,
        pool: &mut BufferPool,
        receive: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Fed {
        if self.kept.is_empty() {
            return self.feed_in_place(input, max_frame_bytes, pool, receive);
        }

        // Only the bytes up to the end of the kept frame are joined: the others need not be copied.
        let end = self.end_of_kept_frame(input);
        let (joined, rest) = input
            .split_at_checked(end.unwrap_or(input.len()))
            .unwrap_or((input, &[]));
        let is_searched = self.scanned >= scannable(&self.kept);
        self.kept.extend_from_slice(joined);
        if is_searched {
            // `joined` was already searched.
            self.scanned = match end {
                Some(_) => self.kept.len().saturating_sub(FRAME_END.len()),
                None => scannable(&self.kept),
            };
        }

        let mut cursor = Cursor {
            start: 0,
            scanned: self.scanned,
        };
        let fed = cursor.hand_out(&self.kept, max_frame_bytes, receive);
        if cursor.start == self.kept.len() {
            self.release(pool);
            if fed == Fed::Drained {
                return self.feed_in_place(rest, max_frame_bytes, pool, receive);
            }
        } else {
            self.kept.drain(..cursor.start);
            self.scanned = cursor.scanned.saturating_sub(cursor.start);
        }
        self.keep(rest, pool);
        fed
    }

    /// Passes kept bytes and `input` to `consume`, again while it consumes some.
    ///
    /// `consume` returns how many bytes it has consumed; the others are kept.
    pub fn feed_raw(
        &mut self,
        input: &[u8],
        max_kept_bytes: usize,
        pool: &mut BufferPool,
        consume: &mut Consume<'_>,
    ) -> Fed {
        let fed = if self.kept.is_empty() {
            let (used, fed) = offer(input, consume);
            self.keep(input.get(used..).unwrap_or_default(), pool);
            fed
        } else {
            self.kept.extend_from_slice(input);
            let (used, fed) = offer(&self.kept, consume);
            if used == self.kept.len() {
                self.release(pool);
            } else {
                self.kept.drain(..used);
            }
            fed
        };
        // After a stop the kept bytes may be many complete requests.
        if fed == Fed::Drained && self.kept.len() > max_kept_bytes {
            Fed::TooLarge
        } else {
            fed
        }
    }

    /// Returns the bytes of the unfinished frame. Empty between frames.
    pub fn unfinished(&self) -> &[u8] {
        &self.kept
    }

    #[cfg(any(test, fuzzing))]
    #[doc(hidden)]
    pub fn capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// Drops the kept bytes and returns their memory to the pool.
    pub fn release(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(&mut self.kept));
        self.scanned = 0;
    }

    fn feed_in_place(
        &mut self,
        input: &[u8],
        max_frame_bytes: usize,
        pool: &mut BufferPool,
        receive: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Fed {
        let mut cursor = Cursor::default();
        let fed = cursor.hand_out(input, max_frame_bytes, receive);
        self.keep(input.get(cursor.start..).unwrap_or_default(), pool);
        self.scanned = cursor.scanned.saturating_sub(cursor.start);
        fed
    }

    fn keep(&mut self, rest: &[u8], pool: &mut BufferPool) {
        debug_assert!(self.scanned <= self.kept.len());
        if rest.is_empty() {
            return;
        }
        if self.kept.is_empty() {
            self.kept = pool.take();
        }
        self.kept.extend_from_slice(rest);
    }

    /// Returns the number of bytes of `input` that complete the kept frame, including its end.
    fn end_of_kept_frame(&self, input: &[u8]) -> Option<usize> {
        let ends_at_once = self.kept.last() == Some(&LEAD) && input.first() == Some(&TRAIL);
        if ends_at_once {
            return Some(1);
        }
        find_end(input, 0).map(|end| end + FRAME_END.len())
    }
}

/// Start of the first frame that was not passed on, and the end of the bytes that were searched.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    start: usize,
    scanned: usize,
}

impl Cursor {
    /// Passes on the complete frames of `bytes`.
    fn hand_out(
        &mut self,
        bytes: &[u8],
        max_frame_bytes: usize,
        receive: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Fed {
        loop {
            self.skip_white_space(bytes);
            let Some(end) = find_end(bytes, self.scanned) else {
                self.scanned = scannable(bytes);
                let begun = self.scanned.saturating_sub(self.start);
                return if begun > max_frame_bytes {
                    Fed::TooLarge
                } else {
                    Fed::Drained
                };
            };
            let frame = bytes.get(self.start..end).unwrap_or_default();
            self.start = end + FRAME_END.len();
            self.scanned = self.start;
            // White space at the end of a frame counts, as it did while the frame was unfinished.
            if frame.len() > max_frame_bytes {
                return Fed::TooLarge;
            }
            let frame = frame.trim_ascii_end();
            if !frame.is_empty() && receive(frame).is_break() {
                return Fed::Stopped;
            }
        }
    }

    fn skip_white_space(&mut self, bytes: &[u8]) {
        let rest = bytes.get(self.start..).unwrap_or_default();
        self.start += rest.len() - rest.trim_ascii_start().len();
        self.scanned = self.scanned.max(self.start);
    }
}

/// Returns the number of bytes that count as searched: the first half of a frame end is searched
/// again together with the second.
fn scannable(bytes: &[u8]) -> usize {
    bytes.len() - usize::from(bytes.last() == Some(&LEAD))
}

/// Returns the start of the first frame end at or after `from`.
///
/// Searches for the lead byte: the other one also ends common letters such as `ö`.
pub(super) fn find_end(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr(LEAD, bytes.get(from..)?)?;
        if bytes.get(at + 1) == Some(&TRAIL) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Consumes bytes. Returns how many, and whether to stop.
type Consume<'a> = dyn FnMut(&[u8]) -> (usize, ControlFlow<()>) + 'a;

fn offer(bytes: &[u8], consume: &mut Consume<'_>) -> (usize, Fed) {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return (used, Fed::Drained);
        }
        let (more, flow) = consume(rest);
        used += more.min(rest.len());
        if flow.is_break() {
            return (used, Fed::Stopped);
        }
        if more == 0 {
            return (used, Fed::Drained);
        }
    }
}

#[cfg(test)]
mod tests;
