//! A table of values by connection.

use super::ids::ConnId;

/// A map from connections to values, indexed by slot: without hashing, and in a fixed order.
#[derive(Debug)]
pub(crate) struct ConnMap<T> {
    slots: Vec<Option<(ConnId, T)>>,
    len: usize,
}

impl<T> Default for ConnMap<T> {
    fn default() -> ConnMap<T> {
        ConnMap {
            slots: Vec::new(),
            len: 0,
        }
    }
}

impl<T> ConnMap<T> {
    /// Returns the number of connections in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Inserts a value. Replaces the value of an earlier connection with the same slot.
    pub(crate) fn insert(&mut self, conn: ConnId, value: T) {
        let slot = conn.slot();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            self.len += usize::from(place.is_none());
            *place = Some((conn, value));
        }
    }

    /// Returns the value of a connection.
    pub(crate) fn get(&self, conn: ConnId) -> Option<&T> {
        let (id, value) = self.slots.get(conn.slot())?.as_ref()?;
        (*id == conn).then_some(value)
    }

    /// Returns the value of a connection, mutably.
    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        let (id, value) = self.at_slot(conn.slot())?;
        (id == conn).then_some(value)
    }

    /// Returns the connection that currently has this slot, and its value.
    pub(crate) fn at_slot(&mut self, slot: usize) -> Option<(ConnId, &mut T)> {
        let (id, value) = self.slots.get_mut(slot)?.as_mut()?;
        Some((*id, value))
    }

    /// Removes and returns the value of a connection.
    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<T> {
        let place = self.slots.get_mut(conn.slot())?;
        let (_, value) = place.take_if(|(id, _)| *id == conn)?;
        self.len -= 1;
        Some(value)
    }

    /// Returns all connections and values, in the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().flatten().map(|(id, value)| (*id, value))
    }

    /// Returns all connections and values, in the order of the slots.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.slots
            .iter_mut()
            .flatten()
            .map(|(id, value)| (*id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_stale_ids() {
        let (old, new) = (ConnId::new(3, 1), ConnId::new(3, 2));
        let mut map = ConnMap::default();
        map.insert(old, "old");
        assert_eq!(map.get(new), None);
        map.insert(new, "new");
        assert_eq!(
            (map.get(old), map.get(new), map.len()),
            (None, Some(&"new"), 1)
        );
        assert_eq!(map.at_slot(3), Some((new, &mut "new")));
        assert_eq!(map.at_slot(2), None);
        assert_eq!(
            (map.remove(old), map.remove(new), map.len()),
            (None, Some("new"), 0)
        );
    }
}
