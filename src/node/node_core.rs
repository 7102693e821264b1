//! All of a node but what its user does: the parts, and what one means to another.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::call::{CallId, NewCall, Target};
use super::call_error::CallError;
use super::caller::Caller;
use super::config::Config;
use super::handle::{self, Posted, PostedCall};
use super::link::{DistributorLink, LinkEvent, LinkState};
use super::roster::{Member, Roster};
use super::tag::Tag;
use super::waits::{WaitId, Waits};
use crate::protocol::{Drained, Reply};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{CloseReason, ConnId, ListenerId, Net, Owner, TimerId};

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    /// Allocated where it is first needed.
    pub(super) owner: Option<Owner>,
    pub(super) listener: Option<ListenerId>,
    /// Connections of other nodes that call this one.
    pub(super) clients: ConnMap<()>,
    pub(super) roster: Roster,
    pub(super) link: DistributorLink,
    pub(super) caller: Caller,
    pub(super) waits: Waits,
    /// What the service is to be notified of at the end of the turn.
    pub(super) news: Vec<News>,
    pub(super) posted: Option<Posted>,
}

/// An [`Event`](super::Event) that waits for the end of the turn.
#[derive(Debug)]
pub(super) enum News {
    Link(LinkState),
    Joined(Member),
    Left(Member),
    Waited(WaitId, bool),
    Drained(Drained),
    DrainedUnproven,
}

/// Threads that post without a pause must not keep a turn from ending.
pub(super) const MAX_POSTED_PER_TURN: usize = 1024;

impl Core {
    pub(super) fn new(config: Config) -> Core {
        Core {
            link: DistributorLink::new(&config),
            caller: Caller::new(&config),
            config,
            owner: None,
            listener: None,
            clients: ConnMap::default(),
            roster: Roster::default(),
            waits: Waits::default(),
            news: Vec::new(),
            posted: None,
        }
    }

    /// Returns the owner of all that the node makes in its reactor.
    pub(super) fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| {
            let owner = net.new_owner();
            self.link.owner = owner;
            self.caller.owner = owner;
            self.waits.owner = owner;
            owner
        })
    }

    pub(super) fn start_link(&mut self, net: &mut Net, listening_port: Option<u16>) {
        self.link.start(net, &self.config, listening_port);
        self.take_link_events(net);
    }

    pub(super) fn opened(&mut self, net: &mut Net, conn: ConnId) {
        if self.link.owns(conn) {
            self.link.opened(net, conn, &self.config, &self.roster);
            self.take_link_events(net);
        } else {
            self.caller.opened(net, conn);
        }
    }

    pub(super) fn closed(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        if self.link.owns(conn) {
            self.link.closed(net, &self.config);
            self.take_link_events(net);
        } else if self.clients.remove(conn).is_none() {
            self.caller.closed(net, &self.roster, conn, why);
        }
    }

    /// Takes a frame of the Distributor. Returns the reply if it rejects the registration.
    pub(super) fn link_frame<'a>(&mut self, net: &mut Net, frame: &'a [u8]) -> Option<Reply<'a>> {
        let rejection = self.link.frame(net, frame, &mut self.roster);
        self.take_link_events(net);
        rejection
    }

    pub(super) fn timer_rang(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match Tag::unpack(tag) {
            Some(Tag::Link) => {
                self.link
                    .timer_rang(net, timer, &self.config, &mut self.roster);
                self.take_link_events(net);
            }
            Some(Tag::Call(key)) => self.caller.deadline_passed(net, key),
            Some(Tag::Wait(number)) => {
                if let Some(id) = self.waits.timed_out(number) {
                    self.news.push(News::Waited(id, false));
                }
            }
            Some(Tag::Kept) => self.caller.let_go(net),
            // It has ended the wait: the end of the turn does the rest.
            Some(Tag::News) => self.take_posted(net),
            None => {}
        }
    }

    pub(super) fn woken(&mut self, net: &mut Net) {
        self.take_posted(net);
        self.link.woken(net, &self.config);
    }

    pub(super) fn drain(&mut self, net: &mut Net, wait: Duration) {
        self.link.drain(net, wait, &self.config);
        self.take_link_events(net);
    }

    pub(super) fn wait_for(&mut self, net: &mut Net, urls: &[&str], timeout: Duration) -> WaitId {
        let id = self.waits.add(net, urls, timeout);
        self.end_waits(net);
        id
    }

    pub(super) fn call<P: Serialize + ?Sized>(
        &mut self,
        net: &mut Net,
        new: NewCall<'_, P>,
    ) -> CallId {
        self.caller.call(net, &self.roster, new)
    }

    fn take_link_events(&mut self, net: &mut Net) {
        for event in self.link.take_events() {
            match event {
                LinkEvent::State(state) => self.report(net, News::Link(state)),
                LinkEvent::Listed {
                    changes,
                    is_new_epoch,
                } => {
                    self.caller.list(net, &self.roster, is_new_epoch);
                    for member in changes.left {
                        self.report(net, News::Left(member));
                    }
                    for member in changes.joined {
                        self.report(net, News::Joined(member));
                    }
                    self.end_waits(net);
                }
                LinkEvent::Drained(drained) => self.report(net, News::Drained(drained)),
                LinkEvent::DrainedUnproven => self.report(net, News::DrainedUnproven),
            }
        }
    }

    fn end_waits(&mut self, net: &mut Net) {
        for id in self.waits.take_done(net, &self.roster) {
            self.report(net, News::Waited(id, true));
        }
    }

    /// Makes the calls that other threads have posted.
    fn take_posted(&mut self, net: &mut Net) {
        for _ in 0..MAX_POSTED_PER_TURN {
            let Some(call) = self.posted.as_ref().and_then(Posted::take) else {
                return;
            };
            self.call_posted(net, call);
        }
        self.wake_next_turn(net);
    }

    fn call_posted(&mut self, net: &mut Net, posted: PostedCall) {
        let Ok(params) = RawValue::from_string(posted.params) else {
            return handle::answer(&posted.posted_by, Err(CallError::Unavailable));
        };
        let new = NewCall {
            target: Target::Anyone,
            method: &posted.method,
            uri: &posted.uri,
            params: &*params,
            deadline: net.now() + posted.deadline,
            is_idempotent: posted.is_idempotent,
            request_id: None,
            posted_by: Some(posted.posted_by),
        };
        self.call(net, new);
    }

    fn report(&mut self, net: &mut Net, news: News) {
        if self.news.is_empty() {
            self.wake_next_turn(net);
        }
        self.news.push(news);
    }

    /// Sees to it that what waits for the end of a turn does not wait for an event.
    pub(super) fn wake_next_turn(&mut self, net: &mut Net) {
        let owner = self.claim_owner(net);
        net.arm(owner, net.now(), Tag::News.pack());
    }
}
