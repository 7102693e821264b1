//! The operations of a task.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::super::call::Call;
use super::super::context::Context;
use super::super::error::Error;
use super::super::node_core::Core;
use super::super::panics::caught;
use super::super::served::{Replied, ReplyTo, no_destination, unencodable};
use super::futures::{RoutesFuture, Sleep, TaskCalls, Waiting};
use super::guard::poll_guarded;
use super::hub::{Act, Hub, Start};
use super::task_data::TaskData;
use crate::protocol::{ErrorCode, Route, write_own_error_reply, write_reply};
use crate::time::Time;

/// Gives a task access to its node. It can be cloned, and is of use only in the tasks of its node.
pub struct TaskContext<T = ()> {
    pub(super) hub: Rc<Hub>,
    state: Rc<RefCell<T>>,
}

impl<T> Clone for TaskContext<T> {
    fn clone(&self) -> TaskContext<T> {
        TaskContext {
            hub: Rc::clone(&self.hub),
            state: Rc::clone(&self.state),
        }
    }
}

impl<T> fmt::Debug for TaskContext<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskContext")
    }
}

impl<T: 'static> TaskContext<T> {
    pub(in crate::node) fn new(hub: &Rc<Hub>, state: &Rc<RefCell<T>>) -> TaskContext<T> {
        TaskContext {
            hub: Rc::clone(hub),
            state: Rc::clone(state),
        }
    }

    /// Returns the state of the service. Drop it before an await: a task that keeps it is ended,
    /// and its request is answered with [`Internal`](crate::protocol::ErrorCode::Internal).
    ///
    /// # Panics
    ///
    /// Panics while the same task has borrowed the state already.
    pub fn state(&self) -> RefMut<'_, T> {
        self.state.borrow_mut()
    }

    pub(in crate::node) fn shared_state(&self) -> &RefCell<T> {
        &self.state
    }

    /// Returns the time of this turn.
    pub fn now(&self) -> Time {
        self.hub.now.get()
    }

    /// Returns whether the node is ready, as [`Context::is_ready`].
    pub fn is_ready(&self) -> bool {
        self.hub.is_ready.get()
    }

    /// Returns the deadline of the request that the task serves, if its caller sent one. The task
    /// ends then.
    pub fn deadline(&self) -> Option<Time> {
        self.hub.current.borrow().as_ref()?.deadline
    }

    /// Prepares a call with the method `GET`. `.await` makes it.
    ///
    /// It goes to a node that lists the route, or otherwise its longest listed prefix: see
    /// [`Context::call`].
    pub fn get(&self, path: &str) -> Call<TaskCalls> {
        self.request("GET", path)
    }

    /// Prepares a call with the method `POST`, as [`TaskContext::get`].
    pub fn post(&self, path: &str) -> Call<TaskCalls> {
        self.request("POST", path)
    }

    /// Prepares a call with the method `PUT`, as [`TaskContext::get`].
    pub fn put(&self, path: &str) -> Call<TaskCalls> {
        self.request("PUT", path)
    }

    /// Prepares a call with the method `PATCH`, as [`TaskContext::get`].
    pub fn patch(&self, path: &str) -> Call<TaskCalls> {
        self.request("PATCH", path)
    }

    /// Prepares a call with the method `DELETE`, as [`TaskContext::get`].
    pub fn delete(&self, path: &str) -> Call<TaskCalls> {
        self.request("DELETE", path)
    }

    /// Prepares a call with any method, as [`TaskContext::get`].
    pub fn request(&self, method: &str, path: &str) -> Call<TaskCalls> {
        let calls = TaskCalls(Rc::clone(&self.hub));
        Call::new(calls, self.hub.take_buffer(), method, path)
    }

    /// Pauses the task for at least this time.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep(Waiting::new(&self.hub, Start::Sleep(time)))
    }

    /// Waits until each of `routes` is listed by a node that can be called, for at most `timeout`.
    /// Returns whether they are.
    pub fn wait_for(&self, routes: &[Route<'_>], timeout: Duration) -> RoutesFuture {
        let routes = routes.iter().cloned().map(Route::into_owned).collect();
        RoutesFuture(Waiting::new(&self.hub, Start::Routes(routes, timeout)))
    }

    /// Calls `act` with the operations of the node that are not asynchronous, such as the roster,
    /// notifications and drains, and returns what it returns. If it panics, so does the task.
    pub async fn with<R: 'static>(&self, act: impl FnOnce(&mut Context<'_>) -> R + 'static) -> R {
        let result = Rc::new(RefCell::new(None));
        let returned = Rc::clone(&result);
        let task = self.hub.current.borrow().clone();
        let act: Act = Box::new(move |core, net| {
            if let Some(core) = core.downcast_mut::<Core>() {
                let mut cx = Context::new(core, net);
                if let Some(task) = &task {
                    cx.request_deadline = task.deadline;
                    cx.correlation = task.correlation();
                }
                let acted = catch_unwind(AssertUnwindSafe(|| act(&mut cx)));
                returned.replace(Some(acted));
            }
        });
        let mut waiting = Waiting::new(&self.hub, Start::Act(act));
        poll_fn(|cx| waiting.poll(cx)).await;
        let value = result.take();
        match value {
            Some(Ok(value)) => value,
            // The task panics in its place.
            Some(Err(panic)) => resume_unwind(panic),
            // The context is of another node.
            None => pending().await,
        }
    }

    /// Starts a task that outlives the request: it ends neither with its deadline nor with its
    /// caller. An error that it returns is logged. A node that shuts down waits for it, unless this
    /// is a task of the background.
    ///
    /// # Errors
    ///
    /// Returns an error with [`Busy`](crate::protocol::ErrorCode::Busy) if there are
    /// [`Config::max_tasks`](super::super::Config::max_tasks) tasks.
    pub fn spawn<F>(&self, task: F) -> Result<(), Error>
    where
        F: AsyncFnOnce(TaskContext<T>) -> Result<(), Error> + 'static,
    {
        if !self.hub.has_room() {
            return Err(too_many());
        }
        let data = self.hub.pool.borrow_mut().take(|data: &mut TaskData| {
            if let Some(current) = &*self.hub.current.borrow() {
                data.set_correlation(current.correlation());
                data.is_awaited = current.is_awaited;
            }
        });
        let cx = self.clone();
        let future = Box::pin(async move {
            let state = Rc::clone(&cx.state);
            let hub = Rc::clone(&cx.hub);
            let mut task = pin!(task(cx));
            let result = poll_fn(|waker| poll_guarded(&state, task.as_mut(), waker)).await;
            if let Err(error) = result {
                hub.log_failure(&error);
            }
        });
        self.hub.spawn(future, data);
        Ok(())
    }

    /// Ends the task when the connection of its caller is closed. By default it continues: an order
    /// must not be cut in half.
    pub fn end_with_caller(&self) {
        if let Some(task) = &*self.hub.current.borrow() {
            task.ends_with_caller.set(true);
        }
    }

    /// Replies to the request before the handler returns. The handler returns what this returns, or
    /// continues to work; any later results are discarded.
    ///
    /// # Errors
    ///
    /// Returns an error with [`Internal`](crate::protocol::ErrorCode::Internal) if the results
    /// cannot be encoded, or if the request was already replied to.
    pub fn reply(&self, results: &(impl Serialize + ?Sized)) -> Result<Replied, Error> {
        let current = self.hub.current.borrow();
        let task = current.as_ref().ok_or_else(no_destination)?;
        let mut reply_to = task.reply_to.borrow_mut();
        let to = reply_to.as_ref().ok_or_else(no_destination)?;
        let write = |out: &mut Vec<u8>| write_reply(out, to.key.as_str(), results);
        (self.hub.reply(to.conn, write)).map_err(|error| unencodable(&error))?;
        *reply_to = None;
        Ok(Replied::new())
    }

    /// Replies with the result of the handler.
    pub(in crate::node) fn finish<R: Serialize>(&self, result: Result<R, Error>) {
        if result.is_ok() && !self.is_open() {
            return;
        }
        // Encoding the results calls code of the service.
        if let Err(error) = caught(|| self.finish_with(result)) {
            self.finish_with::<()>(Err(error));
        }
    }

    fn finish_with<R: Serialize>(&self, result: Result<R, Error>) {
        let is_open = self.is_open();
        let result = match result {
            Ok(results) if is_open => self.reply(&results).map(drop),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        let Err(error) = result else {
            return;
        };
        if let Some(task) = &*self.hub.current.borrow() {
            let route = Some((task.method(), task.path()));
            error.log(route, task.correlation(), !is_open);
        }
        if let Some(to) = self.take_reply_to() {
            let key = to.key.as_str();
            let (code, message, details) = (error.code(), error.message(), error.details());
            // Writing to memory does not fail.
            let _ = self.hub.reply(to.conn, |out| {
                write_own_error_reply(out, key, code, message, details)
            });
        }
    }

    /// Returns whether the request was not replied to.
    fn is_open(&self) -> bool {
        let current = self.hub.current.borrow();
        current
            .as_ref()
            .is_some_and(|task| task.reply_to.borrow().is_some())
    }

    fn take_reply_to(&self) -> Option<ReplyTo> {
        self.hub.current.borrow().as_ref()?.reply_to.take()
    }
}

pub(in crate::node) fn too_many() -> Error {
    Error::new(ErrorCode::Busy, "too many tasks: try again later")
}
