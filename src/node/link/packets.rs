//! The packets that a node sends to its Distributor.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::super::config::Config;
use crate::protocol::{DISTRIBUTES, HEARTBEAT, Route, SessionRequest};

/// Writes a registration. Others see the fields of its params in this order.
pub(super) fn registration(
    out: impl Write,
    key: u64,
    config: &Config,
    port: Option<u16>,
    session: SessionRequest<'_>,
) -> serde_json::Result<()> {
    #[derive(Serialize)]
    struct Params<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        name: &'a str,
        urls: &'a [Route<'static>],
    }
    #[derive(Serialize)]
    struct Packet<'a> {
        uri: &'a str,
        method: &'a str,
        key: u64,
        params: Params<'a>,
        session: SessionRequest<'a>,
    }
    let packet = Packet {
        uri: DISTRIBUTES,
        method: "POST",
        key,
        params: Params {
            port,
            name: &config.name,
            urls: &config.routes,
        },
        session,
    };
    serde_json::to_writer(out, &packet)
}

/// Writes a heartbeat, which also acknowledges a revision. One without a key is not answered.
pub(super) fn heartbeat(out: &mut impl Write, key: Option<u64>, rev: u64) -> io::Result<()> {
    write!(out, "{{\"uri\":\"{HEARTBEAT}\",\"method\":\"POST\"")?;
    match key {
        Some(key) => write!(out, ",\"key\":{key}")?,
        None => write!(out, ",\"key\":null")?,
    }
    write!(out, ",\"session\":{{\"rev\":{rev}}}}}")
}

/// Writes a request for the whole list.
pub(super) fn list_request(out: &mut impl Write, key: u64) -> io::Result<()> {
    write!(
        out,
        "{{\"uri\":\"{DISTRIBUTES}\",\"method\":\"GET\",\"key\":{key}}}"
    )
}

/// Writes a request to take the node out of the list, and to reply who knows after `wait` at most.
pub(super) fn drain(out: &mut impl Write, key: u64, wait: Duration) -> io::Result<()> {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    write!(
        out,
        "{{\"uri\":\"{DISTRIBUTES}\",\"method\":\"DELETE\",\"key\":{key},\"params\":{{\"wait_ms\":{wait_ms}}}}}"
    )
}
