//! Cuts input into frames. Pure: bytes in, frames out.

use memchr::memchr;

use super::buffer_pool::BufferPool;

/// How the input of a connection is framed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// Frames ended by `¶`, each passed to `Handler::on_frame` as a whole, without its end.
    #[default]
    Pilcrow,
    /// Bytes as they arrive, passed to `Handler::on_bytes`, which returns how many it consumed.
    Raw,
}

/// `¶` in UTF-8. In valid UTF-8 this pair is never part of another character.
pub const FRAME_END: [u8; 2] = [LEAD, TRAIL];
const LEAD: u8 = 0xC2;
const TRAIL: u8 = 0xB6;

/// What the receiver of a frame wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// The next frame.
    Continue,
    /// Nothing for now: the rest of the bytes is kept.
    Stop,
}

/// Why [`FrameBuffer::feed`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fed {
    /// Every complete frame was passed on.
    Drained,
    /// The receiver returned [`Flow::Stop`]; complete frames may be kept.
    Stopped,
    /// A frame is longer than the limit. The buffer must not be used any more.
    TooLarge,
}

/// Cuts a stream of bytes, in whatever pieces it arrives, into frames.
///
/// A frame within one piece is passed on in place; only the unfinished tail of a piece is copied.
/// Between frames the buffer is empty and owns no memory. White space around frames and empty frames
/// are dropped.
///
/// Invariant: `start <= scanned <= kept.len()`, and `kept[start..scanned]` holds no frame end.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    kept: Vec<u8>,
    cursor: Cursor,
}

impl FrameBuffer {
    /// Passes each frame that `input` completes to `receive`, and keeps the rest.
    ///
    /// Frames that an earlier [`Flow::Stop`] left behind come first.
    pub fn feed(
        &mut self,
        input: &[u8],
        max_frame_bytes: usize,
        pool: &mut BufferPool,
        receive: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> Fed {
        if self.kept.is_empty() {
            return self.feed_in_place(input, max_frame_bytes, pool, receive);
        }

        // Only up to the end of the frame that has begun: the rest need not be copied.
        let (frame_rest, ends) = self.rest_of_frame(input);
        self.compact();
        let all_scanned = self.cursor.scanned >= scannable(&self.kept);
        let (joined, rest) = input.split_at_checked(frame_rest).unwrap_or((input, &[]));
        self.kept.extend_from_slice(joined);
        if all_scanned {
            // What was just searched to find the end is not searched again.
            self.cursor.scanned = if ends {
                self.kept.len().saturating_sub(FRAME_END.len())
            } else {
                scannable(&self.kept)
            };
        }

        let fed = self.cursor.hand_out(&self.kept, max_frame_bytes, receive);
        let is_consumed = self.cursor.start == self.kept.len();
        if is_consumed && fed == Fed::Drained {
            self.release(pool);
            return self.feed_in_place(rest, max_frame_bytes, pool, receive);
        }
        if is_consumed {
            // It was stopped by the last frame there was.
            self.release(pool);
        }
        self.keep(rest, pool);
        self.check();
        fed
    }

    /// Passes kept bytes and `input` to `consume`, repeatedly while it consumes some.
    ///
    /// `consume` returns how many bytes it has consumed; the others are kept.
    pub fn feed_raw(
        &mut self,
        input: &[u8],
        max_kept_bytes: usize,
        pool: &mut BufferPool,
        consume: &mut dyn FnMut(&[u8]) -> (usize, Flow),
    ) -> Fed {
        self.compact();
        let fed = if self.kept.is_empty() {
            let (used, fed) = offer(input, consume);
            self.keep(input.get(used..).unwrap_or_default(), pool);
            fed
        } else {
            self.kept.extend_from_slice(input);
            let (used, fed) = offer(&self.kept, consume);
            (self.cursor.start, self.cursor.scanned) = (used, used);
            if used == self.kept.len() {
                self.release(pool);
            }
            fed
        };
        self.check();
        // What a stop left behind may be many requests, all complete.
        if fed == Fed::Drained && self.unfinished().len() > max_kept_bytes {
            Fed::TooLarge
        } else {
            fed
        }
    }

    /// Returns the bytes of the unfinished frame. Empty between frames.
    pub fn unfinished(&self) -> &[u8] {
        self.kept.get(self.cursor.start..).unwrap_or_default()
    }

    #[cfg(any(test, fuzzing))]
    #[doc(hidden)]
    pub fn capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// Drops the kept bytes and returns their memory to the pool.
    pub fn release(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(&mut self.kept));
        self.cursor = Cursor::default();
    }

    fn feed_in_place(
        &mut self,
        input: &[u8],
        max_frame_bytes: usize,
        pool: &mut BufferPool,
        receive: &mut dyn FnMut(&[u8]) -> Flow,
    ) -> Fed {
        let mut cursor = Cursor::default();
        let fed = cursor.hand_out(input, max_frame_bytes, receive);
        let rest = input.get(cursor.start..).unwrap_or_default();
        self.keep(rest, pool);
        if !rest.is_empty() {
            self.cursor.scanned = cursor.scanned.saturating_sub(cursor.start);
        }
        self.check();
        fed
    }

    fn keep(&mut self, rest: &[u8], pool: &mut BufferPool) {
        if rest.is_empty() {
            return;
        }
        if self.kept.is_empty() {
            self.kept = pool.take();
        }
        self.kept.extend_from_slice(rest);
    }

    /// How many bytes of `input` belong to the frame that is kept, its end included, and whether
    /// its end is among them.
    fn rest_of_frame(&self, input: &[u8]) -> (usize, bool) {
        let ends_at_once = self.kept.last() == Some(&LEAD) && input.first() == Some(&TRAIL);
        if ends_at_once {
            return (1, true);
        }
        find_end(input, 0).map_or((input.len(), false), |end| (end + FRAME_END.len(), true))
    }

    fn compact(&mut self) {
        let Cursor { start, scanned } = self.cursor;
        self.kept.drain(..start);
        self.cursor = Cursor {
            start: 0,
            scanned: scanned.saturating_sub(start),
        };
    }

    fn check(&self) {
        let Cursor { start, scanned } = self.cursor;
        debug_assert!(start <= scanned && scanned <= self.kept.len());
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    start: usize,
    scanned: usize,
}

impl Cursor {
    /// Passes on the complete frames of `bytes`. The cursor moves past a frame before the receiver
    /// sees it, so that a frame which makes the receiver fail is never seen again.
    fn hand_out(
        &mut self,
        bytes: &[u8],
        max_frame_bytes: usize,
        receive: &mut dyn FnMut(&[u8]) -> Flow,
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
            // White space at its end counts, as it did while the frame was unfinished.
            if frame.len() > max_frame_bytes {
                return Fed::TooLarge;
            }
            let frame = frame.trim_ascii_end();
            if !frame.is_empty() && receive(frame) == Flow::Stop {
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

/// Returns how far to search for an end: the first half of one is searched again with the second.
fn scannable(bytes: &[u8]) -> usize {
    bytes.len() - usize::from(bytes.last() == Some(&LEAD))
}

/// Returns where the first frame end at or after `from` begins.
///
/// Searches the lead byte: the other one also ends common letters, `ö` among them.
pub(super) fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + memchr(LEAD, bytes.get(from..)?)?;
        if bytes.get(at + 1) == Some(&TRAIL) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn offer(bytes: &[u8], consume: &mut dyn FnMut(&[u8]) -> (usize, Flow)) -> (usize, Fed) {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return (used, Fed::Drained);
        }
        let (more, flow) = consume(rest);
        used += more.min(rest.len());
        if flow == Flow::Stop {
            return (used, Fed::Stopped);
        }
        if more == 0 {
            return (used, Fed::Drained);
        }
    }
}

#[cfg(test)]
mod tests;
