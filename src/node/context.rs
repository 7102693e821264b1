//! What a service can do: answer, call others, look around, leave.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::call::{CallId, NewCall, Target};
use super::news::LinkState;
use super::node_core::Core;
use super::roster::Roster;
use super::served::{ReplyTo, refuse};
use super::waits::WaitId;
use crate::protocol::{ErrorCode, Route, Token, write_reply};
use crate::reactor::{Close, Net};
use crate::time::Time;

/// All that a node can do, given to its [`Service`](super::Service) in each callback, and to its
/// owner between turns by [`Node::context`](super::Node::context).
#[derive(Debug)]
pub struct Context<'a> {
    core: &'a mut Core,
    net: &'a mut Net,
    /// Until when whoever is being served waits.
    pub(super) request_deadline: Option<Time>,
    /// The node that answered the call whose result is given.
    pub(super) responder: Option<SocketAddr>,
    /// What calls are to be called in logs.
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

    /// The loop: timers, the time, connections of your own.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// Who is there.
    pub fn roster(&self) -> &Roster {
        &self.core.link.roster
    }

    /// How it stands with the Distributor.
    pub fn link(&self) -> LinkState {
        self.core.link.state()
    }

    /// Answers a request. Nothing happens if its caller is gone, or if `results` can't be encoded.
    pub fn reply(&mut self, to: ReplyTo, results: &(impl Serialize + ?Sized)) {
        self.net
            .send_with(to.conn, |out| write_reply(out, to.key.as_str(), results));
    }

    /// Answers a request with what is wrong. Nothing happens if its caller is gone.
    pub fn refuse(&mut self, to: ReplyTo, code: ErrorCode, message: &str) {
        refuse(self.net, to.conn, to.key.as_str(), code, message);
    }

    /// Calls whoever serves `METHOD/path`: the exact one if anybody lists it, else the longest
    /// beginning of it. Of several nodes, one with few calls in flight. Its one
    /// result comes by [`on_result`](super::Service::on_result), at the latest when `deadline` has passed,
    /// or the time of the request that is being served.
    ///
    /// A request that certainly did not reach its node goes to another one by itself. A node whose
    /// host is a name is never called: to look it up would block. See
    /// [`Member::addr`](super::Member::addr).
    pub fn call(
        &mut self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::Anyone, route, params, deadline, false)
    }

    /// As [`Context::call`], for what does no harm if it is done twice: it is moved to another node
    /// even if the first may have done it.
    pub fn call_idempotent(
        &mut self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::Anyone, route, params, deadline, true)
    }

    /// Calls the node at this address and no other, listed or not. The connection to one that is
    /// not is kept for a while after its last call.
    pub fn call_at(
        &mut self,
        addr: SocketAddr,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::At(addr), route, params, deadline, false)
    }

    /// Returns the id that the next call will have, for callers that also send its key among the
    /// params, as Node.js gateways do.
    pub fn next_call(&self) -> CallId {
        self.core.caller.next_id()
    }

    /// In [`on_result`](super::Service::on_result), returns the node that the call was given to,
    /// the last one if there were several; `None` if there was none.
    pub fn responder(&self) -> Option<SocketAddr> {
        self.responder
    }

    /// What the calls that are made through this are called in the logs of all who have to do with
    /// them. Those made while a request is served have its name by themselves.
    pub fn set_request_id(&mut self, request_id: &'a str) {
        self.request_id = Some(request_id);
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
        for index in 0..self.core.link.roster.places_named(name).len() {
            let roster = &self.core.link.roster;
            let place = roster.places_named(name).get(index);
            let member = place.and_then(|place| roster.members().get(*place));
            if let Some(addr) = member.and_then(|member| member.addr) {
                calls.push(self.call_at(addr, route, params, deadline));
            }
        }
    }

    /// Notifies every node with this name; no answer is expected. What can't be sent is lost.
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

    /// Waits until for each of `routes` there is somebody who lists exactly it
    /// and can be called. Returns at once: nothing blocks.
    /// Told by [`Event::Waited`](super::Event::Waited), at the latest when `timeout` has passed.
    pub fn wait_for(&mut self, routes: &[Route<'_>], timeout: Duration) -> WaitId {
        self.core.wait_for(self.net, routes, timeout)
    }

    /// Has another [token](super::Config::token) admit the node, from when it registers next.
    pub fn set_token(&mut self, token: Option<Token<'static>>) {
        self.core.link.config.token = token;
    }

    /// Leaves in good order: the node goes out of the list but stays connected, and serves on.
    /// [`Event::Drained`](super::Event::Drained) tells who knows, as soon as all do or after `wait`.
    /// From then on nobody calls it but those who can't acknowledge, and those it names as late.
    /// A Distributor without sessions is left instead, and who knows stays unknown. While one drain
    /// waits, another changes nothing.
    pub fn drain(&mut self, wait: Duration) {
        self.core.drain(self.net, wait);
    }

    /// Connections on which others may still ask for something. After a drain they go as their
    /// callers have what they waited for.
    pub fn callers(&self) -> usize {
        self.core.clients.len()
    }

    /// Returns the number of calls that have no result yet.
    pub fn calls_in_flight(&self) -> usize {
        self.core.caller.len()
    }

    /// Ends the node: closes its listener and, after what is queued for them, all connections. The
    /// Distributor learns of it by that, if the node did not drain. Calls in flight end as
    /// [`ConnectionLost`](super::CallError::ConnectionLost), new ones have nobody to go to.
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
        let deadline = self.net.now() + deadline;
        let new = NewCall {
            target,
            route,
            params,
            deadline: self
                .request_deadline
                .map_or(deadline, |outer| outer.min(deadline)),
            is_idempotent,
            request_id: self.request_id,
            posted_by: None,
        };
        (self.core.caller).call(self.net, &self.core.link.roster, new)
    }
}
