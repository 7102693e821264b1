//! The status of the Distributor as JSON: its identity, its refusals, and the last hour.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::context::Answer;
use super::history::{History, STEP, Sample};
use super::metrics::Figures;
use super::request::PendingRequest;
use crate::distributor::Distributor;
use crate::time::Time;

/// Returns the approximate cost of iterating over all sessions.
pub(super) fn cost(distributor: &Distributor) -> Duration {
    let entries = u32::try_from(distributor.registry().len()).unwrap_or(u32::MAX);
    Duration::from_micros(50) + Duration::from_nanos(50) * entries
}

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    epoch: &'a str,
    /// Addresses that nodes connect to.
    listen: Vec<SocketAddr>,
    uptime_seconds: f64,
    complete: bool,
    rev: u64,
    /// The revision that each session should have acknowledged.
    overdue_rev: u64,
    entries: usize,
    /// True if a registration from the client's address needs a token.
    needs_token: bool,
    /// True if there is an admin token.
    can_drain: bool,
    /// Refusals since the start, by kind.
    refused: BTreeMap<&'static str, u64>,
    /// Times that a limit was hit since the start, by limit.
    limits: BTreeMap<&'static str, u64>,
    history: HistoryJson<'a>,
}

#[derive(Serialize)]
struct HistoryJson<'a> {
    step_ms: u128,
    /// Number of the last sample: pass it as `since` next time.
    last: u64,
    samples: Vec<&'a Sample>,
    /// The current figures, as a sample that is not recorded.
    now: Sample,
}

/// Returns the status, with the samples after the one that the request names.
pub(super) fn answer(
    figures: &Figures<'_>,
    history: &History,
    can_drain: bool,
    request: &PendingRequest,
) -> Result<Answer, Answer> {
    request.allow_params(&["since"])?;
    let since = request.number("since")?.unwrap_or(0);
    let (net, distributor) = (figures.net, figures.distributor);
    let needs_token = |peer: SocketAddr| !distributor.may_see(peer.ip(), None);
    Ok(Answer::json(&Status {
        version: env!("CARGO_PKG_VERSION"),
        epoch: distributor.epoch(),
        listen: distributor.local_addrs(net).collect(),
        uptime_seconds: net.now().saturating_since(Time::ZERO).as_secs_f64(),
        complete: distributor.warms_up_for(net.now()).is_zero(),
        rev: figures.distributor.registry().revision(),
        overdue_rev: history.overdue_revision(),
        entries: figures.distributor.registry().len(),
        needs_token: request.peer.is_none_or(needs_token),
        can_drain,
        refused: figures.refusals().into(),
        limits: figures.limit_hits().collect(),
        history: HistoryJson {
            step_ms: STEP.as_millis(),
            last: history.last_number(),
            samples: history.since(since).collect(),
            now: history.sample(figures),
        },
    }))
}
