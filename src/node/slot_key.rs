//! Keys of slots that are reused.

/// Identifies an entry of a slab, never a later one in the same slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SlotKey {
    pub(super) slot: usize,
    pub(super) generation: u32,
}

/// Number of low bits of a packed key that hold the slot. With the generation it has 61 bits, as
/// many as the number in a [`Tag`](super::tag::Tag).
const SLOT_BITS: u32 = 29;

impl SlotKey {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.generation) << SLOT_BITS | self.slot as u64
    }

    pub(super) fn unpack(packed: u64) -> Option<SlotKey> {
        Some(SlotKey {
            slot: usize::try_from(packed & ((1 << SLOT_BITS) - 1)).ok()?,
            generation: u32::try_from(packed >> SLOT_BITS).ok()?,
        })
    }
}
