//! What a service can do: answer, call, look around, leave.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::calls::{CallId, NewCall, Target};
use super::event::LinkState;
use super::node_core::Core;
use super::roster::Roster;
use super::served::{ReplyTo, refuse};
use super::waits::WaitId;
use crate::protocol::{ErrorCode, Route, Token, write_reply};
use crate::reactor::{Close, Net};
use crate::time::Time;

/// What a node can do. Each callback of a [`Service`](super::Service) receives one; between turns,
/// [`Node::context`](super::Node::context) returns one.
#[derive(Debug)]
pub struct Context<'a> {
    core: &'a mut Core,
    net: &'a mut Net,
    /// The deadline of the request that is being served.
    pub(super) request_deadline: Option<Time>,
    /// The node that answered the call whose result is given.
    pub(super) responder: Option<SocketAddr>,
    pub(super) request_id: Option<&'a str>,
}

impl<'a> Context<'a> {
    pub(super) fn new(core: &'a mut Core, net: &'a mut Net) -> Context<'a> {
        core.claim_owner(net);
        Context {
            core,
            net,
            request_deadline: None,
            responder: None,
            request_id: None,
        }
    }

    /// Returns the loop: timers, the time, connections of your own.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// Returns the view of all live nodes.
    pub fn roster(&self) -> &Roster {
        &self.core.link.roster
    }

    /// Returns the state of the link to the Distributor.
    pub fn link(&self) -> LinkState {
        self.core.link.state()
    }

    /// Answers a request. Does nothing if its caller is gone, or if `results` cannot be encoded.
    pub fn reply(&mut self, to: ReplyTo, results: &(impl Serialize + ?Sized)) {
        self.net
            .send_with(to.conn, |out| write_reply(out, to.key.as_str(), results));
    }

    /// Answers a request with an error. Does nothing if its caller is gone.
    pub fn refuse(&mut self, to: ReplyTo, code: ErrorCode, message: &str) {
        refuse(self.net, to.conn, to.key.as_str(), code, message);
    }

    /// Calls a node that lists the route, or otherwise its longest prefix. Of several nodes, one
    /// with few calls in flight. [`on_result`](super::Service::on_result) receives the one result,
    /// at the latest after `deadline`, or at the deadline of the request that is being served.
    ///
    /// A request that certainly did not reach its node is moved to another one. Nodes whose host is
    /// a name are never called, since a lookup would block: see
    /// [`Member::addr`](super::Member::addr).
    pub fn call(
        &mut self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::Anyone, route, params, deadline, false)
    }

    /// Calls as [`Context::call`], for requests that may be done twice: the call is moved to
    /// another node even if the first may have done it.
    pub fn call_idempotent(
        &mut self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::Anyone, route, params, deadline, true)
    }

    /// Calls the node at this address and no other, listed or not. A connection to one that is not
    /// listed is kept for 30 to 60 s after its last call.
    pub fn call_at(
        &mut self,
        addr: SocketAddr,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::At(addr), route, params, deadline, false)
    }

    /// Calls every node with this name, each once, and adds the calls to `calls`.
    pub fn call_all(
        &mut self,
        name: &str,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
        calls: &mut Vec<CallId>,
    ) {
        let deadline = self.deadline(deadline);
        let (caller, roster) = (&mut self.core.caller, &self.core.link.roster);
        for addr in roster.named(name).filter_map(|member| member.addr) {
            let new = NewCall {
                target: Target::At(addr),
                route,
                params,
                deadline,
                is_idempotent: false,
                request_id: self.request_id,
                posted_by: None,
            };
            calls.push(caller.call(self.net, roster, new));
        }
    }

    /// Returns the id that the next call will have, for callers that also send its key among the
    /// params, as Node.js gateways do.
    pub fn next_call(&self) -> CallId {
        self.core.caller.next_id()
    }

    /// In [`on_result`](super::Service::on_result), returns the node that the call was last given
    /// to; `None` if there was none.
    pub fn responder(&self) -> Option<SocketAddr> {
        self.responder
    }

    /// Sets the request id of the calls made through this context, for the logs of all nodes that
    /// take part. Calls made while a request is served carry that of the request.
    pub fn set_request_id(&mut self, request_id: &'a str) {
        self.request_id = Some(request_id);
    }

    /// Notifies every node with this name; no answer is expected. What cannot be sent is lost.
    /// Returns how many nodes were notified.
    pub fn notify(
        &mut self,
        name: &str,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
    ) -> usize {
        let caller = &mut self.core.caller;
        (self.core.link.roster.named(name))
            .filter_map(|member| member.addr)
            .filter(|addr| caller.notify(self.net, *addr, route, params))
            .count()
    }

    /// Waits until each of `routes` is listed by a node that can be called. Returns at once;
    /// [`Event::Waited`](super::Event::Waited) follows, at the latest after `timeout`.
    pub fn wait_for(&mut self, routes: &[Route<'_>], timeout: Duration) -> WaitId {
        let id = self.core.waits.add(self.net, routes, timeout);
        self.core.take_events(self.net);
        id
    }

    /// Sets the [token](super::Config::token) for the next registration.
    pub fn set_token(&mut self, token: Option<Token<'static>>) {
        self.core.link.config.token = token;
    }

    /// Drains: the node leaves the list but stays connected, and continues to serve.
    /// [`Event::Drained`](super::Event::Drained) follows when all sessions have acknowledged it, or
    /// after `wait`; from then on only peers that cannot acknowledge, and the sessions that it
    /// names, may still call. A Distributor without sessions is left instead, and which nodes know
    /// stays unknown. Does nothing while another drain waits.
    pub fn drain(&mut self, wait: Duration) {
        self.core.link.drain(self.net, wait);
        self.core.take_events(self.net);
    }

    /// Returns the number of connections that other nodes call over. After a drain they close as
    /// their callers have their results.
    pub fn callers(&self) -> usize {
        self.core.clients.len()
    }

    /// Returns the number of calls that have no result yet.
    pub fn calls_in_flight(&self) -> usize {
        self.core.caller.len()
    }

    /// Stops the node: closes its listener and, after what is queued for them, all connections. The
    /// Distributor removes the node then, if it did not drain. Calls in flight end as
    /// [`ConnectionLost`](super::CallError::ConnectionLost), new ones as
    /// [`Unavailable`](super::CallError::Unavailable).
    pub fn stop(&mut self) {
        if let Some(listener) = self.core.listener.take() {
            self.net.close_listener(listener);
        }
        self.core.link.stop(self.net);
        self.core.caller.stop(self.net);
        for (conn, ()) in self.core.clients.iter() {
            self.net.close(conn, Close::AfterFlush);
        }
    }

    fn call_target(
        &mut self,
        target: Target,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
        is_idempotent: bool,
    ) -> CallId {
        let new = NewCall {
            target,
            route,
            params,
            deadline: self.deadline(deadline),
            is_idempotent,
            request_id: self.request_id,
            posted_by: None,
        };
        (self.core.caller).call(self.net, &self.core.link.roster, new)
    }

    /// Returns the end of `wait`, or the deadline of the request that is being served.
    fn deadline(&self, wait: Duration) -> Time {
        let deadline = self.net.now() + wait;
        self.request_deadline
            .map_or(deadline, |outer| outer.min(deadline))
    }
}
