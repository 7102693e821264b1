//! The operations of a node: reply, call, inspect the roster, drain, stop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::call::{Call, CallAll};
use super::calls::{CallId, NewCall, Target};
use super::correlation::Correlation;
use super::event::LinkState;
use super::handle::Handle;
use super::node_core::Core;
use super::roster::Roster;
use super::served::{ReplyTo, refuse, send_error, send_results};
use super::waiter::Waiter;
use super::waits::WaitId;
use crate::protocol::{ErrorCode, Route, Token, TraceContext};
use crate::reactor::{ConnId, ConnectOptions, ListenOptions, ListenerId, Net, Owner, TimerId};
use crate::time::Time;

/// Gives access to a node. Each callback of a [`Service`](super::Service) receives one; between
/// turns, [`Node::context`](super::Node::context) returns one.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) core: &'a mut Core,
    pub(super) net: &'a mut Net,
    /// Deadline of the request that is being served.
    pub(super) request_deadline: Option<Time>,
    /// Node that replied to the call whose result is reported.
    pub(super) responder: Option<SocketAddr>,
    /// Fields that the calls made through this context pass on.
    pub(super) correlation: Correlation<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn new(core: &'a mut Core, net: &'a mut Net) -> Context<'a> {
        core.claim_owners(net);
        Context {
            core,
            net,
            request_deadline: None,
            responder: None,
            correlation: Correlation::default(),
        }
    }

    pub(super) fn reborrow(&mut self) -> Context<'_> {
        Context {
            core: self.core,
            net: self.net,
            request_deadline: self.request_deadline,
            responder: self.responder,
            correlation: self.correlation,
        }
    }

    /// Returns the loop: the time, and operations on your own connections and timers. Create them
    /// with [`Context::arm`], [`Context::connect`] and [`Context::listen`], or under
    /// [`Context::owner`]: those of another owner are not passed to your service.
    pub fn net(&mut self) -> &mut Net {
        self.net
    }

    /// Returns the owner of your own connections, listeners and timers. It differs from the owner
    /// of the node itself, so tags never collide.
    pub fn owner(&mut self) -> Owner {
        self.core.claim_owners(self.net).service
    }

    /// Arms a timer of your own: [`on_timer`](super::Service::on_timer) is called with `tag` once
    /// `deadline` has passed. [`Net::disarm`] disarms it.
    pub fn arm(&mut self, deadline: Time, tag: u64) -> TimerId {
        let owner = self.owner();
        self.net.arm(owner, deadline, tag)
    }

    /// Starts to connect, as [`Net::connect`], with a connection of your own.
    pub fn connect(&mut self, addr: SocketAddr, options: ConnectOptions) -> ConnId {
        let owner = self.owner();
        self.net.connect(addr, ConnectOptions { owner, ..options })
    }

    /// Listens, as [`Net::listen`], with a listener of your own.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Net::listen`].
    pub fn listen(&mut self, addr: SocketAddr, options: ListenOptions) -> io::Result<ListenerId> {
        let owner = self.owner();
        self.net.listen(addr, ListenOptions { owner, ..options })
    }

    /// Returns whether the node is ready for requests: it listens, its registration was accepted,
    /// and it neither drains nor stops. A node without a Distributor is ready once it listens. A
    /// lost link does not end readiness, since the node still serves.
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Returns the view of all live nodes.
    pub fn roster(&self) -> &Roster {
        &self.core.link.roster
    }

    /// Returns the state of the link to the Distributor.
    pub fn link(&self) -> LinkState {
        self.core.link.state()
    }

    /// Returns the address that the node listens on.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.net.local_addr(self.core.listener?)
    }

    /// Returns a handle with which other threads make calls through the node.
    pub fn handle(&self) -> Handle {
        let calls = self.core.posted.0.clone();
        let waker = self.net.waker();
        Handle { calls, waker }
    }

    /// Replies to a request. Does nothing if its caller is gone. If `results` cannot be encoded,
    /// the reply is [`ErrorCode::Internal`], which is logged.
    pub fn reply(&mut self, to: ReplyTo, results: &(impl Serialize + ?Sized)) {
        if let Err(error) = send_results(self.net, &to, results) {
            error.log(None, self.correlation, false);
            send_error(self.net, &to, &error);
        }
    }

    /// Replies to a request with an error. Does nothing if its caller is gone.
    pub fn refuse(&mut self, to: ReplyTo, code: ErrorCode, message: &str) {
        refuse(self.net, to.conn, to.key.as_str(), code, message);
    }

    /// Prepares a call with the method `GET`, as [`Context::request`].
    pub fn get(&mut self, path: &str) -> Call<&mut Context<'a>> {
        self.request("GET", path)
    }

    /// Prepares a call with the method `POST`, as [`Context::request`].
    pub fn post(&mut self, path: &str) -> Call<&mut Context<'a>> {
        self.request("POST", path)
    }

    /// Prepares a call with the method `PUT`, as [`Context::request`].
    pub fn put(&mut self, path: &str) -> Call<&mut Context<'a>> {
        self.request("PUT", path)
    }

    /// Prepares a call with the method `PATCH`, as [`Context::request`].
    pub fn patch(&mut self, path: &str) -> Call<&mut Context<'a>> {
        self.request("PATCH", path)
    }

    /// Prepares a call with the method `DELETE`, as [`Context::request`].
    pub fn delete(&mut self, path: &str) -> Call<&mut Context<'a>> {
        self.request("DELETE", path)
    }

    /// Prepares a call of a route. [`Call::send`] makes it.
    pub fn request(&mut self, method: &str, path: &str) -> Call<&mut Context<'a>> {
        let buffer = self.core.caller.take_buffer();
        Call::new(self, buffer, method, path)
    }

    /// Calls a node that lists the route, or otherwise its longest listed prefix. Of several nodes,
    /// it chooses one with few calls in flight. [`on_result`](super::Service::on_result) receives
    /// the one result, after `deadline` at the latest, or at the deadline of the request that is
    /// being served.
    ///
    /// A request that certainly did not reach its node is sent to another one. Nodes whose host is
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

    /// Calls as [`Context::call`], for idempotent requests: the call is sent to another node even
    /// if the first may have served it.
    pub fn call_idempotent(
        &mut self,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
        deadline: Duration,
    ) -> CallId {
        self.call_target(Target::Anyone, route, params, deadline, true)
    }

    /// Calls the node at this address and no other, listed or not. The connection to an unlisted
    /// node is kept for 30 to 60 s after its last call.
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
    ///
    /// It calls the nodes that are known now. Under [`Interest::Calls`](super::Interest::Calls) the
    /// first call of a name only subscribes to it; [`Call::to_all`] waits for the nodes, if its
    /// results are awaited or passed to `then`.
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
        roster.interests().want_name(name);
        let text = caller.encode(route, params, self.correlation);
        let new = |addr, text| NewCall {
            target: Target::At(addr),
            text,
            deadline,
            is_idempotent: false,
            waiter: Waiter::Service,
        };
        caller.call_all(self.net, roster, name, &text, new, |_, id| calls.push(id));
    }

    /// Returns the id of the next call. Callers can send its key in the params, as Node.js gateways
    /// do.
    pub fn next_call(&self) -> CallId {
        self.core.caller.next_id()
    }

    /// Returns the node that the call of the current result was last assigned to. `None` outside
    /// [`on_result`](super::Service::on_result), and if there was none.
    pub fn responder(&self) -> Option<SocketAddr> {
        self.responder
    }

    /// Sets the request id of the calls made through this context. It appears in the logs of all
    /// nodes involved. Calls made while a request is served have the id of that request. Nodes
    /// ignore one of more than 128 bytes.
    pub fn set_request_id(&mut self, request_id: &'a str) {
        self.correlation.request_id = Some(request_id);
    }

    /// Returns the trace context that calls made through this context have: that of the request
    /// that is served, or the one that was set.
    pub fn trace(&self) -> Option<&'a TraceContext<'a>> {
        self.correlation.trace
    }

    /// Sets the trace context of the calls made through this context, such as that of a span of
    /// your own. Calls made while a request is served have the trace context of that request.
    pub fn set_trace(&mut self, trace: &'a TraceContext<'a>) {
        self.correlation.trace = Some(trace);
    }

    /// Notifies every node with this name, without a reply. Notifications that cannot be sent are
    /// lost. Returns the number of nodes that were notified.
    ///
    /// Under [`Interest::Calls`](super::Interest::Calls), the first notification of a name is
    /// queued until the Distributor has answered the subscription, and not counted.
    pub fn notify(
        &mut self,
        name: &str,
        route: &Route<'_>,
        params: &(impl Serialize + ?Sized),
    ) -> usize {
        let roster = &self.core.link.roster;
        let awaits = roster.interests().want_name(name);
        (self.core.caller).notify_all(self.net, roster, name, route, params, awaits)
    }

    /// Waits until each of `routes` is listed by a node that can be called. Returns at once;
    /// [`Event::Waited`](super::Event::Waited) follows, after `timeout` at the latest.
    pub fn wait_for(&mut self, routes: &[Route<'_>], timeout: Duration) -> WaitId {
        let id = self.core.wait_for(self.net, routes, timeout);
        self.core.take_events(self.net);
        id
    }

    /// Sets the [token](super::Config::token) for the next registration.
    pub fn set_token(&mut self, token: Option<Token<'static>>) {
        self.core.link.set_token(token);
    }

    /// Drains the node: it is removed from the list, but stays connected, and continues to serve.
    /// [`Event::Drained`](super::Event::Drained) follows when all sessions have acknowledged it, or
    /// after `wait`; from then on only peers that cannot acknowledge, and the sessions that the
    /// event lists, may still call. From a Distributor without sessions the node disconnects
    /// instead, and acknowledgements are unknown. Does nothing during another drain.
    pub fn drain(&mut self, wait: Duration) {
        self.core.link.drain(self.net, wait);
        self.core.take_events(self.net);
    }

    /// Returns the number of connections over which other nodes call. After a drain they are closed
    /// once their callers have their results.
    pub fn callers(&self) -> usize {
        self.core.clients.len()
    }

    /// Returns the number of calls that have no result yet.
    pub fn calls_in_flight(&self) -> usize {
        self.core.caller.len()
    }

    /// Returns the number of tasks.
    pub fn tasks(&self) -> usize {
        self.core.hub.tasks.get()
    }

    /// Stops the node: closes its listener and, once their queues are written, all connections. The
    /// Distributor then removes the node, unless it was drained. Calls in flight end as
    /// [`ConnectionLost`](super::CallError::ConnectionLost), new ones as
    /// [`Unavailable`](super::CallError::Unavailable).
    pub fn stop(&mut self) {
        self.core.stop(self.net);
    }

    /// Ends the node in order: [drains](Context::drain) it, waits for its tasks, and
    /// [stops](Context::stop) it, all within this time. Turn the reactor until
    /// [`Node::has_left`](super::Node::has_left).
    ///
    /// A node without a link to a Distributor stops as soon as its tasks have ended. From a
    /// Distributor without sessions it disconnects, and serves for one more second.
    pub fn shut_down(&mut self, within: Duration) {
        self.core.shut_down(self.net, within);
    }

    /// Makes a call. Its result is given to the service.
    pub(super) fn make(&mut self, mut call: Call<()>) -> CallId {
        call.add_correlation(self.correlation);
        let new = NewCall {
            target: call.target,
            text: call.text,
            deadline: self.call_deadline(call.timeout),
            is_idempotent: call.is_idempotent,
            waiter: Waiter::Service,
        };
        self.core.call(self.net, new)
    }

    /// Calls each node with a name. Returns their addresses and the calls.
    pub(super) fn make_all(&mut self, all: CallAll<()>) -> Vec<(SocketAddr, CallId)> {
        let mut call = all.call;
        call.add_correlation(self.correlation);
        let deadline = self.call_deadline(call.timeout);
        let is_idempotent = call.is_idempotent;
        let new = |addr, text| NewCall {
            target: Target::At(addr),
            text,
            deadline,
            is_idempotent,
            waiter: Waiter::Service,
        };
        let mut calls = Vec::new();
        let each = |addr, id| calls.push((addr, id));
        let (caller, roster) = (&mut self.core.caller, &self.core.link.roster);
        roster.interests().want_name(&all.name);
        caller.call_all(self.net, roster, &all.name, &call.text, new, each);
        calls
    }

    pub(super) fn call_deadline(&self, timeout: Option<Duration>) -> Time {
        self.deadline(timeout.unwrap_or(self.core.link.config.call_timeout))
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
            text: self.core.caller.encode(route, params, self.correlation),
            deadline: self.deadline(deadline),
            is_idempotent,
            waiter: Waiter::Service,
        };
        self.core.call(self.net, new)
    }

    /// Returns the end of `wait`, or the deadline of the request that is being served.
    fn deadline(&self, wait: Duration) -> Time {
        let deadline = self.net.now() + wait;
        self.request_deadline
            .map_or(deadline, |outer| outer.min(deadline))
    }
}

impl Call<&mut Context<'_>> {
    /// Makes the call. [`Service::on_result`](super::Service::on_result) receives its result.
    pub fn send(self) -> CallId {
        let (cx, call) = self.split();
        cx.make(call)
    }
}

impl CallAll<&mut Context<'_>> {
    /// Makes the calls, and returns them with the addresses of their nodes.
    /// [`Service::on_result`](super::Service::on_result) receives their results.
    pub fn send(self) -> Vec<(SocketAddr, CallId)> {
        let (cx, call) = self.split();
        cx.make_all(call)
    }
}
