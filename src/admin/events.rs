//! What happens, to whoever follows: each follower is at a place in the ring of events, and is sent
//! what is behind it when it has read what it was sent before.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::distributor::{Distributor, Journal, Record, RecordKind};
use crate::http::{Event, EventStream, Server};
use crate::reactor::{Net, Owner, TimerId};
use crate::time::Time;

/// Those who follow.
#[derive(Debug, Default)]
pub(super) struct Followers {
    all: Vec<Follower>,
    /// Whose turn it is next.
    next: usize,
    timer: Option<TimerId>,
}

#[derive(Debug)]
struct Follower {
    stream: EventStream,
    /// The last event that it was sent.
    seen: u64,
}

/// How many are told before the loop does something else, and for how long it does. Up to 20 hear ten
/// times a second, 600 each three seconds and of many events at once: a write to one of them costs about
/// as much as several writes of a change to nodes.
const FOLLOWERS_AT_A_TIME: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);
/// While one of them was not sent all that there is, or they would never catch up.
const SHORT_PAUSE: Duration = Duration::from_millis(25);
/// While all who are behind read too slowly.
const LONG_PAUSE: Duration = Duration::from_millis(200);
/// What one is sent at once, at most about.
const MAX_BYTES_AT_ONCE: usize = 64 << 10;

impl Followers {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn remove(&mut self, stream: EventStream) {
        self.all.retain(|follower| follower.stream != stream);
    }

    pub(super) fn timer_rang(&mut self, timer: TimerId) {
        if self.timer == Some(timer) {
            self.timer = None;
        }
    }

    /// Somebody follows from now on, or goes on behind the event that it names.
    pub(super) fn add(
        &mut self,
        net: &mut Net,
        server: &mut Server,
        distributor: &Distributor,
        stream: EventStream,
        last_id: Option<&str>,
    ) {
        let Some(journal) = distributor.journal() else {
            return;
        };
        let newest = journal.last_number();
        let known = last_id.map(|id| {
            let number = number_of(id, distributor.epoch())?;
            journal.records_since(number).map(|_| number)
        });
        let mut text = Vec::new();
        let seen = match known {
            Some(Some(number)) => number,
            Some(None) => {
                write_reset(&mut text, distributor, newest);
                newest
            }
            None => {
                write_place(&mut text, "hello", distributor, newest);
                newest
            }
        };
        // So that its client hears that it is connected.
        text.splice(0..0, b"retry: 2000\n".iter().copied());
        if text.len() <= b"retry: 2000\n".len() {
            text.extend_from_slice(b"\n");
        }
        if server.http(net).send_written_events(stream, &text) {
            self.all.push(Follower { stream, seen });
        }
    }

    /// Tells some of those who are behind. Returns how many events were sent.
    pub(super) fn tell(
        &mut self,
        net: &mut Net,
        owner: Owner,
        server: &mut Server,
        distributor: &Distributor,
    ) -> u64 {
        let Some(journal) = distributor.journal() else {
            return 0;
        };
        if self.all.is_empty() || self.timer.is_some() {
            return 0;
        }
        let newest = journal.last_number();
        let (mut told, mut events) = (0, 0);
        let (mut is_somebody_behind, mut is_all_told) = (false, true);
        let mut batch = Batch::default();
        for _ in 0..self.all.len() {
            if told >= FOLLOWERS_AT_A_TIME {
                is_somebody_behind = true;
                break;
            }
            self.next = (self.next + 1) % self.all.len();
            let Some(follower) = self.all.get_mut(self.next) else {
                continue;
            };
            if follower.seen == newest {
                continue;
            }
            is_somebody_behind = true;
            let mut http = server.http(net);
            if http.unread_bytes(follower.stream) > 0 {
                continue;
            }
            batch.make(follower.seen, distributor, journal);
            told += 1;
            events += batch.to - follower.seen;
            is_all_told &= batch.to == newest;
            // If it ends now, that is told by itself.
            http.send_written_events(follower.stream, &batch.text);
            follower.seen = batch.to;
        }
        if is_somebody_behind {
            let pause = match (told, is_all_told) {
                (0, _) => LONG_PAUSE,
                (_, true) => PAUSE,
                (_, false) => SHORT_PAUSE,
            };
            self.timer = Some(net.arm(owner, net.now() + pause, 0));
        }
        events
    }
}

/// Events as they are sent, made once for all who are at the same place.
#[derive(Debug, Default)]
struct Batch {
    from: Option<u64>,
    to: u64,
    text: Vec<u8>,
}

impl Batch {
    fn make(&mut self, from: u64, distributor: &Distributor, journal: &Journal) {
        if self.from == Some(from) {
            return;
        }
        self.from = Some(from);
        self.text.clear();
        let Some(events) = journal.records_since(from) else {
            self.to = journal.last_number();
            return write_reset(&mut self.text, distributor, self.to);
        };
        for event in events {
            self.to = event.number;
            let told = Told::new(event, journal);
            let data = serde_json::to_string(&told).unwrap_or_default();
            let id = id_of(event.number, distributor.epoch());
            let name = event.kind.as_str();
            Event {
                name,
                id: &id,
                data: &data,
            }
            .write(&mut self.text);
            if self.text.len() >= MAX_BYTES_AT_ONCE {
                return;
            }
        }
    }
}

/// What is behind this event can't be told, or not all of it: look at `/nodes`.
fn write_reset(out: &mut Vec<u8>, distributor: &Distributor, newest: u64) {
    write_place(out, "reset", distributor, newest);
}

fn write_place(out: &mut Vec<u8>, name: &str, distributor: &Distributor, newest: u64) {
    let (rev, entries) = (
        distributor.registry().revision(),
        distributor.registry().len(),
    );
    let mut data = String::new();
    // Writing to memory does not fail.
    let _ = write!(data, "{{\"rev\":{rev},\"entries\":{entries}}}");
    let id = id_of(newest, distributor.epoch());
    Event {
        name,
        id: &id,
        data: &data,
    }
    .write(out);
}

/// An id names the run of the Distributor as well.
fn id_of(number: u64, epoch: &str) -> String {
    format!("{epoch}-{number}")
}

/// The number of an event of this run. A number alone is taken for one of this run.
fn number_of(id: &str, epoch: &str) -> Option<u64> {
    let number = match id.split_once('-') {
        Some((of, number)) => Some(number).filter(|_| of == epoch)?,
        None => id,
    };
    number.parse().ok()
}

/// An event as JSON.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    number: u64,
    unix_ms: u64,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errorcode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    rev: u64,
}

impl<'a> Told<'a> {
    pub(super) fn new(event: &'a Record, journal: &Journal) -> Told<'a> {
        let mut told = Told {
            number: event.number,
            unix_ms: unix_ms(event.at, journal),
            event: event.kind.as_str(),
            cause: None,
            reason: None,
            errorcode: None,
            restored: None,
            peer: event.peer,
            name: &event.name,
            id: event.entry.map(|id| id.number()),
            rev: event.revision,
        };
        match event.kind {
            RecordKind::Left(cause, reason) => {
                (told.cause, told.reason) = (Some(cause.as_str()), Some(reason));
            }
            RecordKind::WrongProtocol(reason) | RecordKind::LimitExceeded(reason) => {
                told.reason = Some(reason)
            }
            RecordKind::Rejected(code) => told.errorcode = Some(code as u8),
            RecordKind::Restored(entries) => told.restored = Some(entries),
            _ => {}
        }
        told
    }
}

pub(super) fn unix_ms(at: Time, journal: &Journal) -> u64 {
    u64::try_from(journal.unix_time_of(at).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_run_is_no_place_in_this_one() {
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
