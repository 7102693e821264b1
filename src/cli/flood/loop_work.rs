//! Time that the loop of a spawned server spends, by kind of work. The server prints it on request,
//! so that nothing else than its load is measured: an HTTP API would record more.

use std::io::{self, BufRead};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bare::print_line;
use super::record::Merge::Most;
use super::record::Record;
use crate::reactor::Counters;

/// Times since the server was started, except for the longest turn.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub(crate) struct LoopWork {
    /// Longest turn since this was last requested.
    longest_turn: Duration,
    in_turns: Duration,
    writing: Duration,
    elapsed: Duration,
}

impl LoopWork {
    /// Records the work of a server after `before`.
    pub(crate) fn record_since(self, before: LoopWork, record: &mut Record) {
        let elapsed = self.elapsed.saturating_sub(before.elapsed).as_secs_f64();
        let turns = self.in_turns.saturating_sub(before.in_turns).as_secs_f64();
        let writing = self.writing.saturating_sub(before.writing).as_secs_f64();
        record.time("longest turn of the server", Most, Some(self.longest_turn));
        for (kind, time) in [
            ("time of the server's loop: writing", writing),
            ("time of the server's loop: other work", turns - writing),
            ("time of the server's loop: waiting", elapsed - turns),
        ] {
            record.share(kind, (time / elapsed).max(0.0));
        }
    }
}

/// Collects the times of a loop, for another thread that prints them.
#[derive(Clone, Default)]
pub(crate) struct LoopClock(Arc<Nanos>);

#[derive(Default)]
struct Nanos {
    longest_turn: AtomicU64,
    in_turns: AtomicU64,
    writing: AtomicU64,
}

impl LoopClock {
    /// Records a turn.
    pub(crate) fn turned(&self, counters: &Counters) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let in_turns = nanos(counters.turn_time);
        let before = self.0.in_turns.swap(in_turns, Ordering::Relaxed);
        let longest_turn = &self.0.longest_turn;
        longest_turn.fetch_max(in_turns.saturating_sub(before), Ordering::Relaxed);
        let writing = nanos(counters.flush_time);
        self.0.writing.store(writing, Ordering::Relaxed);
    }

    /// Prints the times for each line of standard input, and ends the process when that ends.
    pub(crate) fn print_on_request(self) {
        let start = Instant::now();
        thread::spawn(move || {
            for _ in io::stdin().lock().lines().map_while(Result::ok) {
                let load = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
                let longest_turn = self.0.longest_turn.swap(0, Ordering::Relaxed);
                let work = LoopWork {
                    longest_turn: Duration::from_nanos(longest_turn),
                    in_turns: load(&self.0.in_turns),
                    writing: load(&self.0.writing),
                    elapsed: start.elapsed(),
                };
                let text = serde_json::to_string(&work).unwrap_or_default();
                if print_line(&text).is_err() {
                    break;
                }
            }
            process::exit(0);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_longest_turn() {
        let clock = LoopClock::default();
        let mut counters = Counters::default();
        for millis in [3, 9, 2] {
            counters.turn_time += Duration::from_millis(millis);
            clock.turned(&counters);
        }
        let longest = clock.0.longest_turn.load(Ordering::Relaxed);
        assert_eq!(longest, 9_000_000);
    }
}
