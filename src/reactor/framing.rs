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
    start: usize,
    scanned: usize,
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
        let all_scanned = self.scanned >= scannable(&self.kept);
        let (joined, rest) = input.split_at_checked(frame_rest).unwrap_or((input, &[]));
        self.kept.extend_from_slice(joined);
        if all_scanned {
            // What was just searched to find the end is not searched again.
            self.scanned = if ends {
                self.kept.len().saturating_sub(FRAME_END.len())
            } else {
                scannable(&self.kept)
            };
        }

        let mut kept = std::mem::take(&mut self.kept);
        let mut cursor = Cursor {
            start: self.start,
            scanned: self.scanned,
        };
        let fed = cursor.hand_out(&kept, max_frame_bytes, receive);
        (self.start, self.scanned) = (cursor.start, cursor.scanned);
        if fed == Fed::Drained && cursor.start == kept.len() {
            pool.give(kept);
            (self.start, self.scanned) = (0, 0);
            return self.feed_in_place(rest, max_frame_bytes, pool, receive);
        }
        kept.extend_from_slice(rest);
        if self.start < kept.len() {
            self.kept = kept;
        } else {
            // It was stopped by the last frame there was.
            pool.give(kept);
            (self.start, self.scanned) = (0, 0);
        }
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
        let mut kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            let (used, fed) = offer(input, consume);
            let rest = input.get(used..).unwrap_or_default();
            if rest.is_empty() {
                pool.give(kept);
            } else {
                kept = pool.take();
                kept.extend_from_slice(rest);
                self.kept = kept;
            }
            return self.limit_raw(fed, max_kept_bytes);
        }
        kept.extend_from_slice(input);
        let (used, fed) = offer(&kept, consume);
        if used >= kept.len() {
            pool.give(kept);
        } else {
            self.start = used;
            self.scanned = used;
            self.kept = kept;
        }
        self.check();
        self.limit_raw(fed, max_kept_bytes)
    }

    /// Returns the bytes of the unfinished frame. Empty between frames.
    pub fn unfinished(&self) -> &[u8] {
        self.kept.get(self.start..).unwrap_or_default()
    }

    #[cfg(any(test, fuzzing))]
    #[doc(hidden)]
    pub fn capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// Drops the kept bytes and returns their memory to the pool.
    pub fn release(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(&mut self.kept));
        (self.start, self.scanned) = (0, 0);
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
        if !rest.is_empty() {
            self.kept = pool.take();
            self.kept.extend_from_slice(rest);
            self.start = 0;
            self.scanned = cursor.scanned.saturating_sub(cursor.start);
        }
        self.check();
        fed
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
        if self.start > 0 {
            self.kept.drain(..self.start);
            self.scanned = self.scanned.saturating_sub(self.start);
            self.start = 0;
        }
    }

    fn limit_raw(&self, fed: Fed, max_kept_bytes: usize) -> Fed {
        // What a stop left behind may be many requests, all complete.
        if fed == Fed::Drained && self.unfinished().len() > max_kept_bytes {
            Fed::TooLarge
        } else {
            fed
        }
    }

    fn check(&self) {
        debug_assert!(self.start <= self.scanned && self.scanned <= self.kept.len());
    }
}

#[derive(Default)]
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
