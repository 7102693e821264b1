//! The requests that a peer without a session may not have read yet.
//!
//! Such peers crash on more than 64 KiB in one read. Since requests are read in order, a reply
//! proves that all earlier requests were read.

use std::collections::VecDeque;

/// The requests on one connection, by the keys of their calls.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Written requests that may be unread, with their lengths; the oldest first.
    unread: VecDeque<(u64, usize)>,
    unread_bytes: usize,
    /// Unwritten requests, the oldest first.
    waiting: VecDeque<u64>,
}

impl Window {
    /// Returns whether a request of this length may be written. A request longer than `limit` is
    /// written alone.
    pub(super) fn has_room(&self, bytes: usize, limit: usize) -> bool {
        self.unread.is_empty() || self.unread_bytes + bytes <= limit
    }

    pub(super) fn written(&mut self, key: u64, bytes: usize) {
        self.unread.push_back((key, bytes));
        self.unread_bytes += bytes;
    }

    /// Records a reply. Without a known key it counts as the reply to the oldest request.
    pub(super) fn replied(&mut self, key: Option<u64>) {
        let place = self
            .unread
            .iter()
            .position(|(other, _)| Some(*other) == key);
        let read = place.unwrap_or(0) + 1;
        for (_, bytes) in self.unread.drain(..read.min(self.unread.len())) {
            self.unread_bytes -= bytes;
        }
    }

    pub(super) fn wait(&mut self, key: u64) {
        self.waiting.push_back(key);
    }

    /// Returns the key of the next request to write.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.front().copied()
    }

    /// Removes a waiting request.
    pub(super) fn leave(&mut self, key: u64) {
        if let Some(place) = self.waiting.iter().position(|other| *other == key) {
            self.waiting.remove(place);
        }
    }

    /// Removes all requests, after the connection ended.
    pub(super) fn clear(&mut self) {
        self.unread.clear();
        self.unread_bytes = 0;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frees_room_up_to_the_request_that_was_replied_to() {
        let mut window = Window::default();
        for key in 0..4 {
            assert!(window.has_room(10, 40));
            window.written(key, 10);
        }
        assert!(!window.has_room(1, 40));
        window.replied(Some(2));
        assert!(window.has_room(30, 40) && !window.has_room(31, 40));
        // A late or unknown reply: the peer has read something.
        window.replied(Some(1));
        assert!(window.has_room(1000, 40));
        window.replied(None);
        assert!(window.has_room(1000, 40));
    }

    #[test]
    fn writes_a_request_beyond_the_limit_alone() {
        let mut window = Window::default();
        assert!(window.has_room(100, 40));
        window.written(1, 100);
        assert!(!window.has_room(0, 40));
    }
}
