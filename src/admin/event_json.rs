//! Events as JSON.

use std::net::SocketAddr;

use serde::Serialize;

use crate::distributor::{Event, Journal, Record};
use crate::time::Time;

/// An event as JSON.
#[derive(Serialize, Default)]
pub(super) struct EventJson<'a> {
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

impl<'a> EventJson<'a> {
    pub(super) fn new(record: &'a Record, journal: &Journal) -> EventJson<'a> {
        let mut json = EventJson {
            number: record.number,
            unix_ms: unix_ms(record.at, journal),
            event: record.event.as_str(),
            peer: record.peer,
            name: &record.name,
            id: record.entry.map(|id| id.number()),
            rev: record.revision,
            ..EventJson::default()
        };
        match record.event {
            Event::Left(cause, reason) => {
                (json.cause, json.reason) = (Some(cause.as_str()), Some(reason));
            }
            Event::WrongProtocol(reason) | Event::LimitExceeded(reason) => {
                json.reason = Some(reason)
            }
            Event::Rejected(code) => json.errorcode = Some(code as u8),
            Event::Restored(entries) => json.restored = Some(entries),
            _ => {}
        }
        json
    }
}

/// Returns a time in milliseconds since 1970.
pub(super) fn unix_ms(at: Time, journal: &Journal) -> u64 {
    u64::try_from(journal.unix_time_of(at).as_millis()).unwrap_or(u64::MAX)
}
