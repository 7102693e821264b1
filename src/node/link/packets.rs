//! The packets that a node sends to its Distributor.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::super::config::Config;
use crate::protocol::{
    DISTRIBUTES, DrainRequest, HEARTBEAT, Route, SessionRequest, Subscription, write_request,
    write_request_head,
};

/// Writes a registration. The list has the fields of its params in this order.
pub(super) fn registration(
    out: &mut impl Write,
    key: u64,
    config: &Config,
    port: Option<u16>,
    session: &SessionRequest<'_>,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Params<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        name: &'a str,
        urls: &'a [Route<'static>],
    }
    let params = Params {
        port,
        name: &config.name,
        urls: &config.routes,
    };
    write_request_head(&mut *out, &Route::post(DISTRIBUTES), key, None)?;
    serde_json::to_writer(&mut *out, &params)?;
    out.write_all(b",\"session\":")?;
    serde_json::to_writer(&mut *out, session)?;
    out.write_all(b"}")
}

/// Writes a heartbeat, which also acknowledges a revision. Without a key it has no reply. With a
/// subscription it replaces the current one.
pub(super) fn heartbeat(
    out: &mut impl Write,
    key: Option<u64>,
    rev: u64,
    only: Option<&Subscription>,
) -> io::Result<()> {
    write!(out, "{{\"uri\":\"{HEARTBEAT}\",\"method\":\"POST\"")?;
    out.write_all(b",\"key\":")?;
    serde_json::to_writer(&mut *out, &key)?;
    write!(out, ",\"session\":{{\"rev\":{rev}")?;
    if let Some(only) = only {
        out.write_all(b",\"only\":")?;
        serde_json::to_writer(&mut *out, only)?;
    }
    out.write_all(b"}}")
}

/// Writes a request for the whole list.
pub(super) fn list_request(out: &mut impl Write, key: u64) -> io::Result<()> {
    write!(
        out,
        "{{\"uri\":\"{DISTRIBUTES}\",\"method\":\"GET\",\"key\":{key}}}"
    )
}

/// Writes a request to remove the node from the list, with a reply after `wait` at the latest.
pub(super) fn drain(out: &mut impl Write, key: u64, wait: Duration) -> io::Result<()> {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let route = Route::new("DELETE", DISTRIBUTES);
    write_request(out, &route, key, None, &DrainRequest { wait_ms })
}
