//! All of a node but what its user does: the parts, and what one means to another.

use std::time::Duration;

use super::call::{NewCall, Target};
use super::caller::Caller;
use super::config::Config;
use super::handle::Posted;
use super::link::DistributorLink;
use super::news::News;
use super::tag::Tag;
use super::waits::{WaitId, Waits};
use crate::protocol::Route;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{CloseReason, ConnId, ListenerId, Net, Owner, TimerId};

#[derive(Debug)]
pub(super) struct Core {
    /// Allocated where it is first needed.
    pub(super) owner: Option<Owner>,
    pub(super) listener: Option<ListenerId>,
    /// Connections of other nodes that call this one.
    pub(super) clients: ConnMap<()>,
    pub(super) link: DistributorLink,
    pub(super) caller: Caller,
    pub(super) waits: Waits,
    /// What the service is to be notified of at the end of the turn.
    pub(super) news: Vec<News>,
    pub(super) posted: Option<Posted>,
}

/// Threads that post without a pause must not keep a turn from ending.
pub(super) const MAX_POSTED_PER_TURN: usize = 1024;

impl Core {
    pub(super) fn new(config: Config) -> Core {
        Core {
            caller: Caller::new(&config),
            link: DistributorLink::new(config),
            owner: None,
            listener: None,
            clients: ConnMap::default(),
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
        self.link.start(net, listening_port);
        self.take_link_news(net);
    }

    pub(super) fn opened(&mut self, net: &mut Net, conn: ConnId) {
        if self.link.owns(conn) {
            self.link.opened(net, conn);
            self.take_link_news(net);
        } else {
            self.caller.opened(net, conn);
        }
    }

    pub(super) fn closed(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        if self.link.owns(conn) {
            self.link.closed(net);
            self.take_link_news(net);
        } else if self.clients.remove(conn).is_none() {
            self.caller.closed(net, &self.link.roster, conn, why);
        }
    }

    pub(super) fn link_frame(&mut self, net: &mut Net, frame: &[u8]) {
        self.link.frame(net, frame);
        self.take_link_news(net);
    }

    pub(super) fn timer_rang(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match Tag::unpack(tag) {
            Some(Tag::Link) => {
                self.link.timer_rang(net, timer);
                self.take_link_news(net);
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
        self.link.woken(net);
    }

    pub(super) fn drain(&mut self, net: &mut Net, wait: Duration) {
        self.link.drain(net, wait);
        self.take_link_news(net);
    }

    pub(super) fn wait_for(
        &mut self,
        net: &mut Net,
        routes: &[Route<'_>],
        timeout: Duration,
    ) -> WaitId {
        let id = self.waits.add(net, routes, timeout);
        self.end_waits(net);
        id
    }

    fn take_link_news(&mut self, net: &mut Net) {
        for news in std::mem::take(&mut self.link.news) {
            self.report(net, news);
        }
        if let Some(is_new_epoch) = self.link.listed.take() {
            self.caller.list(net, &self.link.roster, is_new_epoch);
            self.end_waits(net);
        }
    }

    fn end_waits(&mut self, net: &mut Net) {
        for id in self.waits.take_done(net, &self.link.roster) {
            self.report(net, News::Waited(id, true));
        }
    }

    /// Makes the calls that other threads have posted.
    fn take_posted(&mut self, net: &mut Net) {
        for _ in 0..MAX_POSTED_PER_TURN {
            let Some(call) = self.posted.as_ref().and_then(Posted::take) else {
                return;
            };
            let new = NewCall {
                target: Target::Anyone,
                route: &call.route,
                params: &*call.params,
                deadline: net.now() + call.deadline,
                is_idempotent: call.is_idempotent,
                request_id: None,
                posted_by: Some(call.posted_by),
            };
            self.caller.call(net, &self.link.roster, new);
        }
        self.wake_next_turn(net);
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
