//! Handlers without their types.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::super::call_error::CallError;
use super::super::calls::CallId;
use super::super::error::Error;
use super::super::event::Event;
use super::super::panics::caught;
use super::super::tasks::{TaskContext, TaskFuture, TaskRequest, poll_guarded};
use super::connections::Connections;
use super::context::{Act, ActOnce, ServiceContext};
use super::request::RoutedRequest;
use crate::protocol::Reply;
use crate::reactor::TimerId;

/// The handler of a route. It replies.
pub(in crate::node) enum Handler<T> {
    Plain(PlainHandler<T>),
    Task(Box<dyn Fn(TaskContext<T>, TaskRequest) -> TaskFuture>),
}

pub(in crate::node) type PlainHandler<T> =
    Box<dyn FnMut(&mut ServiceContext<'_, T>, &RoutedRequest<'_>)>;

type OnEvent<T> = Box<dyn FnMut(&mut ServiceContext<'_, T>, Event)>;
type OnTimer<T> = Box<dyn FnMut(&mut ServiceContext<'_, T>, TimerId, u64)>;
type OnResult<T> =
    Box<dyn FnMut(&mut ServiceContext<'_, T>, CallId, Result<Reply<'_>, CallError<'_>>)>;

/// Functions of a service that are not routes.
pub(in crate::node) struct Hooks<T> {
    pub(in crate::node) every: Vec<(Duration, Act<T>)>,
    pub(in crate::node) on_start: Option<ActOnce<T>>,
    pub(in crate::node) on_event: Option<OnEvent<T>>,
    pub(in crate::node) on_timer: Option<OnTimer<T>>,
    pub(in crate::node) on_result: Option<OnResult<T>>,
    pub(in crate::node) connections: Option<Box<dyn Connections<T>>>,
}

impl<T> Default for Hooks<T> {
    fn default() -> Hooks<T> {
        Hooks {
            every: Vec::new(),
            on_start: None,
            on_event: None,
            on_timer: None,
            on_result: None,
            connections: None,
        }
    }
}

impl<T> Hooks<T> {
    pub(in crate::node) fn is_empty(&self) -> bool {
        self.every.is_empty()
            && self.on_start.is_none()
            && self.on_event.is_none()
            && self.on_timer.is_none()
            && self.on_result.is_none()
            && self.connections.is_none()
    }
}

impl<T: 'static> Handler<T> {
    pub(in crate::node) fn plain<R: Serialize>(
        mut handler: impl FnMut(&mut ServiceContext<'_, T>, &RoutedRequest<'_>) -> Result<R, Error>
        + 'static,
    ) -> Handler<T> {
        Handler::Plain(Box::new(move |cx, request| {
            let result = caught(|| handler(cx, request)).and_then(|result| result);
            cx.finish(&request.route.method, &request.route.path, result);
        }))
    }

    pub(in crate::node) fn task<R: Serialize + 'static>(
        handler: impl AsyncFn(TaskContext<T>, TaskRequest) -> Result<R, Error> + 'static,
    ) -> Handler<T> {
        let handler = Rc::new(handler);
        Handler::Task(Box::new(move |cx, request| {
            let handler = Rc::clone(&handler);
            Box::pin(async move {
                let mut serve = pin!(handler(cx.clone(), request));
                let state = cx.shared_state();
                let result = poll_fn(|waker| poll_guarded(state, serve.as_mut(), waker)).await;
                cx.finish(result);
            })
        }))
    }
}
