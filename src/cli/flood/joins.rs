//! Joins of a run, and when each watcher heard of each.

use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frames::{Frame, Kind};
use super::record::Times;

#[derive(Debug)]
struct Joiner {
    /// When it joins by the schedule. A delay after that counts, whatever causes it.
    due: Instant,
    has_heard: Vec<bool>,
    heard: usize,
}

#[derive(Default, Debug)]
pub(crate) struct Joins {
    joiners: Vec<Joiner>,
    /// How many watchers are to hear of each.
    pub(crate) watchers: usize,
    pub(crate) complete: usize,
    pub(crate) to_each: Times,
    /// When a join was due, and its time to the last watcher.
    pub(crate) to_last: Vec<(Instant, Duration)>,
    /// A frame about one join alone with the joiner's number, and one about leaving alone. If
    /// possible without a request for acknowledgement, as most are.
    pub(crate) joined_frame: Option<(Rc<Frame>, usize)>,
    pub(crate) left_frame: Option<Rc<Frame>>,
}

impl Joins {
    pub(crate) fn len(&self) -> usize {
        self.joiners.len()
    }

    pub(crate) fn add(&mut self, members: usize) -> usize {
        self.joiners.push(Joiner {
            due: Instant::now(),
            has_heard: vec![false; members],
            heard: 0,
        });
        self.joiners.len() - 1
    }

    pub(crate) fn begin(&mut self, number: usize, due: Instant) {
        if let Some(joiner) = self.joiners.get_mut(number) {
            joiner.due = due;
        }
    }

    pub(crate) fn is_complete(&self, number: usize) -> bool {
        let joiner = self.joiners.get(number);
        joiner.is_some_and(|joiner| joiner.heard >= self.watchers)
    }

    pub(crate) fn forget_times(&mut self) {
        self.to_each = Times::default();
        self.to_last.clear();
    }

    pub(crate) fn record(&mut self, watcher: usize, frame: &Rc<Frame>) {
        for number in &frame.joiners {
            let Some(joiner) = self.joiners.get_mut(*number) else {
                continue;
            };
            let has_heard = joiner.has_heard.get_mut(watcher);
            if has_heard.is_none_or(|has_heard| mem::replace(has_heard, true)) {
                continue;
            }
            joiner.heard += 1;
            let time = joiner.due.elapsed();
            self.to_each.record(time);
            if joiner.heard == self.watchers {
                self.complete += 1;
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

    fn frame(joiners: &[usize], has_left: bool, wants_ack: bool) -> Rc<Frame> {
        Rc::new(Frame {
            kind: Kind::Delta { from: 0 },
            joiners: joiners.to_vec(),
            has_left,
            wants_ack,
            ..Frame::default()
        })
    }

    #[test]
    fn keeps_a_frame_with_acknowledgement_only_if_all_have_it() {
        let mut joins = Joins::default();
        for (number, wants_ack, kept) in [(0, true, 0), (1, false, 1), (0, true, 1)] {
            joins.record(0, &frame(&[number], false, wants_ack));
            assert_eq!(joins.joined_frame.as_ref().unwrap().1, kept);
        }
    }
}
