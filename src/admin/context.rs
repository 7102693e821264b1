//! The context of handlers, and their responses.

use std::time::Duration;

use serde::Serialize;

use crate::distributor::Distributor;
use crate::http::{Response, ResponseTo, Server};
use crate::reactor::{Net, Owner, TimerId};
use crate::time::Time;

/// The reactor, the HTTP server and the Distributor, for one callback.
pub(super) struct Context<'a> {
    pub(super) net: &'a mut Net,
    pub(super) server: &'a mut Server,
    pub(super) distributor: &'a mut Distributor,
    /// The owner of the timers of the admin API.
    pub(super) timers: Owner,
    /// The approximate cost of the work in this turn.
    pub(super) cost: Duration,
}

/// The approximate cost of a byte of a response: it is encoded, copied and written.
const NANOS_PER_BYTE: u64 = 2;

impl Context<'_> {
    /// Sends a response.
    pub(super) fn respond(&mut self, to: ResponseTo, answer: &Answer) {
        let nanos = answer.body.len() as u64 * NANOS_PER_BYTE;
        self.cost += Duration::from_nanos(nanos);
        let mut headers = vec![("Content-Type", answer.content_type)];
        headers.extend_from_slice(&HEADERS);
        headers.extend_from_slice(answer.more);
        let response = Response {
            status: answer.status,
            headers: &headers,
            body: &answer.body,
        };
        self.server.http(self.net).respond(to, &response);
    }

    /// Arms a timer of the admin API.
    pub(super) fn arm(&mut self, at: Time) -> TimerId {
        self.net.arm(self.timers, at, 0)
    }
}

/// An owned response.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    /// Further headers.
    pub(super) more: &'static [(&'static str, &'static str)],
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Returns a response with a body of this type.
    pub(super) fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            content_type,
            more: &[],
            body: body.into(),
        }
    }

    /// Returns a response in plain text.
    pub(super) fn text(status: u16, text: impl Into<String>) -> Answer {
        let answer = Answer::new("text/plain; charset=utf-8", text.into() + "\n");
        Answer { status, ..answer }
    }

    /// Returns a response with a value that is always representable as JSON.
    pub(super) fn json(value: &impl Serialize) -> Answer {
        Answer::new(JSON, serde_json::to_vec(value).unwrap_or_default())
    }

    /// Adds these headers.
    pub(super) fn with(self, more: &'static [(&'static str, &'static str)]) -> Answer {
        Answer { more, ..self }
    }
}

pub(super) const JSON: &str = "application/json";

/// Headers of every response: browsers must neither interpret text from nodes as a page nor embed
/// it in another page.
pub(super) const HEADERS: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];
