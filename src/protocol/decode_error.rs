//! Failures to decode the JSON that a peer sent.

use std::fmt;

/// The error of decoding params or results as a type.
#[derive(Debug)]
pub struct DecodeError {
    part: Part,
    error: serde_json::Error,
}

/// A part of a packet that is decoded by its receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Part {
    /// The params of a request.
    Params,
    /// The results of a reply.
    Results,
}

impl DecodeError {
    pub(crate) fn new(part: Part, error: serde_json::Error) -> DecodeError {
        DecodeError { part, error }
    }

    /// Returns the part that could not be decoded.
    pub fn part(&self) -> Part {
        self.part
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Params => "params",
            Part::Results => "results",
        };
        write!(f, "invalid {part}: {}", self.error)
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
