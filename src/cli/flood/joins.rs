//! Joiners, and when each watcher was told of each.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::reactor::ConnId;

use crate::cli::flood::report::{Times, record, times};
use crate::cli::flood::view::{Known, News};

#[derive(Debug)]
struct Joiner {
    /// When it was to join by the schedule: what it waits after that is the server's fault, or
    /// this program's, but not to be left out.
    due: Instant,
    conn: Option<ConnId>,
    told: BitSet,
}

/// All joins of a run so far.
#[derive(Debug)]
pub(crate) struct Joins {
    joiners: Vec<Joiner>,
    /// How many watchers are to be told of each.
    pub(crate) watchers: usize,
    /// How many joins everybody was told of.
    pub(crate) complete: usize,
    /// From joining to each watcher, and to the last one.
    pub(crate) to_each: Times,
    pub(crate) to_last: Times,
    /// When a join was due, and how long it took to the last watcher.
    pub(crate) time_line: Vec<(Instant, Duration)>,
    /// What told of one joiner alone, and its number; what told of leaving alone. If possible one
    /// that does not want to be acknowledged, as most don't.
    pub(crate) joined_frame: Option<(Rc<Known>, usize)>,
    pub(crate) left_frame: Option<Rc<Known>>,
}

impl Default for Joins {
    fn default() -> Joins {
        Joins {
            joiners: Vec::new(),
            watchers: 0,
            complete: 0,
            to_each: times(),
            to_last: times(),
            time_line: Vec::new(),
            joined_frame: None,
            left_frame: None,
        }
    }
}

impl Joins {
    pub(crate) fn added(&self) -> usize {
        self.joiners.len()
    }

    /// One more, with the number that is returned.
    pub(crate) fn add(&mut self) -> usize {
        self.joiners.push(Joiner {
            due: Instant::now(),
            conn: None,
            told: BitSet::default(),
        });
        self.joiners.len() - 1
    }

    /// It joins now, on the connection that is returned.
    pub(crate) fn begin(&mut self, number: usize, due: Instant) -> Option<ConnId> {
        let joiner = self.joiners.get_mut(number)?;
        joiner.due = due;
        joiner.conn
    }

    pub(crate) fn set_connection(&mut self, number: usize, conn: ConnId) {
        if let Some(joiner) = self.joiners.get_mut(number) {
            joiner.conn = Some(conn);
        }
    }

    pub(crate) fn take_connection(&mut self, number: usize) -> Option<ConnId> {
        self.joiners.get_mut(number)?.conn.take()
    }

    pub(crate) fn is_complete(&self, number: usize) -> bool {
        let joiner = self.joiners.get(number);
        joiner.is_some_and(|joiner| joiner.told.len >= self.watchers)
    }

    /// Forgets the times so far, and keeps who was told.
    pub(crate) fn forget_times(&mut self) {
        self.to_each.reset();
        self.to_last.reset();
        self.time_line.clear();
    }

    /// A watcher was told this.
    pub(crate) fn told(&mut self, watcher: usize, known: &Rc<Known>) {
        for number in &known.joiners {
            let Some(joiner) = self.joiners.get_mut(*number) else {
                continue;
            };
            if !joiner.told.insert(watcher) {
                continue;
            }
            let time = joiner.due.elapsed();
            record(&mut self.to_each, time);
            if joiner.told.len == self.watchers {
                self.complete += 1;
                record(&mut self.to_last, time);
                self.time_line.push((joiner.due, time));
            }
        }
        let is_better =
            |other: Option<&Rc<Known>>| other.is_none_or(|other| other.ack && !known.ack);
        let joined = self.joined_frame.as_ref().map(|(joined, _)| joined);
        match &*known.joiners {
            [number] if !known.tells_of_leaving && is_better(joined) => {
                self.joined_frame = Some((Rc::clone(known), *number));
            }
            [] if known.news != News::List && is_better(self.left_frame.as_ref()) => {
                self.left_frame = Some(Rc::clone(known));
            }
            _ => {}
        }
    }
}

#[derive(Default, Debug)]
struct BitSet {
    words: Vec<u64>,
    len: usize,
}

impl BitSet {
    /// `false` if it was there already.
    fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        self.len += usize::from(is_new);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(joiners: &[usize], tells_of_leaving: bool) -> Rc<Known> {
        Rc::new(Known {
            frame: Vec::new(),
            news: News::Delta { from: 0 },
            rev: None,
            ack: false,
            watchers: None,
            joiners: joiners.to_vec(),
            tells_of_leaving,
        })
    }

    #[test]
    fn a_join_is_complete_when_each_watcher_was_told_once() {
        let mut joins = Joins {
            watchers: 2,
            ..Joins::default()
        };
        let number = joins.add();
        joins.told(70, &known(&[number], false));
        joins.told(70, &known(&[number], true));
        assert!(!joins.is_complete(number));
        joins.told(3, &known(&[number, 99], false));
        assert!(joins.is_complete(number));
        assert_eq!((joins.to_each.len(), joins.to_last.len()), (2, 1));
        assert_eq!((joins.complete, joins.time_line.len()), (1, 1));
        assert_eq!(joins.joined_frame.as_ref().unwrap().1, number);
        assert!(joins.left_frame.is_none());
        joins.told(3, &known(&[], true));
        assert!(joins.left_frame.is_some());
    }

    #[test]
    fn where_every_change_is_to_be_acknowledged_one_of_those_is_kept() {
        let mut joins = Joins {
            watchers: 1,
            ..Joins::default()
        };
        let (first, second) = (joins.add(), joins.add());
        let with_ack = |number| {
            let mut known = known(&[number], false);
            Rc::get_mut(&mut known).unwrap().ack = true;
            known
        };
        joins.told(0, &with_ack(first));
        assert_eq!(joins.joined_frame.as_ref().unwrap().1, first);
        joins.told(0, &known(&[second], false));
        joins.told(0, &with_ack(first));
        assert_eq!(joins.joined_frame.as_ref().unwrap().1, second);
    }
}
