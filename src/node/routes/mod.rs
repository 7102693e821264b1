//! The service that a [`Builder`](super::Builder) makes of its handlers.

mod calls;
mod connections;
mod context;
mod handlers;
mod request;
mod table;

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::rc::Rc;

use super::call_error::CallError;
use super::calls::CallId;
use super::context::Context;
use super::error::Error;
use super::event::Event;
use super::served::{ReplyTo, Request, send_error};
use super::service::Service;
use super::task_turn;
use super::tasks::{TaskContext, TaskRequest, too_many};
use super::template::Template;
use crate::protocol::{ErrorCode, Reply};
use crate::reactor::{CloseReason, ConnId, Origin, TimerId};
use context::{Pending, Timed};
use table::RouteTable;

pub use connections::Connections;
pub use context::ServiceContext;
pub(super) use handlers::{Handler, Hooks};
pub use request::RoutedRequest;

/// A service with routes. [`Node::builder`](super::Node::builder) makes nodes with it.
pub struct Routes<T = ()> {
    table: RouteTable,
    endpoints: Vec<Endpoint<T>>,
    state: Rc<RefCell<T>>,
    hooks: Hooks<T>,
    pending: Pending<T>,
}

struct Endpoint<T> {
    handler: Handler<T>,
    template: Rc<Template>,
}

impl<T> fmt::Debug for Routes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> Routes<T> {
    pub(super) fn new(
        state: T,
        routes: Vec<(Template, Handler<T>)>,
        hooks: Hooks<T>,
    ) -> Result<Routes<T>, Error> {
        let mut table = RouteTable::default();
        let mut endpoints = Vec::new();
        for (template, handler) in routes {
            table.insert(&template, endpoints.len())?;
            let template = Rc::new(template);
            endpoints.push(Endpoint { handler, template });
        }
        Ok(Routes {
            table,
            endpoints,
            state: Rc::new(RefCell::new(state)),
            hooks,
            pending: Pending::default(),
        })
    }

    /// Returns the state of the service.
    ///
    /// # Panics
    ///
    /// Panics if a task keeps the state borrowed, which it can only by leaking what it borrowed.
    pub fn state(&self) -> RefMut<'_, T> {
        self.state.borrow_mut()
    }

    /// Arms the timers, and calls the function for the start.
    pub(super) fn started(&mut self, cx: &mut Context<'_>) {
        for (period, act) in self.hooks.every.drain(..) {
            let add = |cx: &mut ServiceContext<'_, T>| cx.every(period, act);
            self.pending.enter(cx.reborrow(), &self.state, add);
        }
        if let Some(act) = self.hooks.on_start.take() {
            self.pending.enter(cx.reborrow(), &self.state, act);
        }
    }

    /// Calls `act` with the operations of the service.
    pub(super) fn enter<R>(
        &mut self,
        cx: Context<'_>,
        act: impl FnOnce(&mut ServiceContext<'_, T>) -> R,
    ) -> Option<R> {
        let state = self.state.try_borrow_mut().ok()?;
        let (shared, pending) = (&self.state, &mut self.pending);
        Some(act(&mut ServiceContext::new(
            cx, shared, state, pending, None,
        )))
    }

    /// Calls the part of the service for its own connections.
    fn connections<R: Default>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut dyn Connections<T>, &mut ServiceContext<'_, T>) -> R,
    ) -> R {
        let mut result = R::default();
        if let Some(connections) = &mut self.hooks.connections {
            self.pending.enter(cx.reborrow(), &self.state, |cx| {
                result = act(&mut **connections, cx);
            });
        }
        result
    }
}

impl<T: 'static> Service for Routes<T> {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let route = &request.route;
        let no_route = "no such route";
        let Some(router) = self.table.of_method(&route.method) else {
            return cx.refuse(reply_to, ErrorCode::NotFound, no_route);
        };
        let Ok(found) = router.at(&route.path) else {
            return cx.refuse(reply_to, ErrorCode::NotFound, no_route);
        };
        let Some(endpoint) = self.endpoints.get_mut(*found.value) else {
            return cx.refuse(reply_to, ErrorCode::NotFound, no_route);
        };
        match &mut endpoint.handler {
            Handler::Plain(handler) => {
                let request = RoutedRequest {
                    request,
                    path_params: &found.params,
                };
                let Ok(state) = self.state.try_borrow_mut() else {
                    let error = Error::internal("a task never returned the state that it borrowed");
                    let route = Some((&*route.method, &*route.path));
                    error.log(route, request.correlation(), false);
                    return send_error(cx.net, &reply_to, &error);
                };
                let (shared, pending) = (&self.state, &mut self.pending);
                let cx = cx.reborrow();
                let mut cx = ServiceContext::new(cx, shared, state, pending, Some(reply_to));
                handler(&mut cx, &request);
            }
            Handler::Task(handler) => {
                let hub = &cx.core.hub;
                if !hub.has_room() {
                    return send_error(cx.net, &reply_to, &too_many());
                }
                let path_params = found.params.iter().map(|(_, value)| {
                    let start = value.as_ptr().addr() - route.path.as_ptr().addr();
                    start..start + value.len()
                });
                let data = hub.pool.borrow_mut().take(|data| {
                    data.set_request(request, reply_to, &endpoint.template, path_params);
                });
                let request = TaskRequest::new(&data);
                let future = handler(TaskContext::new(hub, &self.state), request);
                task_turn::start(cx.core, cx.net, future, data);
            }
        }
    }

    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let unclaimed = self.pending.resume(cx, &self.state, call, result);
        if let (Some(result), Some(act)) = (unclaimed, &mut self.hooks.on_result) {
            let act = |cx: &mut ServiceContext<'_, T>| act(cx, call, result);
            self.pending.enter(cx.reborrow(), &self.state, act);
        }
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if let Some(act) = &mut self.hooks.on_event {
            let act = |cx: &mut ServiceContext<'_, T>| act(cx, event);
            self.pending.enter(cx.reborrow(), &self.state, act);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId, tag: u64) {
        match self.pending.timers.remove(&timer) {
            Some(Timed::Once(act)) => self.pending.enter(cx.reborrow(), &self.state, act),
            Some(Timed::Every {
                period,
                due,
                mut act,
            }) => {
                self.pending.enter(cx.reborrow(), &self.state, &mut act);
                // The period is kept, unless the timer is late by more than one.
                let due = (due + period).max(cx.net.now());
                let timer = cx.arm(due, tag);
                let timed = Timed::Every { period, due, act };
                self.pending.timers.insert(timer, timed);
            }
            None => {
                if let Some(act) = &mut self.hooks.on_timer {
                    let act = |cx: &mut ServiceContext<'_, T>| act(cx, timer, tag);
                    self.pending.enter(cx.reborrow(), &self.state, act);
                }
            }
        }
    }

    fn on_open(&mut self, cx: &mut Context<'_>, conn: ConnId, origin: Origin) {
        self.connections(cx, |service, cx| service.on_open(cx, conn, origin));
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, conn: ConnId, frame: &[u8]) {
        self.connections(cx, |service, cx| service.on_frame(cx, conn, frame));
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, conn: ConnId, bytes: &[u8]) -> usize {
        if self.hooks.connections.is_none() {
            return bytes.len();
        }
        self.connections(cx, |service, cx| service.on_bytes(cx, conn, bytes))
    }

    fn on_drained(&mut self, cx: &mut Context<'_>, conn: ConnId) {
        self.connections(cx, |service, cx| service.on_drained(cx, conn));
    }

    fn on_close(&mut self, cx: &mut Context<'_>, conn: ConnId, why: CloseReason) {
        self.connections(cx, |service, cx| service.on_close(cx, conn, why));
    }
}
