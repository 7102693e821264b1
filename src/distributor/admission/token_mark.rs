//! Tokens as they are compared, and as they are kept: never themselves.

use std::fmt;

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

/// What is hashed with a token, drawn once for a state file, so that two files show nothing together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub(in crate::distributor) struct Salt(#[serde(deserialize_with = "hex")] u128);

impl Salt {
    pub(in crate::distributor) fn new(high: u64, low: u64) -> Salt {
        Salt(u128::from(high) << 64 | u128::from(low))
    }

    pub(in crate::distributor) fn mark(self, token: &str) -> TokenMark {
        let mut hasher = Sha256::new();
        hasher.update(self.0.to_be_bytes());
        hasher.update(token);
        let hash = hasher.finalize();
        let bytes = hash.first_chunk().copied().unwrap_or_default();
        TokenMark(u128::from_be_bytes(bytes))
    }
}

/// What is kept of the token that a node gave: enough to know it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(in crate::distributor) struct TokenMark(#[serde(deserialize_with = "hex")] u128);

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for TokenMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = String::deserialize(deserializer)?;
    u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
}
