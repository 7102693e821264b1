//! Why an entry left, by evidence.

use std::fmt;

/// Why an entry left the registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its connection was closed, by either side.
    Closed,
    /// It asked to leave, and stayed connected.
    Drained,
    /// Nothing was heard of it for too long.
    Silent,
    /// A newer connection of the same node took its place.
    Superseded,
    /// It was known from an earlier run and did not come back.
    Absent,
}

impl Cause {
    pub(super) const ALL: [Cause; 5] = [
        Cause::Closed,
        Cause::Drained,
        Cause::Silent,
        Cause::Superseded,
        Cause::Absent,
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Returns the word for it on the wire and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Closed => "closed",
            Cause::Drained => "drained",
            Cause::Silent => "silent",
            Cause::Superseded => "superseded",
            Cause::Absent => "absent",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_counted_in_its_own_place() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), index);
        }
    }
}
