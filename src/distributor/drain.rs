//! Leaving in good order: a node that drains is told when everyone knows that it is gone.

use std::time::Duration;

use super::Distributor;
use crate::protocol::{DrainRequest, Drained, ErrorCode, Packet, Refusal, write_success};
use crate::reactor::{ConnId, Net, TimerId};
use crate::registry::EntryId;
use crate::time::Time;
use serde_json::value::RawValue;

/// A drain that waits for others to acknowledge.
#[derive(Debug)]
pub(super) struct Drain {
    answer_to: AnswerTo,
    revision: u64,
    until: Time,
    timer: TimerId,
    of: u64,
    blind: u64,
    late: Vec<Awaited>,
}

/// Who wants to know.
#[derive(Debug)]
enum AnswerTo {
    /// The node itself, by a reply with this key.
    Node(ConnId, Option<Box<RawValue>>),
    /// An operator, who asks by [`Distributor::take_drained`].
    Operator(DrainId),
}

/// Names one [`Distributor::drain_entries`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DrainId(u64);

/// What an operator's drains need beside themselves.
#[derive(Debug, Default)]
pub(super) struct OperatorDrains {
    last_id: u64,
    done: Vec<(DrainId, Drained)>,
}

impl Drain {
    pub(super) fn waits_for(&self) -> usize {
        self.late.len()
    }

    fn is_of(&self, conn: ConnId) -> bool {
        matches!(self.answer_to, AnswerTo::Node(of, _) if of == conn)
    }
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
        if self.drains.iter().any(|drain| drain.is_of(conn)) {
            return Err(Refusal {
                code: ErrorCode::Busy,
                message: "an earlier drain of this connection is not answered yet".into(),
            });
        }
        let peer = self.peers.get(conn);
        let Some(id) = peer.and_then(|peer| peer.entry) else {
            return Err(Refusal {
                code: ErrorCode::InvalidParameters,
                message: "there is no registration of this connection to be drained".into(),
            });
        };
        self.drain_entry(net, id, "it asked to leave");
        let key = packet.key().map(ToOwned::to_owned);
        let wait = Duration::from_millis(request.wait_ms);
        self.await_acks(net, AnswerTo::Node(conn, key), wait);
        Ok(())
    }

    /// Takes entries out of the list for an operator. Their connections stay, and they are listed again
    /// if they register again. What came of it is told by [`Distributor::take_drained`], after this
    /// time (at most a minute) at the latest.
    pub fn drain_entries(&mut self, net: &mut Net, ids: &[EntryId], wait: Duration) -> DrainId {
        for id in ids {
            self.drain_entry(net, *id, "drained by an operator");
        }
        self.operator_drains.last_id += 1;
        let id = DrainId(self.operator_drains.last_id);
        self.await_acks(net, AnswerTo::Operator(id), wait);
        id
    }

    /// The drains of an operator that everybody has acknowledged, or whose time is over.
    pub fn take_drained(&mut self) -> Vec<(DrainId, Drained)> {
        std::mem::take(&mut self.operator_drains.done)
    }

    /// Answers as soon as everyone knows of the current revision.
    fn await_acks(&mut self, net: &mut Net, answer_to: AnswerTo, wait: Duration) {
        let revision = self.registry.revision();
        let until = net.now() + wait.min(LONGEST_WAIT);
        let mut drain = Drain {
            answer_to,
            revision,
            until,
            timer: self.arm(net, until, super::TAG_DRAIN),
            of: 0,
            blind: 0,
            late: Vec::new(),
        };
        for (other, peer) in self.peers.iter() {
            if drain.is_of(other) {
                continue;
            }
            match &peer.session {
                None => drain.blind += u64::from(peer.is_registered),
                Some(_) if !peer.is_watching() => {}
                Some(session) => {
                    drain.of += 1;
                    if session.acked_revision < revision {
                        drain.late.push(Awaited {
                            conn: other,
                            instance: session.instance.clone(),
                            entry: peer.entry.map_or(0, |id| id.number()),
                        });
                    }
                }
            }
        }
        self.drains.push(drain);
        self.finish_drains(net);
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
        for drain in self.drains.extract_if(.., |drain| drain.is_of(conn)) {
            net.disarm(drain.timer);
        }
    }

    /// Answers the drains that everybody has acknowledged, or whose time is over.
    pub(super) fn finish_drains(&mut self, net: &mut Net) {
        let now = net.now();
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
            match drain.answer_to {
                AnswerTo::Operator(id) => self.operator_drains.done.push((id, results)),
                AnswerTo::Node(conn, key) => {
                    if let Some(mut reply) = net.send(conn) {
                        // Writing to a queue does not fail.
                        let _ = write_success(&mut reply, key.as_deref(), &results);
                        reply.finish();
                    }
                }
            }
        }
    }
}
