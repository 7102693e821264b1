//! The model of entries without a connection: those of the last run, and which registration claims
//! each.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::ProcessId;

use crate::model::Model;
use crate::run::{Doubt, Entry, Run, Saved};

/// Time that the nodes of the last run have to reconnect.
const WARM_UP: Duration = Duration::from_secs(10);

/// Entry that a registration claims.
pub enum Claimed {
    /// Nothing: it gets a new entry.
    Nothing,
    /// The place of this entry.
    Entry(u64),
    /// Nothing: the entry belongs to another host.
    Refused,
}

impl Run {
    /// Returns the model of a snapshot that is taken now.
    pub fn save(&mut self) -> Saved {
        self.saved_lists = self.lists.len();
        Saved {
            entries: self.entries.clone(),
            is_ordered: !self.has_doubted,
        }
    }

    /// Restores the entries of another run. `local` is the time by the clock of the process.
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

    /// Returns the entry that this registration claims. An entry in doubt may be there or not, so
    /// it is removed and the registration gets a new one.
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
                // Then it was not suspect any more.
                false => self.take(number, false),
            };
        }
        let mut same = held().filter(|entry| *entry.text == *text);
        // It does not matter which of two equal entries is claimed.
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

    /// Returns whether an entry with this text may have left as absent.
    pub fn may_be_absent(&self, text: &str) -> bool {
        self.absent.iter().any(|absent| **absent == *text) || self.has_doubted
    }

    /// Returns whether entries are unclaimed after the warm-up, by the clock of the process.
    pub fn waits_too_long(&self, local: Time, undisturbed: Duration) -> bool {
        let Some(restored_at) = self.restored_at else {
            return false;
        };
        let waited = local.saturating_since(restored_at).min(undisturbed);
        self.unclaimed().next().is_some() && waited > WARM_UP + Duration::from_secs(2)
    }
}

impl Model {
    /// Records and checks the removal of this many absent entries.
    pub fn absent_removed(&mut self, process: ProcessId, count: u64, local: Time) {
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
            let what = format!("{count} entries left as absent, and {unclaimed:?} are unclaimed");
            self.break_promise(3, what);
        }
        if waited.is_none_or(|waited| waited < WARM_UP) {
            let what = format!("{unclaimed:?} left as absent after {waited:?}");
            self.break_promise(5, what);
        }
    }
}
