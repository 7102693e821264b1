//! The operations of a routed service.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::super::call::{Call, CallAll};
use super::super::call_error::CallError;
use super::super::calls::CallId;
use super::super::context::Context;
use super::super::correlation::OwnedCorrelation;
use super::super::error::Error;
use super::super::panics::{caught, caught_and_logged};
use super::super::served::{Replied, ReplyTo, no_destination, send_error, send_results};
use super::super::tasks::{TaskContext, TaskData, poll_guarded, too_many};
use super::super::waiter::Waiter;
use crate::protocol::Reply;
use crate::reactor::TimerId;
use crate::time::Time;

/// Gives a handler access to its node and to the state of its service. Dereferences to [`Context`].
pub struct ServiceContext<'a, T = ()> {
    cx: Context<'a>,
    state: RefMut<'a, T>,
    shared: &'a Rc<RefCell<T>>,
    pub(super) pending: &'a mut Pending<T>,
    /// Destination of the reply, until it is sent or taken.
    reply_to: Option<ReplyTo>,
    /// The destination was taken: a reply may follow.
    is_taken: Option<ReplyTo>,
    serves_request: bool,
}

/// Continuations of calls, and functions to be called later.
pub(super) struct Pending<T> {
    continuations: HashMap<CallId, Continuation<T>>,
    groups: HashMap<CallId, Group<T>>,
    pub(super) timers: HashMap<TimerId, Timed<T>>,
}

/// A function that is called once, as when a timer fires.
pub(super) type ActOnce<T> = Box<dyn FnOnce(&mut ServiceContext<'_, T>)>;
/// A function that is called at every period of a timer.
pub(super) type Act<T> = Box<dyn FnMut(&mut ServiceContext<'_, T>)>;
pub(super) type Resume<T> = Box<dyn FnOnce(&mut ServiceContext<'_, T>, CallResult<'_>)>;
pub(super) type CallResult<'r> = Result<Reply<'r>, CallError<'r>>;

type ResumeAll<T> =
    Box<dyn FnOnce(&mut ServiceContext<'_, T>, Vec<(SocketAddr, CallResult<'static>)>)>;

pub(super) enum Timed<T> {
    Once(ActOnce<T>),
    Every {
        period: Duration,
        due: Time,
        act: Act<T>,
    },
}

struct Continuation<T> {
    scope: Scope,
    then: Then<T>,
}

enum Then<T> {
    One(Resume<T>),
    /// The call is one of a group, which has the key of its first call.
    OfGroup(CallId, SocketAddr),
}

struct Group<T> {
    missing: usize,
    results: Vec<(SocketAddr, CallResult<'static>)>,
    then: ResumeAll<T>,
}

/// The request that a continuation serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    deadline: Option<Time>,
    correlation: OwnedCorrelation,
    serves_request: bool,
}

impl<T> Default for Pending<T> {
    fn default() -> Pending<T> {
        Pending {
            continuations: HashMap::new(),
            groups: HashMap::new(),
            timers: HashMap::new(),
        }
    }
}

impl<T> fmt::Debug for ServiceContext<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceContext")
            .field("cx", &self.cx)
            .finish_non_exhaustive()
    }
}

impl<'a, T> Deref for ServiceContext<'a, T> {
    type Target = Context<'a>;

    fn deref(&self) -> &Context<'a> {
        &self.cx
    }
}

impl<'a, T> DerefMut for ServiceContext<'a, T> {
    fn deref_mut(&mut self) -> &mut Context<'a> {
        &mut self.cx
    }
}

impl<'a, T: 'static> ServiceContext<'a, T> {
    pub(super) fn new(
        cx: Context<'a>,
        shared: &'a Rc<RefCell<T>>,
        state: RefMut<'a, T>,
        pending: &'a mut Pending<T>,
        reply_to: Option<ReplyTo>,
    ) -> ServiceContext<'a, T> {
        ServiceContext {
            cx,
            state,
            shared,
            pending,
            serves_request: reply_to.is_some(),
            reply_to,
            is_taken: None,
        }
    }

    /// Returns the state of the service.
    pub fn state(&mut self) -> &mut T {
        &mut self.state
    }

    /// Replies to the request before the handler returns. The handler returns what this returns, or
    /// continues to work; any later results are discarded. Results that borrow from the request can
    /// only be sent like this.
    ///
    /// # Errors
    ///
    /// Returns an error with [`Internal`](crate::protocol::ErrorCode::Internal) if the results
    /// cannot be encoded, or if the request was already replied to.
    pub fn reply(&mut self, results: &(impl Serialize + ?Sized)) -> Result<Replied, Error> {
        let to = self.reply_to.as_ref().ok_or_else(no_destination)?;
        send_results(self.cx.net, to, results)?;
        self.reply_to = None;
        Ok(Replied::new())
    }

    /// Takes over the reply: the handler replies later, with [`ServiceContext::reply_to`]. Results
    /// that it returns are discarded; an error is still sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the request was already replied to.
    pub fn reply_later(&mut self) -> Result<(ReplyTo, Replied), Error> {
        let to = self.reply_to.take().ok_or_else(no_destination)?;
        self.is_taken = Some(to.clone());
        Ok((to, Replied::new()))
    }

    /// Sends no reply, for notifications: their callers expect none.
    pub fn no_reply(&mut self) -> Replied {
        self.reply_to = None;
        Replied::new()
    }

    /// Replies to a request of [`ServiceContext::reply_later`]. Results that cannot be encoded are
    /// logged, and answered with [`Internal`](crate::protocol::ErrorCode::Internal). Does nothing
    /// if the caller is gone.
    pub fn reply_to<R: Serialize>(&mut self, to: ReplyTo, result: Result<R, Error>) {
        let sent = result.and_then(|results| send_results(self.cx.net, &to, &results));
        if let Err(error) = sent {
            error.log(None, self.cx.correlation, false);
            send_error(self.cx.net, &to, &error);
        }
    }

    /// Replies with the result of the handler of a route.
    pub(super) fn finish<R: Serialize>(
        &mut self,
        method: &str,
        path: &str,
        result: Result<R, Error>,
    ) {
        if result.is_ok() && self.reply_to.is_none() {
            return;
        }
        // Encoding the results calls code of the service.
        if let Err(error) = caught(|| self.finish_with(method, path, result)) {
            self.finish_with::<()>(method, path, Err(error));
        }
    }

    fn finish_with<R: Serialize>(&mut self, method: &str, path: &str, result: Result<R, Error>) {
        let was_answered = self.reply_to.is_none() && self.is_taken.is_none();
        let result = result.and_then(|results| match &self.reply_to {
            Some(to) => send_results(self.cx.net, to, &results),
            None => Ok(()),
        });
        if let Err(error) = result {
            error.log(Some((method, path)), self.cx.correlation, was_answered);
            if let Some(to) = self.reply_to.take().or(self.is_taken.take()) {
                send_error(self.cx.net, &to, &error);
            }
        }
    }

    /// Prepares a call with the method `GET`. [`Call::then`] or [`Call::send`] makes it.
    pub fn get(&mut self, path: &str) -> Call<&mut ServiceContext<'a, T>> {
        self.request("GET", path)
    }

    /// Prepares a call with the method `POST`, as [`ServiceContext::get`].
    pub fn post(&mut self, path: &str) -> Call<&mut ServiceContext<'a, T>> {
        self.request("POST", path)
    }

    /// Prepares a call with the method `PUT`, as [`ServiceContext::get`].
    pub fn put(&mut self, path: &str) -> Call<&mut ServiceContext<'a, T>> {
        self.request("PUT", path)
    }

    /// Prepares a call with the method `PATCH`, as [`ServiceContext::get`].
    pub fn patch(&mut self, path: &str) -> Call<&mut ServiceContext<'a, T>> {
        self.request("PATCH", path)
    }

    /// Prepares a call with the method `DELETE`, as [`ServiceContext::get`].
    pub fn delete(&mut self, path: &str) -> Call<&mut ServiceContext<'a, T>> {
        self.request("DELETE", path)
    }

    /// Prepares a call with any method, as [`ServiceContext::get`].
    pub fn request(&mut self, method: &str, path: &str) -> Call<&mut ServiceContext<'a, T>> {
        let buffer = self.cx.core.caller.take_buffer();
        Call::new(self, buffer, method, path)
    }

    /// Starts a task. It does not end with the request that is being served, nor with its caller.
    /// An error that it returns is logged. A node that shuts down waits for the tasks of requests.
    /// Tasks that are started outside a request run in the background, and end with the node.
    ///
    /// # Errors
    ///
    /// Returns an error with [`Busy`](crate::protocol::ErrorCode::Busy) if there are
    /// [`Config::max_tasks`](super::super::Config::max_tasks) tasks.
    pub fn spawn<F>(&mut self, task: F) -> Result<(), Error>
    where
        F: AsyncFnOnce(TaskContext<T>) -> Result<(), Error> + 'static,
    {
        let hub = &self.cx.core.hub;
        if !hub.has_room() {
            return Err(too_many());
        }
        let correlation = self.cx.correlation;
        let is_awaited = self.serves_request;
        let fill = |data: &mut TaskData| {
            data.set_correlation(correlation);
            data.is_awaited = is_awaited;
        };
        let data = hub.pool.borrow_mut().take(fill);
        let (cx, of_task) = (TaskContext::new(hub, self.shared), Rc::clone(hub));
        let state = Rc::clone(self.shared);
        let future = Box::pin(async move {
            let mut task = pin!(task(cx));
            let result = poll_fn(|waker| poll_guarded(&state, task.as_mut(), waker)).await;
            if let Err(error) = result {
                of_task.log_failure(&error);
            }
        });
        hub.spawn(future, data);
        // The end of a turn starts it.
        self.cx.core.wake_next_turn(self.cx.net);
        Ok(())
    }

    /// Calls `act` after this time, once.
    pub fn after(
        &mut self,
        time: Duration,
        act: impl FnOnce(&mut ServiceContext<'_, T>) + 'static,
    ) {
        let due = self.cx.net.now() + time;
        let timer = self.cx.arm(due, 0);
        self.pending
            .timers
            .insert(timer, Timed::Once(Box::new(act)));
    }

    /// Calls `act` each time that this period has passed.
    pub(super) fn every(&mut self, period: Duration, act: Act<T>) {
        let due = self.cx.net.now() + period;
        let timer = self.cx.arm(due, 0);
        let timed = Timed::Every { period, due, act };
        self.pending.timers.insert(timer, timed);
    }

    /// Makes a call whose result is for [`Builder::on_result`](super::super::Builder::on_result).
    pub(super) fn make_call(&mut self, call: Call<()>) -> CallId {
        self.cx.make(call)
    }

    pub(super) fn make_then(&mut self, call: Call<()>, act: Resume<T>) -> CallId {
        let id = self.cx.make(call);
        let continuation = Continuation {
            scope: self.scope(),
            then: Then::One(act),
        };
        self.pending.continuations.insert(id, continuation);
        id
    }

    /// Makes the calls when all nodes with the name are in view, or at the deadline.
    pub(super) fn make_all_then(&mut self, mut call: CallAll<()>, act: ResumeAll<T>) {
        let deadline = self.cx.call_deadline(call.call.timeout);
        let (core, net) = (&mut *self.cx.core, &mut *self.cx.net);
        match core.await_name(net, &call.name, deadline, Waiter::Service) {
            Some(id) => {
                let act = move |cx: &mut ServiceContext<'_, T>, _: CallResult<'_>| {
                    call.call.timeout = Some(deadline.saturating_since(cx.net.now()));
                    cx.make_all_now(call, act);
                };
                let scope = self.scope();
                let then = Then::One(Box::new(act) as Resume<T>);
                let continuation = Continuation { scope, then };
                self.pending.continuations.insert(id, continuation);
            }
            None => self.make_all_now(call, act),
        }
    }

    /// Makes the calls. [`Pending::resume`] collects their results.
    fn make_all_now(&mut self, call: CallAll<()>, act: ResumeAll<T>) {
        let calls = self.cx.make_all(call);
        let Some((_, first)) = calls.first().copied() else {
            return self.after(Duration::ZERO, |cx| act(cx, Vec::new()));
        };
        let group = Group {
            missing: calls.len(),
            results: Vec::with_capacity(calls.len()),
            then: act,
        };
        self.pending.groups.insert(first, group);
        let scope = self.scope();
        for (addr, id) in calls {
            let then = Then::OfGroup(first, addr);
            let scope = scope.clone();
            let continuation = Continuation { scope, then };
            self.pending.continuations.insert(id, continuation);
        }
    }

    fn scope(&self) -> Scope {
        Scope {
            deadline: self.cx.request_deadline,
            correlation: self.cx.correlation.into_owned(),
            serves_request: self.serves_request,
        }
    }
}

impl<T: 'static> Pending<T> {
    /// Passes a result to the continuation of its call. Returns the result if it has none.
    pub(super) fn resume<'r>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Rc<RefCell<T>>,
        call: CallId,
        result: CallResult<'r>,
    ) -> Option<CallResult<'r>> {
        let Some(Continuation { scope, then }) = self.continuations.remove(&call) else {
            return Some(result);
        };
        let mut cx = cx.reborrow();
        cx.request_deadline = scope.deadline;
        cx.correlation = scope.correlation.as_ref();
        match then {
            Then::One(act) => self.enter(cx, shared, |cx| {
                cx.serves_request = scope.serves_request;
                act(cx, result);
            }),
            Then::OfGroup(first, addr) => {
                let group = self.groups.get_mut(&first)?;
                let result = result.map(Reply::into_owned).map_err(CallError::into_owned);
                group.results.push((addr, result));
                group.missing -= 1;
                if group.missing == 0
                    && let Some(group) = self.groups.remove(&first)
                {
                    self.enter(cx, shared, |cx| {
                        cx.serves_request = scope.serves_request;
                        (group.then)(cx, group.results);
                    });
                }
            }
        }
        None
    }

    /// Calls a part of the service. A panic is logged.
    pub(super) fn enter(
        &mut self,
        cx: Context<'_>,
        shared: &Rc<RefCell<T>>,
        act: impl FnOnce(&mut ServiceContext<'_, T>),
    ) {
        match shared.try_borrow_mut() {
            Ok(state) => {
                let mut cx = ServiceContext::new(cx, shared, state, self, None);
                caught_and_logged(|| act(&mut cx));
            }
            Err(_) => tracing::error!(
                "callback skipped: a task never returned the state that it borrowed"
            ),
        }
    }
}
