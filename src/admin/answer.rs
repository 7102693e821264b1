//! Responses, whatever was requested.

use serde::Serialize;

use crate::http::{Http, Response, ResponseTo};

/// An owned response.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) more: &'static [(&'static str, &'static str)],
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(status: u16, text: impl Into<String>) -> Answer {
        let mut text = text.into();
        text.push('\n');
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            more: &[],
            body: text.into_bytes(),
        }
    }

    pub(super) fn json(body: Vec<u8>) -> Answer {
        Answer {
            status: 200,
            content_type: "application/json",
            more: &[],
            body,
        }
    }

    /// Encodes a value that is always representable as JSON.
    pub(super) fn encoded(value: &impl Serialize) -> Answer {
        Answer::json(serde_json::to_vec(value).unwrap_or_default())
    }

    /// Adds these headers.
    pub(super) fn with(self, more: &'static [(&'static str, &'static str)]) -> Answer {
        Answer { more, ..self }
    }

    pub(super) fn send(&self, http: &mut Http<'_>, to: ResponseTo) {
        let mut headers = vec![("Content-Type", self.content_type)];
        headers.extend_from_slice(&HEADERS);
        headers.extend_from_slice(self.more);
        let response = Response {
            status: self.status,
            headers: &headers,
            body: &self.body,
        };
        http.respond(to, &response);
    }
}

/// Headers of every response: text from nodes must not be taken for a page, nor be embedded in another
/// one.
pub(super) const HEADERS: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];
