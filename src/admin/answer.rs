//! What is answered, whatever was asked.

use crate::http::Response;

/// A response that is its own.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) more: &'static [(&'static str, &'static str)],
    pub(super) body: Vec<u8>,
}

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

impl Answer {
    pub(super) fn text(status: u16, text: impl Into<String>) -> Answer {
        let mut text = text.into();
        text.push('\n');
        Answer {
            status,
            content_type: TEXT,
            more: &[],
            body: text.into_bytes(),
        }
    }

    pub(super) fn json(body: Vec<u8>) -> Answer {
        Answer {
            status: 200,
            content_type: JSON,
            more: &[],
            body,
        }
    }

    pub(super) fn with(self, more: &'static [(&'static str, &'static str)]) -> Answer {
        Answer { more, ..self }
    }

    /// Hands the response to `respond`.
    pub(super) fn give<T>(&self, respond: impl FnOnce(&Response<'_>) -> T) -> T {
        let mut headers = vec![("Content-Type", self.content_type)];
        headers.extend_from_slice(&EVERYWHERE);
        headers.extend_from_slice(self.more);
        respond(&Response {
            status: self.status,
            headers: &headers,
            body: &self.body,
        })
    }
}

/// What a node says of itself is never to be taken for a page, nor shown in somebody else's.
pub(super) const EVERYWHERE: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];
