//! Leaving in good order: a node that drains is told when everyone knows that it is gone.

use std::time::Duration;

use serde_json::value::RawValue;
use tracing::info;

use super::Distributor;
use super::log::{Escaped, Subject};
use crate::mistakes::{Mistake, is_made};
use crate::protocol::{DrainRequest, Drained, ErrorCode, Packet, Refusal, write_success};
use crate::reactor::{ConnId, Net, TimerId};
use crate::registry::Cause;
use crate::time::Time;

/// A drain that waits for others to acknowledge.
#[derive(Debug)]
pub(super) struct Drain {
    conn: ConnId,
    key: Option<Box<RawValue>>,
    revision: u64,
    until: Time,
    timer: TimerId,
    of: u64,
    blind: u64,
    late: Vec<Awaited>,
}

/// A session that has not acknowledged yet. If it is lost meanwhile it stays so, until the same
/// instance is back and does.
#[derive(Debug)]
struct Awaited {
    conn: ConnId,
    instance: Option<Box<str>>,
    entry: u64,
}

/// Nobody waits longer than this for others: those who have not acknowledged by then are gone.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Distributor {
    /// Takes the entry of `conn` out of the list, and answers as soon as everyone knows.
    pub(super) fn drain(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        packet: &Packet<'_>,
    ) -> Result<(), Refusal> {
        let request = DrainRequest::parse(packet.params())?;
        // It could register and drain again and again while somebody does not acknowledge.
        if self.drains.iter().any(|drain| drain.conn == conn) {
            return Err(Refusal {
                code: ErrorCode::Busy,
                message: "an earlier drain of this connection is not answered yet".into(),
            });
        }
        let Some(session) = self.sessions.get_mut(conn) else {
            return Ok(());
        };
        let Some(id) = session.entry.take() else {
            return Err(Refusal {
                code: ErrorCode::InvalidParameters,
                message: "there is no registration of this connection to be drained".into(),
            });
        };
        let peer = session.peer;
        if let Some(instance) = session
            .link
            .as_ref()
            .and_then(|link| link.instance.as_deref())
        {
            self.instances.release(instance, conn);
        }
        if let Some(entry) = self.let_go(id, Cause::Drained) {
            let name = Escaped::text(&entry.name);
            let (entries, revision) = (self.registry.len(), self.registry.revision());
            let cause = Cause::Drained;
            self.log.say(net.now(), Subject::Left, |more| {
                info!(%peer, name = name.to_string(), %cause, entries, revision, more, "left");
            });
        }

        let revision = self.registry.revision();
        let until = net.now() + Duration::from_millis(request.wait_ms).min(LONGEST_WAIT);
        let mut drain = Drain {
            conn,
            key: packet.key().map(ToOwned::to_owned),
            revision,
            until,
            timer: net.arm(until, super::TAG_DRAIN),
            of: 0,
            blind: 0,
            late: Vec::new(),
        };
        for (other, session) in self.sessions.iter_mut().filter(|(other, _)| *other != conn) {
            match &session.link {
                None => drain.blind += u64::from(session.is_registered),
                Some(_) if !session.is_watching() => {}
                Some(link) => {
                    drain.of += 1;
                    if link.acked_revision < revision {
                        drain.late.push(Awaited {
                            conn: other,
                            instance: link.instance.clone(),
                            entry: session.entry.map_or(0, |id| id.number()),
                        });
                    }
                }
            }
        }
        self.drains.push(drain);
        self.finish_drains(net);
        Ok(())
    }

    /// `conn` has applied `revision`.
    pub(super) fn drain_acked(&mut self, net: &mut Net, conn: ConnId, revision: u64) {
        for drain in self
            .drains
            .iter_mut()
            .filter(|drain| drain.revision <= revision)
        {
            drain.late.retain(|awaited| awaited.conn != conn);
        }
        self.finish_drains(net);
    }

    /// The node that was `instance` is now at `conn`.
    pub(super) fn drain_returned(&mut self, instance: &str, conn: ConnId) {
        for awaited in self.drains.iter_mut().flat_map(|drain| &mut drain.late) {
            if awaited.instance.as_deref() == Some(instance) {
                awaited.conn = conn;
            }
        }
    }

    /// Whoever wanted to know is gone.
    pub(super) fn forget_drains_of(&mut self, net: &mut Net, conn: ConnId) {
        for drain in self.drains.extract_if(.., |drain| drain.conn == conn) {
            net.disarm(drain.timer);
        }
    }

    /// Answers the drains that everybody has acknowledged, or whose time is over.
    pub(super) fn finish_drains(&mut self, net: &mut Net) {
        let now = net.now();
        if is_made(Mistake::DrainAnsweredEarly) {
            self.drains.iter_mut().for_each(|drain| drain.late.clear());
        }
        let is_over = |drain: &mut Drain| drain.late.is_empty() || drain.until <= now;
        for drain in self.drains.extract_if(.., is_over) {
            net.disarm(drain.timer);
            let late: Vec<u64> = drain.late.iter().map(|awaited| awaited.entry).collect();
            let results = Drained {
                rev: drain.revision,
                acked: drain.of - late.len() as u64,
                of: drain.of,
                late,
                blind: drain.blind,
            };
            if let Some(mut reply) = net.send(drain.conn) {
                // Writing to a queue does not fail.
                let _ = write_success(&mut reply, drain.key.as_deref(), &results);
                reply.finish();
            }
        }
    }
}
