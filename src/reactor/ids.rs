//! Ids of connections and listeners: a slot and its generation, so that a stale id is harmless.

/// Identifies a connection. After its end it identifies nothing.
///
/// A call with the id of a connection that is gone does nothing, and the reactor counts it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) fn new(slot: usize, generation: u32) -> ConnId {
        let slot = slot_number(slot);
        ConnId { slot, generation }
    }

    /// Returns the index of the slot. Slots are reused: tables indexed by it must compare the whole
    /// id too.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// Identifies a listener. After its end it identifies nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId {
    slot: u32,
    generation: u32,
}

impl ListenerId {
    pub(crate) fn new(slot: usize, generation: u32) -> ListenerId {
        let slot = slot_number(slot);
        ListenerId { slot, generation }
    }

    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The handler that made a listener, connection or timer, where several share one reactor.
///
/// [`Net::new_owner`](super::Net::new_owner) allocates one. The reactor only carries it: accepted
/// connections inherit their listener's, and [`Net::owner`](super::Net::owner) says in a callback
/// whose it is. The default is the owner of a handler that has allocated none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Owner(pub(super) u32);

impl Owner {
    /// Owners are numbered from 0, so that tables can be indexed by them.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a socket is registered under at the system, which returns it with each event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token {
    Connection(ConnId),
    Listener(ListenerId),
}

const LISTENER_BIT: u32 = 1 << 31;

/// No process has the memory for a slab that this does not fit.
fn slot_number(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX) & !LISTENER_BIT
}

impl Token {
    pub(crate) fn pack(self) -> u64 {
        let (slot, generation) = match self {
            Token::Connection(id) => (id.slot, id.generation),
            Token::Listener(id) => (id.slot | LISTENER_BIT, id.generation),
        };
        u64::from(generation) << 32 | u64::from(slot)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "takes the two halves apart"
    )]
    pub(crate) fn unpack(packed: u64) -> Token {
        let (slot, generation) = (packed as u32, (packed >> 32) as u32);
        if slot & LISTENER_BIT == 0 {
            Token::Connection(ConnId { slot, generation })
        } else {
            Token::Listener(ListenerId {
                slot: slot & !LISTENER_BIT,
                generation,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_packing() {
        for (slot, generation) in [(0, 0), (1, u32::MAX), ((1 << 31) - 1, 7)] {
            for token in [
                Token::Connection(ConnId::new(slot, generation)),
                Token::Listener(ListenerId::new(slot, generation)),
            ] {
                assert_eq!(Token::unpack(token.pack()), token);
            }
        }
    }
}
