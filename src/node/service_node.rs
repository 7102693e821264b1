//! The handler of a node.

use std::io;
use std::net::SocketAddr;

use super::call_error::CallError;
use super::calls::CompletedCall;
use super::config::Config;
use super::context::Context;
use super::correlation::Correlation;
use super::handle::Handle;
use super::node_core::Core;
use super::served;
use super::service::Service;
use super::shutdown::Shutdown;
use super::slot_key::SlotKey;
use super::tag::Tag;
use super::task_turn;
use super::waiter::Waiter;
#[cfg(feature = "http")]
use super::{event::LinkState, health::Health, roster::Roster};
use crate::protocol::Reply;
use crate::reactor::{
    CloseReason, ConnId, Handler, ListenOptions, Net, Origin, Owner, TimerId, Waker,
};
use crate::time::Time;

/// A node. See the [module](super).
#[derive(Debug)]
pub struct Node<S> {
    pub(super) core: Core,
    pub(super) service: S,
}

impl<S: Service> Node<S> {
    /// Creates a node that has not started.
    pub fn new(config: Config, service: S) -> Node<S> {
        Node {
            core: Core::new(config),
            service,
        }
    }

    /// Listens, and begins to look for the Distributor. Returns the address that it listens on.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Net::listen`], with the address in the message.
    pub fn start(&mut self, net: &mut Net) -> io::Result<Option<SocketAddr>> {
        let owner = self.core.claim_owners(net).node;
        let mut listening = None;
        let config = &self.core.link.config;
        if let Some(addr) = config.listen {
            let options = ListenOptions {
                owner,
                max_frame_bytes: Some(config.max_frame_bytes),
                ..ListenOptions::default()
            };
            let listener = net.listen(addr, options).map_err(|error| {
                let message = format!("cannot listen on {addr}: {error}");
                io::Error::new(error.kind(), message)
            })?;
            self.core.listener = Some(listener);
            listening = net.local_addr(listener);
        }
        self.core.has_started = true;
        self.core.link.start(net, listening.map(|addr| addr.port()));
        self.core.take_events(net);
        Ok(listening)
    }

    /// Returns the operations of the node, for use between turns of its reactor.
    pub fn context<'a>(&'a mut self, net: &'a mut Net) -> Context<'a> {
        Context::new(&mut self.core, net)
    }

    /// Returns whether the node drains, shuts down or has stopped.
    pub fn is_leaving(&self) -> bool {
        self.core.link.is_leaving() || self.core.shutdown != Shutdown::None
    }

    /// Returns whether the node was stopped, and its connections are closed. Turn its reactor until
    /// then, so that the last replies are written.
    pub fn has_left(&self) -> bool {
        self.core.has_left()
    }

    /// Returns the address that the node listens on.
    pub fn local_addr(&self, net: &Net) -> Option<SocketAddr> {
        net.local_addr(self.core.listener?)
    }

    /// Listens for health checks, as [`Builder::health`](super::Builder::health). Returns the
    /// address in use.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Net::listen`].
    #[cfg(feature = "http")]
    pub fn listen_health(&mut self, net: &mut Net, addr: SocketAddr) -> io::Result<SocketAddr> {
        let health = Health::listen(net, addr)?;
        let addr = health.addr;
        self.core.health = Some(health);
        Ok(addr)
    }

    /// Returns the address of health checks.
    #[cfg(feature = "http")]
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.core.health.as_ref().map(|health| health.addr)
    }

    /// Returns your service.
    pub fn service(&mut self) -> &mut S {
        &mut self.service
    }

    /// Returns the service, the view of all live nodes, and the state of the link.
    #[cfg(feature = "http")]
    pub(crate) fn parts(&self) -> (&S, &Roster, LinkState) {
        let link = &self.core.link;
        (&self.service, &link.roster, link.state())
    }

    /// Returns a handle for another thread. `waker` is that of the reactor that turns the node.
    pub fn handle(&mut self, waker: Waker) -> Handle {
        let calls = self.core.posted.0.clone();
        Handle { calls, waker }
    }

    /// Passes the events so far to the service. Call it before the end of a turn if what the
    /// service knows must agree with the roster.
    pub(crate) fn pass_events(&mut self, net: &mut Net) {
        for event in std::mem::take(&mut self.core.events) {
            self.service_part(net, |service, cx| service.on_event(cx, event));
        }
    }

    pub(super) fn service_part<R>(
        &mut self,
        net: &mut Net,
        act: impl FnOnce(&mut S, &mut Context<'_>) -> R,
    ) -> R {
        self.request_part(net, None, Correlation::default(), act)
    }

    /// Calls the service with a context for a request.
    fn request_part<R>(
        &mut self,
        net: &mut Net,
        deadline: Option<Time>,
        correlation: Correlation<'_>,
        act: impl FnOnce(&mut S, &mut Context<'_>) -> R,
    ) -> R {
        // What the service creates under the current owner is its own.
        let owner = self.core.claim_owners(net).service;
        let node = net.replace_owner(owner);
        let mut cx = Context::new(&mut self.core, net);
        cx.request_deadline = deadline;
        cx.correlation = correlation;
        let result = act(&mut self.service, &mut cx);
        net.replace_owner(node);
        result
    }

    /// Calls the handler of something that is not the node's own: of a health check, or else the
    /// service.
    fn other_part<R>(
        &mut self,
        net: &mut Net,
        of_health: impl FnOnce(&mut dyn Handler, &mut Net) -> R,
        of_service: impl FnOnce(&mut S, &mut Context<'_>) -> R,
    ) -> R {
        #[cfg(feature = "http")]
        if self.core.owns_health(net.owner())
            && let (readiness, Some(health)) = (self.core.readiness(), &mut self.core.health)
        {
            return of_health(&mut health.handler(&readiness), net);
        }
        #[cfg(not(feature = "http"))]
        drop(of_health);
        self.service_part(net, of_service)
    }

    fn give_result(
        &mut self,
        net: &mut Net,
        call: CompletedCall,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        match call.waiter {
            Waiter::Thread(posted_by) => {
                let result = result.map(Reply::into_owned).map_err(CallError::into_owned);
                // The waiting thread may have dropped its receiver.
                let _ = posted_by.send(result);
            }
            Waiter::Task(key) => {
                self.core.tasks.stay_awake();
                match self.core.group_calls.remove(&call.id) {
                    Some(group) => {
                        task_turn::call_all_from_task(&mut self.core, net, key, group);
                    }
                    None => self.core.hub.call_ended(key, call.id, result),
                }
            }
            Waiter::Service => {
                self.service_part(net, |service, cx| {
                    cx.responder = call.responder;
                    service.on_result(cx, call.id, result);
                });
            }
        }
    }

    fn on_request_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let Some((request, reply_to)) = served::read(net, conn, frame) else {
            return;
        };
        self.request_part(
            net,
            request.deadline,
            request.correlation(),
            |service, cx| {
                service.on_request(cx, &request, reply_to);
            },
        );
    }

    fn on_reply_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let Some(reply) = Reply::parse(frame) else {
            return;
        };
        let Some(call) = self.core.caller.replied(net, conn, reply.key()) else {
            return;
        };
        let result = if reply.errorcode == 0 {
            Ok(reply)
        } else {
            Err(CallError::Refused(reply))
        };
        self.give_result(net, call, result);
    }
}

impl<S: Service> Handler for Node<S> {
    fn owns(&mut self, owner: Owner) -> bool {
        self.core.owns(owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        if !self.core.is_own(net) {
            return self.other_part(
                net,
                |health, net| health.on_open(net, conn, origin),
                |service, cx| service.on_open(cx, conn, origin),
            );
        }
        match origin {
            Origin::Accepted(listener) if self.core.listener == Some(listener) => {
                self.core.clients.insert(conn, ());
            }
            Origin::Accepted(_) => {}
            Origin::Connected => self.core.opened(net, conn),
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        if !self.core.is_own(net) {
            return self.service_part(net, |service, cx| service.on_frame(cx, conn, frame));
        }
        if self.core.clients.get(conn).is_some() {
            self.on_request_frame(net, conn, frame);
        } else if self.core.link.owns(conn) {
            self.core.link.frame(net, frame);
            self.core.take_events(net);
        } else {
            self.on_reply_frame(net, conn, frame);
        }
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        if !self.core.is_own(net) {
            return self.other_part(
                net,
                |health, net| health.on_close(net, conn, why),
                |service, cx| service.on_close(cx, conn, why),
            );
        }
        self.core.closed(net, conn, why);
        task_turn::caller_gone(&mut self.core, net, conn);
    }

    fn on_bytes(&mut self, net: &mut Net, conn: ConnId, bytes: &[u8]) -> usize {
        self.other_part(
            net,
            |health, net| health.on_bytes(net, conn, bytes),
            |service, cx| service.on_bytes(cx, conn, bytes),
        )
    }

    fn on_limit(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        if !self.core.is_own(net) {
            let of_health =
                |health: &mut dyn Handler, net: &mut Net| health.on_limit(net, conn, why);
            self.other_part(net, of_health, |_, _| ());
        }
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        if !self.core.is_own(net) {
            self.other_part(
                net,
                |health, net| health.on_drained(net, conn),
                |service, cx| service.on_drained(cx, conn),
            );
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        if !self.core.is_own(net) {
            return self.other_part(
                net,
                |health, net| health.on_timer(net, timer, tag),
                |service, cx| service.on_timer(cx, timer, tag),
            );
        }
        match Tag::unpack(tag) {
            Some(Tag::Task(key)) => {
                if let Some(id) = SlotKey::unpack(key) {
                    task_turn::deadline_passed(&mut self.core, net, id);
                }
            }
            _ => self.core.timer_rang(net, timer, tag),
        }
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.core.woken(net);
    }

    /// Passes events and results to the service. Their effects are handled in the next turn.
    fn on_turn_end(&mut self, net: &mut Net) {
        self.pass_events(net);
        for _ in 0..self.core.caller.completed.len() {
            if let Some((call, error)) = self.core.caller.completed.pop_front() {
                self.give_result(net, call, Err(error));
            }
        }
        if self.core.shutdown != Shutdown::None {
            self.core.leave_further(net);
        }
        let has_ready_tasks = task_turn::run_ready(&mut self.core, net);
        self.service_part(net, |service, cx| service.on_turn_end(cx));
        self.core.subscribe(net);
        if has_ready_tasks || !self.core.events.is_empty() || !self.core.caller.completed.is_empty()
        {
            self.core.wake_next_turn(net);
        }
    }
}
