//! The joins of a round, and the time that each takes to reach each watcher.

use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frames::{Frame, Kind};
use super::record::Times;

#[derive(Debug)]
struct Joiner {
    /// Scheduled time of the join. Any later delay counts.
    due: Instant,
    /// For each watcher, true if the join has reached it.
    has_reached: Vec<bool>,
    reached: usize,
    /// Number of watchers that it must reach to be complete.
    concerned: usize,
}

#[derive(Default, Debug)]
pub(crate) struct Joins {
    joiners: Vec<Joiner>,
    /// Number of watchers, all of which a join concerns unless they subscribe to services.
    pub(crate) watchers: usize,
    pub(crate) to_each: Times,
    /// Scheduled time of each complete join, and its time to the last watcher.
    pub(crate) to_last: Vec<(Instant, Duration)>,
    /// A frame with a single join, and the number of its joiner. Preferably one that requests no
    /// acknowledgement, like most frames.
    pub(crate) joined_frame: Option<(Rc<Frame>, usize)>,
    /// A frame with a single leave, chosen in the same way.
    pub(crate) left_frame: Option<Rc<Frame>>,
}

impl Joins {
    pub(crate) fn len(&self) -> usize {
        self.joiners.len()
    }

    /// Returns the number of watchers that a join concerns.
    pub(crate) fn concerned(&self, number: usize) -> usize {
        let joiner = self.joiners.get(number);
        joiner.map_or(0, |joiner| joiner.concerned)
    }

    /// Adds a join that concerns some watchers. Returns the number of the joiner.
    pub(crate) fn add(&mut self, members: usize, concerned: usize, due: Instant) -> usize {
        self.joiners.push(Joiner {
            due,
            has_reached: vec![false; members],
            reached: 0,
            concerned,
        });
        self.joiners.len() - 1
    }

    pub(crate) fn is_complete(&self, number: usize) -> bool {
        let joiner = self.joiners.get(number);
        joiner.is_some_and(|joiner| joiner.reached >= joiner.concerned)
    }

    pub(crate) fn clear_times(&mut self) {
        self.to_each = Times::default();
        self.to_last.clear();
    }

    /// Records an update that a watcher received.
    pub(crate) fn record(&mut self, watcher: usize, frame: &Rc<Frame>) {
        for number in &frame.joiners {
            let Some(joiner) = self.joiners.get_mut(*number) else {
                continue;
            };
            let has_reached = joiner.has_reached.get_mut(watcher);
            if has_reached.is_none_or(|has_reached| mem::replace(has_reached, true)) {
                continue;
            }
            joiner.reached += 1;
            let time = joiner.due.elapsed();
            self.to_each.record(time);
            if joiner.reached == joiner.concerned {
                self.to_last.push((joiner.due, time));
            }
        }
        let is_better = |has_one: bool| !has_one || !frame.wants_ack;
        match *frame.joiners {
            [number] if !frame.has_left && is_better(self.joined_frame.is_some()) => {
                self.joined_frame = Some((Rc::clone(frame), number));
            }
            [] if frame.kind != Kind::List && is_better(self.left_frame.is_some()) => {
                self.left_frame = Some(Rc::clone(frame));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_frame_with_acknowledgement_only_if_all_have_it() {
        let mut joins = Joins::default();
        for (number, wants_ack, kept) in [(0, true, 0), (1, false, 1), (0, true, 1)] {
            let frame = Frame {
                kind: Kind::Delta { from: 0 },
                joiners: vec![number],
                wants_ack,
                ..Frame::default()
            };
            joins.record(0, &Rc::new(frame));
            assert_eq!(joins.joined_frame.as_ref().unwrap().1, kept);
        }
    }
}
