//! Ids of connections and listeners: a slot and its generation, so that a stale id is harmless.

/// Identifies one connection. Later connections have other ids.
///
/// Calls with the id of a closed connection have no effect, and are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(slot: usize, generation: u32) -> ConnId {
        // Memory runs out before a slab has more slots than this.
        let slot = u32::try_from(slot).unwrap_or(u32::MAX) & !LISTENER_SLOT;
        ConnId { slot, generation }
    }

    /// Returns the index of the slot. Slots are reused: tables indexed by it must compare the whole
    /// id too.
    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Identifies a listener. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(pub(super) u32);

/// Identifies the handler that created a listener, connection or timer, if several share a reactor.
///
/// [`Net::new_owner`](super::Net::new_owner) allocates one, and [`Net::owner`](super::Net::owner)
/// returns the owner of the current callback. Accepted connections inherit the owner of their
/// listener. The default is the owner of handlers that have allocated none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Owner(pub(super) u32);

impl Owner {
    /// Owners are numbered from 0, so that tables can be indexed by them.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Identifies a socket to the system, which returns it with each event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    Connection(ConnId),
    Listener(ListenerId),
}

/// The slot in tokens of listeners. No connection has it: see [`ConnId::new`].
const LISTENER_SLOT: u32 = 1 << 31;

impl Token {
    pub(crate) fn pack(self) -> u64 {
        let (slot, number) = match self {
            Token::Connection(id) => (id.slot, id.generation),
            Token::Listener(ListenerId(number)) => (LISTENER_SLOT, number),
        };
        u64::from(number) << 32 | u64::from(slot)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "takes the two halves apart"
    )]
    pub(crate) fn unpack(packed: u64) -> Token {
        let (slot, generation) = (packed as u32, (packed >> 32) as u32);
        if slot == LISTENER_SLOT {
            Token::Listener(ListenerId(generation))
        } else {
            Token::Connection(ConnId { slot, generation })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_each_token_that_was_packed() {
        for (slot, generation) in [(0, 0), (1, u32::MAX), ((1 << 31) - 1, 7)] {
            for token in [
                Token::Connection(ConnId::new(slot, generation)),
                Token::Listener(ListenerId(generation)),
            ] {
                assert_eq!(Token::unpack(token.pack()), token);
            }
        }
    }
}
