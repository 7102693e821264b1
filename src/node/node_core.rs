//! The parts of a node below its service, and the flow between them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use super::caller::Caller;
use super::calls::{CallId, NewCall, Target, Text};
use super::config::Config;
use super::correlation::Correlation;
use super::event::Event;
use super::handle::PostedCall;
use super::link::DistributorLink;
use super::shutdown::{PLAIN_DRAIN, Shutdown};
use super::slot_key::SlotKey;
use super::tag::Tag;
use super::tasks::{Executor, Hub, StartCall, WaitResult};
use super::waiter::Waiter;
use super::waits::{WaitId, Waits};
#[cfg(feature = "http")]
use super::{
    event::LinkState,
    health::{Health, Readiness},
};
use crate::protocol::Route;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, ListenerId, Net, Owner, TimerId};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Core {
    /// Owners of everything that the node creates in its reactor. Allocated on first use.
    owners: Option<Owners>,
    pub(super) has_started: bool,
    pub(super) listener: Option<ListenerId>,
    /// Connections of other nodes that call this one.
    pub(super) clients: ConnMap<()>,
    pub(super) link: DistributorLink,
    pub(super) caller: Caller,
    /// Number of the newest interest in view that the caller knows of.
    viewed: u64,
    /// Calls of all nodes with a name, from tasks, that wait for these nodes to be in view.
    pub(super) group_calls: BTreeMap<CallId, StartCall>,
    pub(super) waits: Waits,
    pub(super) shutdown: Shutdown,
    pub(super) tasks: Executor,
    pub(super) hub: Rc<Hub>,
    /// Reused buffer for the tasks to poll.
    pub(super) ready_tasks: Vec<SlotKey>,
    /// Tasks that end when the connection of their caller is closed.
    pub(super) ends_with_caller: BTreeSet<(ConnId, SlotKey)>,
    /// Events for the service, passed at the end of the turn.
    pub(super) events: Vec<Event>,
    /// Calls from other threads. One sender is kept, so that the channel stays open.
    pub(super) posted: (Sender<PostedCall>, Receiver<PostedCall>),
    #[cfg(feature = "http")]
    pub(super) health: Option<Health>,
}

/// Two owners, so that the tags of timers never collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owners {
    pub(super) node: Owner,
    pub(super) service: Owner,
}

/// Maximum number of posted calls per turn. Threads that post continuously must not keep a turn
/// from ending.
pub(super) const MAX_POSTED_PER_TURN: usize = 1024;

impl Core {
    pub(super) fn new(config: Config) -> Core {
        Core {
            caller: Caller::new(&config),
            shutdown: Shutdown::None,
            tasks: Executor::default(),
            hub: Rc::new(Hub::new(&config)),
            ready_tasks: Vec::new(),
            ends_with_caller: BTreeSet::new(),
            link: DistributorLink::new(config),
            owners: None,
            has_started: false,
            listener: None,
            clients: ConnMap::default(),
            viewed: 0,
            group_calls: BTreeMap::new(),
            waits: Waits::default(),
            events: Vec::new(),
            posted: mpsc::channel(),
            #[cfg(feature = "http")]
            health: None,
        }
    }

    /// Returns the owners of everything that the node creates in its reactor.
    pub(super) fn claim_owners(&mut self, net: &mut Net) -> Owners {
        *self.owners.get_or_insert_with(|| {
            let node = net.new_owner();
            self.link.owner = node;
            self.caller.owner = node;
            self.waits.owner = node;
            self.tasks.set_reactor(net.waker());
            self.link.roster.interests().set_waker(net.waker());
            let service = net.new_owner();
            Owners { node, service }
        })
    }

    pub(super) fn owns(&self, owner: Owner) -> bool {
        let is_either = |owners: Owners| owners.node == owner || owners.service == owner;
        #[cfg(feature = "http")]
        if self.owns_health(owner) {
            return true;
        }
        self.owners.is_some_and(is_either)
    }

    /// Returns whether this is the owner of the server for health checks.
    #[cfg(feature = "http")]
    pub(super) fn owns_health(&self, owner: Owner) -> bool {
        let health = self.health.as_ref();
        health.is_some_and(|health| health.owns(owner))
    }

    /// Returns whether the current callback is for a connection or a timer of the node itself, and
    /// not of its service.
    pub(super) fn is_own(&self, net: &Net) -> bool {
        self.owners.is_some_and(|owners| owners.node == net.owner())
    }

    /// Returns whether the node serves, and other nodes may find it. See
    /// [`Context::is_ready`](super::Context::is_ready).
    pub(super) fn is_ready(&self) -> bool {
        let is_listening = self.listener.is_some() || self.link.config.listen.is_none();
        self.has_started && is_listening && self.link.is_ready()
    }

    /// Returns what health checks are told.
    #[cfg(feature = "http")]
    pub(super) fn readiness(&self) -> Readiness {
        Readiness(if self.is_ready() {
            Ok(if self.link.state() == LinkState::Lost {
                "ready: the Distributor is lost, the nodes of the last list are called"
            } else {
                "ready"
            })
        } else if self.link.is_leaving() {
            Err("leaving")
        } else {
            Err("not registered with a Distributor")
        })
    }

    pub(super) fn opened(&mut self, net: &mut Net, conn: ConnId) {
        if self.link.owns(conn) {
            self.link.opened(net, conn);
            self.take_events(net);
        } else {
            self.caller.opened(net, conn);
        }
    }

    pub(super) fn closed(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        if self.link.owns(conn) {
            self.link.closed(net, why);
            self.take_events(net);
        } else if self.clients.remove(conn).is_none() {
            self.caller.closed(net, &self.link.roster, conn, why);
        }
    }

    pub(super) fn timer_rang(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match Tag::unpack(tag) {
            Some(Tag::Link) => {
                self.link.timer_rang(net, timer);
                self.take_events(net);
            }
            Some(Tag::Call(key)) => self.caller.deadline_passed(net, key),
            Some(Tag::Wait(number)) => {
                if let Some(id) = self.waits.timed_out(number) {
                    self.waited(id, false);
                }
            }
            Some(Tag::Kept) => self.caller.let_go(net),
            Some(Tag::Sleep(key)) => {
                if let Some(key) = SlotKey::unpack(key) {
                    self.tasks.stay_awake();
                    self.hub.complete(key, WaitResult::Done(true));
                }
            }
            // The timer has only ended the wait: the end of the turn does the rest.
            Some(Tag::Events) => self.take_posted(net),
            Some(Tag::Task(_)) | None => {}
        }
    }

    pub(super) fn woken(&mut self, net: &mut Net) {
        self.take_posted(net);
        self.link.woken(net);
    }

    /// Makes a call. The first call of a route waits until the nodes that serve it are in view.
    pub(super) fn call(&mut self, net: &mut Net, new: NewCall) -> CallId {
        let roster = &self.link.roster;
        let awaits = match new.target {
            Target::Anyone => roster.interests().want_route(&new.text.parts().0),
            Target::At(_) | Target::None => None,
        };
        self.caller.call(net, roster, new, awaits)
    }

    /// Starts a call that ends when all nodes with this name are in view, or at the deadline.
    /// `None` if they are.
    pub(super) fn await_name(
        &mut self,
        net: &mut Net,
        name: &str,
        deadline: Time,
        waiter: Waiter,
    ) -> Option<CallId> {
        let awaits = self.link.roster.interests().want_name(name)?;
        let new = NewCall {
            target: Target::None,
            text: Text::new(self.caller.take_buffer(), "", ""),
            deadline,
            is_idempotent: false,
            waiter,
        };
        let roster = &self.link.roster;
        Some(self.caller.call(net, roster, new, Some(awaits)))
    }

    /// Waits for routes. See [`Context::wait_for`](super::Context::wait_for).
    pub(super) fn wait_for(
        &mut self,
        net: &mut Net,
        routes: &[Route<'_>],
        timeout: Duration,
    ) -> WaitId {
        for route in routes {
            self.link.roster.interests().want_route(route);
        }
        self.waits.add(net, routes, timeout)
    }

    /// Subscribes to what was called for the first time in this turn.
    pub(super) fn subscribe(&mut self, net: &mut Net) {
        if !self.link.is_viewed() {
            self.link.subscribe(net);
            self.take_events(net);
        }
    }

    /// Collects the events of a step of the link or of a new wait.
    pub(super) fn take_events(&mut self, net: &mut Net) {
        let had_events = !self.events.is_empty();
        self.events.append(&mut self.link.events);
        if let Some(is_new_epoch) = self.link.listed.take() {
            let roster = &mut self.link.roster;
            self.caller.peers.list(net, roster, is_new_epoch);
        }
        let viewed = self.link.roster.interests().viewed();
        if std::mem::replace(&mut self.viewed, viewed) != viewed {
            self.caller.view_grew(net, &self.link.roster, viewed);
        }
        let done = self.waits.take_done(net, &self.link.roster);
        for id in done {
            self.waited(id, true);
        }
        if !had_events && !self.events.is_empty() {
            self.wake_next_turn(net);
        }
    }

    /// Reports the end of a wait for routes to the task that waits, or to the service.
    fn waited(&mut self, id: WaitId, is_served: bool) {
        match self.hub.wait_for_routes(id) {
            Some(key) => {
                self.tasks.stay_awake();
                self.hub.complete(key, WaitResult::Done(is_served));
            }
            None => self.events.push(Event::Waited(id, is_served)),
        }
    }

    /// Returns a task that ends with the connection of its caller.
    pub(super) fn next_that_ends_with(&self, conn: ConnId) -> Option<(ConnId, SlotKey)> {
        let lowest = SlotKey {
            slot: 0,
            generation: 0,
        };
        let mut from = self.ends_with_caller.range((conn, lowest)..);
        from.next().copied().filter(|(caller, _)| *caller == conn)
    }

    /// Begins to leave in order. See [`Context::shut_down`](super::Context::shut_down).
    pub(super) fn shut_down(&mut self, net: &mut Net, within: Duration) {
        if self.shutdown != Shutdown::None || self.link.is_stopped() {
            return;
        }
        let until = net.now() + within;
        self.shutdown = Shutdown::Draining { until };
        let wait = if self.link.is_plain() {
            within.min(PLAIN_DRAIN)
        } else {
            within
        };
        self.link.drain(net, wait);
        self.take_events(net);
        let owner = self.claim_owners(net).node;
        net.arm(owner, until, Tag::Events.pack());
        self.wake_next_turn(net);
    }

    /// Takes the next step of leaving, at the end of a turn.
    pub(super) fn leave_further(&mut self, net: &mut Net) {
        let before = self.shutdown;
        let is_drained = self.link.is_drained();
        self.shutdown = before.next(net.now(), is_drained, self.hub.awaited.get());
        if self.shutdown == Shutdown::Stopped && before != Shutdown::Stopped {
            self.stop(net);
        }
    }

    /// Closes the listener and, once their queues are written, all connections.
    pub(super) fn stop(&mut self, net: &mut Net) {
        self.shutdown = Shutdown::Stopped;
        #[cfg(feature = "http")]
        if let Some(health) = &mut self.health {
            health.stop(net);
        }
        if let Some(listener) = self.listener.take() {
            net.close_listener(listener);
        }
        self.link.stop(net);
        self.caller.stop(net);
        // No answer comes any more.
        self.caller.view_grew(net, &self.link.roster, u64::MAX);
        for (conn, ()) in self.clients.iter() {
            net.close(conn, Close::AfterFlush);
        }
    }

    /// Returns whether the node was stopped, and all its connections are closed.
    pub(super) fn has_left(&self) -> bool {
        #[cfg(feature = "http")]
        if self.health.as_ref().is_some_and(Health::has_connections) {
            return false;
        }
        self.link.is_stopped()
            && !self.link.is_connected()
            && self.clients.len() == 0
            && !self.caller.is_connected()
    }

    /// Makes the calls that other threads have posted.
    fn take_posted(&mut self, net: &mut Net) {
        for _ in 0..MAX_POSTED_PER_TURN {
            let Ok(call) = self.posted.1.try_recv() else {
                return;
            };
            let new = NewCall {
                target: Target::Anyone,
                text: self
                    .caller
                    .encode(&call.route, &*call.params, Correlation::default()),
                deadline: net.now() + call.deadline,
                is_idempotent: call.is_idempotent,
                waiter: Waiter::Thread(call.posted_by),
            };
            self.call(net, new);
        }
        self.wake_next_turn(net);
    }

    /// Ensures that the next turn does not wait if anything is left for its end.
    pub(super) fn wake_next_turn(&mut self, net: &mut Net) {
        let owner = self.claim_owners(net).node;
        net.arm(owner, net.now(), Tag::Events.pack());
    }
}
