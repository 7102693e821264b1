//! Ends of frames in the bytes of a connection.

/// The bytes that end a frame.
pub const FRAME_END: &[u8] = "¶".as_bytes();

/// The received bytes of a connection, split into frames.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Start of the first frame that was not returned.
    start: usize,
    /// No frame ends between `start` and here.
    searched: usize,
}

impl Frames {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next whole frame without its end.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let Some(at) = memchr::memmem::find(&self.bytes[self.searched..], FRAME_END) else {
            // The last byte may be the first of an end.
            self.searched = self.bytes.len().saturating_sub(1).max(self.start);
            return None;
        };
        let end = self.searched + at;
        let frame = self.bytes[self.start..end].to_vec();
        self.start = end + FRAME_END.len();
        self.searched = self.start;
        Some(frame)
    }

    /// The bytes after the last frame that was returned.
    pub fn unfinished(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}
