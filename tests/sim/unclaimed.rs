//! Entries without a connection as they should be: what was kept of the last run, and who may have it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::ProcessId;

use crate::model::Model;
use crate::run::{Doubt, Entry, Run, Saved};

/// Those of the last run have this long to come back.
const WARM_UP: Duration = Duration::from_secs(10);

/// What a registration that has no entry yet gets.
pub enum Claimed {
    /// A new entry.
    Nothing,
    /// The place of this one.
    Entry(u64),
    /// Nothing: another host's.
    Refused,
}

impl Run {
    /// What is to be kept.
    pub fn save(&mut self) -> Saved {
        self.saved_lists = self.lists.len();
        Saved {
            entries: self.entries.clone(),
            is_ordered: !self.has_doubted,
        }
    }

    /// Begins with what was kept of another run. `local` is what the process takes for now.
    pub fn restore(&mut self, saved: Saved, now: Time, local: Time) {
        self.restored_at = Some(local);
        self.has_doubted = !saved.is_ordered;
        for kept in saved.entries {
            let doubt = kept.doubt.map(|_| Doubt { since: now });
            self.has_doubted |= doubt.is_some();
            self.entries_drawn += 1;
            self.entries.push(Entry {
                number: self.entries_drawn,
                is_unclaimed: doubt.is_none(),
                doubt,
                ..kept
            });
        }
        self.note_list(now);
    }

    /// The unclaimed entry that this registration claims. What is in doubt may be there or not: it is put
    /// out of the way of who would claim it.
    pub fn claim(
        &mut self,
        text: &str,
        instance: Option<&String>,
        host: IpAddr,
        was_taken: bool,
    ) -> Claimed {
        let is_held = |entry: &&Entry| entry.is_unclaimed || entry.doubt.is_some();
        let held = || self.entries.iter().filter(is_held);
        let is_own = |entry: &&Entry| instance.is_some() && entry.instance.as_ref() == instance;
        let certain = held().filter(is_own).find(|entry| entry.is_unclaimed);
        if let Some(entry) = certain.or_else(|| held().find(is_own)) {
            let (number, is_certain) = (entry.number, entry.is_unclaimed);
            return match entry.host == Some(host) {
                true => self.take(number, is_certain),
                false if is_certain || !was_taken => Claimed::Refused,
                // Then it was not held any more.
                false => self.take(number, false),
            };
        }
        let mut same = held().filter(|entry| *entry.text == *text);
        // Who claims one of two that are the same changes the list as who claims the other.
        let certain = same.clone().find(|entry| entry.is_unclaimed);
        match certain.or_else(|| same.next()) {
            Some(entry) => {
                let (number, is_certain) = (entry.number, entry.is_unclaimed);
                self.take(number, is_certain)
            }
            None => Claimed::Nothing,
        }
    }

    fn take(&mut self, number: u64, is_certain: bool) -> Claimed {
        if is_certain {
            return Claimed::Entry(number);
        }
        self.entries.retain(|entry| entry.number != number);
        Claimed::Nothing
    }

    pub fn unclaimed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_unclaimed)
    }

    /// Whether an entry of this text has left because nobody came back for it, for all that is known.
    pub fn may_be_absent(&self, text: &str) -> bool {
        self.absent.iter().any(|absent| **absent == *text) || self.has_doubted
    }

    /// For how long it should have known everybody, by the clock of its process.
    pub fn waits_too_long(&self, local: Time, undisturbed: Duration) -> bool {
        let Some(restored_at) = self.restored_at else {
            return false;
        };
        let waited = local.saturating_since(restored_at).min(undisturbed);
        self.unclaimed().next().is_some() && waited > WARM_UP + Duration::from_secs(2)
    }
}

impl Model {
    /// A Distributor let so many go because they are not back.
    pub fn let_absent_go(&mut self, process: ProcessId, count: u64, local: Time) {
        let run = self.run_of(process);
        let unclaimed: Vec<Rc<str>> = run
            .unclaimed()
            .map(|entry| Rc::clone(&entry.text))
            .collect();
        let doubtful = run.entries.iter().filter(|entry| entry.doubt.is_some());
        let most = unclaimed.len() + doubtful.count();
        let waited = run.restored_at.map(|at| local.saturating_since(at));
        run.entries.retain(|entry| !entry.is_unclaimed);
        run.absent.extend(unclaimed.iter().cloned());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count < unclaimed.len() || count > most {
            let what = format!("{count} leave as absent, and {unclaimed:?} are not back");
            self.break_promise(3, what);
        }
        if waited.is_none_or(|waited| waited < WARM_UP) {
            let what = format!("{unclaimed:?} leave as absent after {waited:?}");
            self.break_promise(5, what);
        }
    }
}
