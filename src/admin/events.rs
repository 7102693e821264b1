//! Event streams. Each follower has a place in the ring of events, and receives later events once
//! it has read the earlier ones.

use std::time::Duration;

use super::context::Context;
use super::event_json::EventJson;
use crate::distributor::{Distributor, Journal};
use crate::http::{Event, EventStream};
use crate::reactor::TimerId;

/// The clients that follow events.
#[derive(Debug, Default)]
pub(super) struct Followers {
    all: Vec<Follower>,
    /// Place of the last follower that was served.
    next: usize,
    timer: Option<TimerId>,
}

#[derive(Debug)]
struct Follower {
    stream: EventStream,
    /// The last event that was sent to it.
    seen: u64,
}

/// Maximum number of followers that receive events in one turn: a write to a follower costs as much
/// as pushing a change to several nodes. With at most 20 followers, each receives events ten times
/// per second; with 600, every three seconds.
const MAX_AT_ONCE: usize = 20;
/// Pause after a turn in which followers received events.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause while a follower has not received all events. With a longer one it would not catch up.
const SHORT_PAUSE: Duration = Duration::from_millis(25);
/// The pause while all followers with outstanding events read too slowly.
const LONG_PAUSE: Duration = Duration::from_millis(200);
/// The approximate limit of bytes that a follower receives at once.
const MAX_BYTES_AT_ONCE: usize = 64 << 10;
/// The beginning of a stream: the time that its client waits before it reconnects.
const RETRY: &[u8] = b"retry: 2000\n";

impl Followers {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn remove(&mut self, stream: EventStream) {
        self.all.retain(|follower| follower.stream != stream);
    }

    pub(super) fn on_timer(&mut self, timer: TimerId) {
        self.timer.take_if(|armed| *armed == timer);
    }

    /// Adds a follower that continues after the event with this id.
    pub(super) fn add(&mut self, cx: &mut Context<'_>, stream: EventStream, last_id: Option<&str>) {
        let distributor = &*cx.distributor;
        let Some(journal) = distributor.journal() else {
            return;
        };
        let newest = journal.last_number();
        let known = last_id.map(|id| {
            let number = number_of(id, distributor.epoch())?;
            journal.records_since(number).map(|_| number)
        });
        // Always sent, so that the client detects that it is connected.
        let mut text = RETRY.to_vec();
        let seen = known.flatten().unwrap_or(newest);
        match known {
            Some(Some(_)) => text.push(b'\n'),
            Some(None) => write_place(&mut text, "reset", distributor, newest),
            None => write_place(&mut text, "hello", distributor, newest),
        }
        if cx.server.http(cx.net).send_written_events(stream, &text) {
            self.all.push(Follower { stream, seen });
        }
    }

    /// Sends events to some of the followers that have not received all. Returns the number of
    /// events sent.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> u64 {
        let distributor = &*cx.distributor;
        let Some(journal) = distributor.journal() else {
            return 0;
        };
        if self.all.is_empty() || self.timer.is_some() {
            return 0;
        }
        let newest = journal.last_number();
        let (mut sent_to, mut events) = (0, 0);
        let (mut is_any_behind, mut all_caught_up) = (false, true);
        let mut batch = Batch::default();
        for _ in 0..self.all.len() {
            if sent_to >= MAX_AT_ONCE {
                is_any_behind = true;
                break;
            }
            self.next = (self.next + 1) % self.all.len();
            let Some(follower) = self.all.get_mut(self.next) else {
                continue;
            };
            if follower.seen == newest {
                continue;
            }
            is_any_behind = true;
            let mut http = cx.server.http(cx.net);
            if http.unread_bytes(follower.stream) > 0 {
                continue;
            }
            batch.encode(follower.seen, distributor, journal);
            sent_to += 1;
            events += batch.to - follower.seen;
            all_caught_up &= batch.to == newest;
            // If the stream ends now, `stream_closed` follows.
            http.send_written_events(follower.stream, &batch.text);
            follower.seen = batch.to;
        }
        if is_any_behind {
            let pause = match (sent_to, all_caught_up) {
                (0, _) => LONG_PAUSE,
                (_, true) => PAUSE,
                (_, false) => SHORT_PAUSE,
            };
            self.timer = Some(cx.arm(cx.net.now() + pause));
        }
        events
    }
}

/// Encoded events, shared by all followers at the same place.
#[derive(Debug, Default)]
struct Batch {
    from: Option<u64>,
    to: u64,
    text: Vec<u8>,
}

impl Batch {
    fn encode(&mut self, from: u64, distributor: &Distributor, journal: &Journal) {
        if self.from == Some(from) {
            return;
        }
        self.from = Some(from);
        self.text.clear();
        let Some(events) = journal.records_since(from) else {
            self.to = journal.last_number();
            return write_place(&mut self.text, "reset", distributor, self.to);
        };
        for event in events {
            self.to = event.number;
            let data = serde_json::to_string(&EventJson::new(event, journal)).unwrap_or_default();
            let (name, data) = (event.event.as_str(), data.as_str());
            let id = &id_of(event.number, distributor.epoch());
            Event { name, id, data }.write(&mut self.text);
            if self.text.len() >= MAX_BYTES_AT_ONCE {
                return;
            }
        }
    }
}

/// Writes the first event of a stream. After a `reset` the client has missed events and must
/// request `/nodes` again.
fn write_place(out: &mut Vec<u8>, name: &str, distributor: &Distributor, newest: u64) {
    let registry = distributor.registry();
    let (rev, entries) = (registry.revision(), registry.len());
    let data = &format!("{{\"rev\":{rev},\"entries\":{entries}}}");
    let id = &id_of(newest, distributor.epoch());
    Event { name, id, data }.write(out);
}

/// Returns the id of an event. It includes the run of the Distributor.
fn id_of(number: u64, epoch: &str) -> String {
    format!("{epoch}-{number}")
}

/// Returns the number of an event of this run. A plain number belongs to this run.
fn number_of(id: &str, epoch: &str) -> Option<u64> {
    let number = match id.split_once('-') {
        Some((run, number)) if run == epoch => number,
        Some(_) => return None,
        None => id,
    };
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_ids_of_another_run() {
        assert_eq!(number_of(&id_of(7, "00ff"), "00ff"), Some(7));
        assert_eq!(number_of("00fe-7", "00ff"), None);
        assert_eq!(number_of("7", "00ff"), Some(7));
        for wrong in [
            "",
            "x",
            "-7",
            "00ff-",
            "00ff--7",
            "00ff-18446744073709551616",
        ] {
            assert_eq!(number_of(wrong, "00ff"), None, "{wrong}");
        }
    }
}
