//! Tags of the timers of a node.

/// Purpose of a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    /// The connection to the Distributor.
    Link,
    /// Events and results that wait for the end of a turn.
    Events,
    /// The deadline of the call with this key.
    Call(u64),
    /// The end of a [`Context::wait_for`](super::Context::wait_for).
    Wait(u64),
    /// Peers that were called by their address.
    Kept,
    /// The deadline of the task with this key.
    Task(u64),
    /// The end of the sleep with this key.
    Sleep(u64),
}

const TAG_BITS: u32 = 3;

impl Tag {
    pub(super) fn pack(self) -> u64 {
        match self {
            Tag::Link => 0,
            Tag::Events => 1,
            Tag::Call(key) => key << TAG_BITS | 2,
            Tag::Wait(number) => number << TAG_BITS | 3,
            Tag::Kept => 4,
            Tag::Task(key) => key << TAG_BITS | 5,
            Tag::Sleep(key) => key << TAG_BITS | 6,
        }
    }

    pub(super) fn unpack(tag: u64) -> Option<Tag> {
        let number = tag >> TAG_BITS;
        Some(match tag & ((1 << TAG_BITS) - 1) {
            0 => Tag::Link,
            1 => Tag::Events,
            2 => Tag::Call(number),
            3 => Tag::Wait(number),
            4 => Tag::Kept,
            5 => Tag::Task(number),
            6 => Tag::Sleep(number),
            _ => return None,
        })
    }
}
