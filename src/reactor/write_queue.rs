//! The write queue of a connection, and shared frames.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use super::buffer_pool::BufferPool;
use super::framing::{FRAME_END, find_end};

/// A frame that is encoded once and can be in the queues of many connections.
///
/// Cloning only counts a reference. A raw `¶` is only at its end.
#[derive(Clone, Debug, Default)]
pub struct SharedFrame(Rc<Vec<u8>>);

impl SharedFrame {
    /// Creates a frame from the bytes that `encode` appends, with raw `¶` escaped and a frame end.
    pub fn new(encode: impl FnOnce(&mut Vec<u8>)) -> SharedFrame {
        let mut frame = SharedFrame::default();
        frame.rebuild(encode);
        frame
    }

    /// Replaces the frame. Reuses its memory if no queue holds it; otherwise those queues keep the
    /// old one.
    pub fn rebuild(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let fill = |bytes: &mut Vec<u8>| {
            encode(bytes);
            end_frame(bytes, 0);
        };
        if let Some(bytes) = Rc::get_mut(&mut self.0) {
            bytes.clear();
            fill(bytes);
        } else {
            let mut bytes = Vec::with_capacity(self.0.len());
            fill(&mut bytes);
            self.0 = Rc::new(bytes);
        }
    }

    /// Returns whether a queue, or another clone, still holds it.
    pub fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// Returns the bytes on the wire, including the frame end. Empty for an empty frame.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Escapes each raw `¶` in `bytes[start..]` and ends the frame. An empty frame stays empty.
///
/// Frames end only here, so no encoder can end one early and inject another.
pub(super) fn end_frame(bytes: &mut Vec<u8>, start: usize) {
    if bytes.len() > start {
        escape_frame(bytes, start);
        bytes.extend_from_slice(&FRAME_END);
    }
}

/// Escapes each raw `¶` in `bytes[start..]`. In JSON it can only be inside a string, where `\u00b6`
/// means the same.
pub(super) fn escape_frame(bytes: &mut Vec<u8>, start: usize) {
    if find_end(bytes, start).is_none() {
        return;
    }
    let frame = bytes.split_off(start);
    let mut from = 0;
    while let Some(at) = find_end(&frame, from) {
        bytes.extend_from_slice(frame.get(from..at).unwrap_or_default());
        bytes.extend_from_slice(b"\\u00b6");
        from = at + FRAME_END.len();
    }
    bytes.extend_from_slice(frame.get(from..).unwrap_or_default());
}

/// A queue of owned bytes and shared frames.
///
/// A queue rarely has more than one block, so the first one is stored inline and most connections
/// need no further memory.
///
/// Invariant: `sent` is less than the length of the first block, and zero if there is none;
/// no block is empty; without a first block there are no others.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    first: Option<Block>,
    others: VecDeque<Block>,
    sent: usize,
    /// Unwritten bytes, shared frames included.
    pub(super) unsent_bytes: usize,
    /// Unwritten bytes without shared frames.
    pub(super) unsent_owned_bytes: usize,
}

#[derive(Debug)]
enum Block {
    Owned(Vec<u8>),
    /// A frame, from this byte on.
    Shared(SharedFrame, usize),
}

impl Block {
    fn bytes(&self) -> &[u8] {
        match self {
            Block::Owned(bytes) => bytes,
            Block::Shared(frame, from) => frame.as_bytes().get(*from..).unwrap_or_default(),
        }
    }
}

/// Small frames share a block up to this size, since one `writev` takes few blocks.
const OWNED_BLOCK_BYTES: usize = 16 << 10;

/// Capacity that an empty queue keeps, so that a steady load allocates nothing.
const MAX_IDLE_BLOCKS: usize = 8;

impl WriteQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn push(&mut self, block: Block) {
        match self.first {
            None => self.first = Some(block),
            Some(_) => self.others.push_back(block),
        }
    }

    fn pop_first(&mut self) -> Option<Block> {
        let next = self.others.pop_front();
        if self.others.is_empty() && self.others.capacity() > MAX_IDLE_BLOCKS {
            self.others = VecDeque::new();
        }
        std::mem::replace(&mut self.first, next)
    }

    pub(crate) fn push_shared(&mut self, frame: &SharedFrame, from: usize) {
        let bytes = frame.as_bytes().len().saturating_sub(from);
        if bytes > 0 {
            self.push(Block::Shared(frame.clone(), from));
            self.unsent_bytes += bytes;
        }
    }

    /// Returns a buffer to append owned bytes to. Return it with [`WriteQueue::commit`], with its
    /// first bytes unchanged.
    pub(crate) fn take_last(&mut self, pool: &mut BufferPool) -> Vec<u8> {
        let last = self.others.pop_back().or_else(|| self.first.take());
        match last {
            Some(Block::Owned(bytes)) if bytes.len() < OWNED_BLOCK_BYTES => bytes,
            Some(other) => {
                self.push(other);
                pool.take()
            }
            None => pool.take(),
        }
    }

    /// Puts back the buffer of [`WriteQueue::take_last`], with `added` more bytes at its end.
    pub(crate) fn commit(&mut self, bytes: Vec<u8>, added: usize, pool: &mut BufferPool) {
        if bytes.is_empty() {
            pool.give(bytes);
            return;
        }
        self.push(Block::Owned(bytes));
        self.unsent_bytes += added;
        self.unsent_owned_bytes += added;
    }

    /// Fills `slices` with at most `at_most` bytes to write. Returns the number of slices used.
    pub(crate) fn fill<'q>(&'q self, slices: &mut [IoSlice<'q>], at_most: usize) -> usize {
        let (mut used, mut skip, mut left) = (0, self.sent, at_most);
        let blocks = self.first.iter().chain(&self.others);
        for (slice, block) in slices.iter_mut().zip(blocks) {
            if left == 0 {
                break;
            }
            let bytes = block.bytes().get(skip..).unwrap_or_default();
            let bytes = bytes.get(..left).unwrap_or(bytes);
            *slice = IoSlice::new(bytes);
            left -= bytes.len();
            skip = 0;
            used += 1;
        }
        used
    }

    /// Removes the first `written` bytes.
    pub(crate) fn advance(&mut self, written: usize, pool: &mut BufferPool) {
        debug_assert!(written <= self.unsent_bytes);
        self.unsent_bytes -= written;
        let mut left = written;
        while let Some(block) = &self.first {
            let here = block.bytes().len() - self.sent;
            let gone = here.min(left);
            if let Block::Owned(_) = block {
                self.unsent_owned_bytes -= gone;
            }
            left -= gone;
            if gone < here {
                self.sent += gone;
                return;
            }
            self.sent = 0;
            if let Some(Block::Owned(bytes)) = self.pop_first() {
                pool.give(bytes);
            }
        }
    }

    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        self.advance(self.unsent_bytes, pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        end_frame(&mut bytes, 0);
        bytes
    }

    #[test]
    fn never_ends_an_empty_frame() {
        assert_eq!(end(b""), b"");
    }

    #[test]
    fn escapes_a_raw_end_inside_a_frame() {
        assert_eq!(
            end("{\"a\":\"¶\"}".as_bytes()),
            "{\"a\":\"\\u00b6\"}¶".as_bytes()
        );
        assert_eq!(end("¶¶x¶".as_bytes()), "\\u00b6\\u00b6x\\u00b6¶".as_bytes());
    }

    #[test]
    fn leaves_bytes_before_the_frame_unchanged() {
        let mut bytes = "first¶".as_bytes().to_vec();
        let start = bytes.len();
        bytes.extend_from_slice("se¶cond".as_bytes());
        end_frame(&mut bytes, start);
        assert_eq!(bytes, "first¶se\\u00b6cond¶".as_bytes());
    }

    proptest! {
        #[test]
        fn ends_no_frame_early_whatever_its_bytes(bytes: Vec<u8>, splits in 0..4usize) {
            let mut hostile = bytes;
            for _ in 0..splits {
                hostile.extend_from_slice(&FRAME_END);
                hostile.push(0xC2);
            }
            let ended = end(&hostile);
            if hostile.is_empty() {
                prop_assert!(ended.is_empty());
            } else {
                prop_assert_eq!(find_end(&ended, 0), Some(ended.len() - 2));
            }
        }

        #[test]
        fn writes_all_bytes_in_order_however_few_at_once(
            pushes in prop::collection::vec((any::<bool>(), 1..40_000usize), 1..20),
            steps in prop::collection::vec(1..30_000usize, 1..20),
        ) {
            let mut pool = BufferPool::default();
            let mut queue = WriteQueue::default();
            let mut expected = Vec::new();
            let mut written = Vec::new();
            let mut steps = steps.iter().cycle();
            for (index, (shared, len)) in pushes.iter().enumerate() {
                let fill = vec![b'a' + u8::try_from(index % 26).unwrap(); *len];
                if *shared {
                    let frame = SharedFrame::new(|bytes| bytes.extend_from_slice(&fill));
                    let from = len / 3;
                    queue.push_shared(&frame, from);
                    expected.extend_from_slice(&frame.as_bytes()[from..]);
                } else {
                    let mut last = queue.take_last(&mut pool);
                    last.extend_from_slice(&fill);
                    queue.commit(last, fill.len(), &mut pool);
                    expected.extend_from_slice(&fill);
                }
                write_some(&mut queue, *steps.next().unwrap(), &mut written, &mut pool);
            }
            while !queue.is_empty() {
                write_some(&mut queue, *steps.next().unwrap(), &mut written, &mut pool);
            }
            prop_assert_eq!(written, expected);
            prop_assert_eq!(queue.unsent_bytes, 0);
            prop_assert_eq!(queue.unsent_owned_bytes, 0);
        }
    }

    fn write_some(
        queue: &mut WriteQueue,
        at_most: usize,
        out: &mut Vec<u8>,
        pool: &mut BufferPool,
    ) {
        let mut slices = [IoSlice::new(&[]); 4];
        let used = queue.fill(&mut slices, 50_000);
        let bytes: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let n = bytes.len().min(at_most);
        out.extend_from_slice(&bytes[..n]);
        queue.advance(n, pool);
    }
}
