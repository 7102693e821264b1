//! Spare buffers, so that a steady load allocates nothing.

/// A pool of byte buffers, bounded in number and in bytes.
#[derive(Debug, Default)]
pub struct BufferPool {
    pub(super) spare: Vec<Vec<u8>>,
    /// Total capacity of the spare buffers.
    pub(super) spare_bytes: usize,
}

/// Maximum number of spare buffers: a turn can write to this many connections before any of their
/// buffers is returned.
const MAX_SPARE_BUFFERS: usize = 1024;
/// Maximum memory that an idle process keeps.
const MAX_SPARE_BYTES: usize = 4 << 20;
/// Maximum capacity of a buffer that is kept: larger ones are needed rarely. The longest frame that
/// a Distributor accepts fits, as buffers grow to at most twice the needed capacity.
const MAX_BUFFER_BYTES: usize = 128 << 10;

impl BufferPool {
    /// Returns an empty buffer, of any capacity.
    pub fn take(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_default();
        self.spare_bytes -= buffer.capacity();
        buffer
    }

    /// Keeps `buffer` for a later [`BufferPool::take`], or frees it if the pool is full.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        if bytes == 0
            || bytes > MAX_BUFFER_BYTES
            || self.spare.len() >= MAX_SPARE_BUFFERS
            || self.spare_bytes + bytes > MAX_SPARE_BYTES
        {
            return;
        }
        buffer.clear();
        self.spare_bytes += bytes;
        self.spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_given_buffers_empty() {
        let mut pool = BufferPool::default();
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"used");
        let capacity = buffer.capacity();
        pool.give(buffer);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.capacity(), capacity);
        assert_eq!(pool.spare_bytes, 0);
    }

    #[test]
    fn limits_the_number_and_bytes_of_spare_buffers() {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(MAX_BUFFER_BYTES + 1));
        assert!(pool.spare.is_empty());
        for _ in 0..2 * MAX_SPARE_BUFFERS {
            pool.give(Vec::with_capacity(16));
        }
        assert_eq!(pool.spare.len(), MAX_SPARE_BUFFERS);
        let mut pool = BufferPool::default();
        for _ in 0..200 {
            pool.give(Vec::with_capacity(MAX_BUFFER_BYTES));
        }
        assert!(pool.spare_bytes <= MAX_SPARE_BYTES);
    }
}
