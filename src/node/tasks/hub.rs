//! The hub: the place where tasks leave their commands, and find the outcomes of their waits.
//!
//! A task cannot borrow the node across its awaits. So its futures put commands here, which the
//! node executes in their order as soon as the task was polled. Dropping a future cancels its wait.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::super::call_error::CallError;
use super::super::calls::{CallId, Target, Text};
use super::super::config::Config;
use super::super::correlation::Correlation;
use super::super::error::Error;
use super::super::slot_key::SlotKey;
use super::super::waits::WaitId;
use super::executor::TaskFuture;
use super::task_data::{TaskData, TaskDataPool};
use crate::protocol::{Reply, Route, TraceContext};
use crate::reactor::buffer_pool::BufferPool;
use crate::reactor::{ConnId, Net, TimerId};
use crate::time::Time;

pub(in crate::node) type CallResult = Result<Reply<'static>, CallError<'static>>;

#[derive(Default)]
pub(in crate::node) struct Hub {
    pub(in crate::node) now: Cell<Time>,
    pub(in crate::node) is_ready: Cell<bool>,
    /// Number of tasks, including those that are to be started.
    pub(in crate::node) tasks: Cell<usize>,
    /// Number of those that a node waits for before it stops.
    pub(in crate::node) awaited: Cell<usize>,
    pub(in crate::node) limits: TaskLimits,
    /// The task that is being polled.
    pub(in crate::node) current: RefCell<Option<Rc<TaskData>>>,
    pub(in crate::node) pool: RefCell<TaskDataPool>,
    pub(in crate::node) commands: RefCell<VecDeque<Command>>,
    outbox: RefCell<Outbox>,
    buffers: RefCell<BufferPool>,
    waits: RefCell<Slab<Wait>>,
    generation: Cell<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::node) struct TaskLimits {
    max_tasks: usize,
    pub(in crate::node) call_timeout: Duration,
}

/// Replies that were encoded during a poll.
#[derive(Default)]
struct Outbox {
    /// Their texts, one after the other.
    text: Vec<u8>,
    /// Their connections, and the ends of their texts.
    replies: Vec<(ConnId, usize)>,
}

/// An operation on the node.
pub(in crate::node) type Act = Box<dyn FnOnce(&mut dyn Any, &mut Net)>;

pub(in crate::node) enum Command {
    Start(SlotKey, Start),
    Cancel(Started),
    Spawn(TaskFuture, Rc<TaskData>),
}

/// The begin of a wait.
pub(in crate::node) enum Start {
    Call(StartCall),
    Sleep(Duration),
    Routes(Vec<Route<'static>>, Duration),
    Act(Act),
}

#[derive(Debug)]
pub(in crate::node) struct StartCall {
    pub(in crate::node) text: Text,
    pub(in crate::node) to: To,
    pub(in crate::node) timeout: Duration,
    pub(in crate::node) deadline: Option<Time>,
    pub(in crate::node) is_idempotent: bool,
    /// In place of that of the request.
    pub(in crate::node) trace: Option<Box<TraceContext<'static>>>,
}

#[derive(Debug)]
pub(in crate::node) enum To {
    One(Target),
    /// Each node with this name.
    All(String),
}

/// A wait of the node, to be cancelled.
#[derive(Debug)]
pub(in crate::node) enum Started {
    Call(CallId),
    Calls(Vec<(CallId, SocketAddr)>),
    Timer(TimerId),
    Routes(WaitId),
}

/// The outcome of a wait.
#[derive(Debug)]
pub(in crate::node) enum WaitResult {
    Reply(CallResult),
    Replies(Vec<(SocketAddr, CallResult)>),
    Done(bool),
}

#[derive(Debug)]
struct Wait {
    generation: u32,
    waker: Waker,
    started: Option<Started>,
    outcome: Option<WaitResult>,
    /// Results of a call of several nodes, and the number of those that are missing.
    group: Option<(Vec<(SocketAddr, CallResult)>, usize)>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl Hub {
    pub(in crate::node) fn new(config: &Config) -> Hub {
        let limits = TaskLimits {
            max_tasks: config.max_tasks,
            call_timeout: config.call_timeout,
        };
        Hub {
            limits,
            ..Hub::default()
        }
    }

    pub(in crate::node) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().take()
    }

    pub(in crate::node) fn give_buffer(&self, buffer: Vec<u8>) {
        self.buffers.borrow_mut().give(buffer);
    }

    /// Returns whether one more task may be started.
    pub(in crate::node) fn has_room(&self) -> bool {
        self.tasks.get() < self.limits.max_tasks
    }

    pub(in crate::node) fn push(&self, command: Command) {
        self.commands.borrow_mut().push_back(command);
    }

    pub(in crate::node) fn has_commands(&self) -> bool {
        !self.commands.borrow().is_empty()
    }

    /// Starts a task, if there [is room](Hub::has_room), after the poll of the current one.
    pub(in crate::node) fn spawn(&self, future: TaskFuture, data: Rc<TaskData>) {
        self.began(&data);
        self.push(Command::Spawn(future, data));
    }

    /// Counts one more task.
    pub(in crate::node) fn began(&self, data: &TaskData) {
        self.tasks.set(self.tasks.get() + 1);
        self.awaited
            .set(self.awaited.get() + usize::from(data.is_awaited));
    }

    /// Counts one task less, and keeps its data for another one.
    pub(in crate::node) fn ended(&self, data: Rc<TaskData>) {
        self.tasks.set(self.tasks.get().saturating_sub(1));
        let awaited = self.awaited.get();
        self.awaited
            .set(awaited.saturating_sub(usize::from(data.is_awaited)));
        self.pool.borrow_mut().give(data);
    }

    /// Logs the failure of the current task, which has no destination for it.
    pub(in crate::node) fn log_failure(&self, error: &Error) {
        if let Some(task) = self.current.borrow().as_deref() {
            error.log_of_task(task.correlation());
        }
    }

    /// Encodes a reply, which is sent after the poll, before any command is executed.
    pub(in crate::node) fn reply(
        &self,
        conn: ConnId,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut outbox = self.outbox.borrow_mut();
        let start = outbox.replies.last().map_or(0, |(_, end)| *end);
        // A panic in an earlier one may have left a part.
        outbox.text.truncate(start);
        write(&mut outbox.text)?;
        let end = outbox.text.len();
        outbox.replies.push((conn, end));
        Ok(())
    }

    pub(in crate::node) fn send_replies(&self, net: &mut Net) {
        let mut outbox = self.outbox.borrow_mut();
        let Outbox { text, replies } = &mut *outbox;
        let mut start = 0;
        for (conn, end) in replies.drain(..) {
            if let Some(frame) = text.get(start..end) {
                net.send_with(conn, |out| out.write_all(frame));
            }
            start = end;
        }
        text.clear();
    }

    /// Begins a wait, which the node starts after the poll.
    pub(in crate::node) fn start(&self, mut start: Start, waker: &Waker) -> SlotKey {
        if let Start::Call(call) = &mut start {
            let task = self.current.borrow();
            let task = task.as_deref();
            call.deadline = task.and_then(|task| task.deadline);
            let correlation = task.map_or_else(Correlation::default, TaskData::correlation);
            let correlation = correlation.with_trace(call.trace.as_deref());
            call.text.add_correlation(correlation);
        }
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let slot = self.waits.borrow_mut().insert(Wait {
            generation,
            waker: waker.clone(),
            started: None,
            outcome: None,
            group: None,
        });
        let key = SlotKey { slot, generation };
        self.push(Command::Start(key, start));
        key
    }

    /// Calls `act` with a wait, unless it was cancelled.
    fn with<T>(&self, key: SlotKey, act: impl FnOnce(&mut Wait) -> T) -> Option<T> {
        let mut waits = self.waits.borrow_mut();
        let wait = waits.get_mut(key.slot)?;
        (wait.generation == key.generation).then(|| act(wait))
    }

    pub(in crate::node) fn is_waiting(&self, key: SlotKey) -> bool {
        self.with(key, |_| ()).is_some()
    }

    pub(in crate::node) fn started(&self, key: SlotKey, started: Started) {
        self.with(key, |wait| wait.started = Some(started));
    }

    /// Records the nodes that a call was sent to. Their results follow one by one.
    pub(in crate::node) fn started_all(&self, key: SlotKey, calls: Vec<(CallId, SocketAddr)>) {
        let missing = calls.len();
        self.with(key, |wait| {
            wait.started = Some(Started::Calls(calls));
            wait.group = Some((Vec::with_capacity(missing), missing));
        });
        if missing == 0 {
            self.complete(key, WaitResult::Replies(Vec::new()));
        }
    }

    /// Ends the call of a task, or one of its calls.
    pub(in crate::node) fn call_ended(
        &self,
        key: SlotKey,
        id: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        if !self.is_waiting(key) {
            return;
        }
        let result = result.map(Reply::into_owned).map_err(CallError::into_owned);
        let outcome = self.with(key, |wait| match (&mut wait.group, &wait.started) {
            (Some((results, missing)), Some(Started::Calls(calls))) => {
                let of_call = calls.iter().find(|(other, _)| *other == id);
                results.extend(of_call.map(|(_, addr)| (*addr, result)));
                *missing = missing.saturating_sub(1);
                (*missing == 0).then(|| WaitResult::Replies(std::mem::take(results)))
            }
            _ => Some(WaitResult::Reply(result)),
        });
        if let Some(outcome) = outcome.flatten() {
            self.complete(key, outcome);
        }
    }

    pub(in crate::node) fn complete(&self, key: SlotKey, outcome: WaitResult) {
        let waker = self.with(key, |wait| {
            wait.started = None;
            wait.outcome = Some(outcome);
            std::mem::replace(&mut wait.waker, Waker::noop().clone())
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the outcome of a wait, which ends it. Otherwise keeps the waker.
    pub(in crate::node) fn poll(&self, key: SlotKey, waker: &Waker) -> Option<WaitResult> {
        let outcome = self.with(key, |wait| {
            if wait.outcome.is_none() {
                wait.waker.clone_from(waker);
            }
            wait.outcome.take()
        })?;
        if outcome.is_some() {
            self.waits.borrow_mut().try_remove(key.slot);
        }
        outcome
    }

    pub(in crate::node) fn cancel(&self, key: SlotKey) {
        if self.is_waiting(key)
            && let Some(wait) = self.waits.borrow_mut().try_remove(key.slot)
            && let Some(started) = wait.started
        {
            self.push(Command::Cancel(started));
        }
    }

    /// Returns the wait for these routes.
    pub(in crate::node) fn wait_for_routes(&self, id: WaitId) -> Option<SlotKey> {
        let waits = self.waits.borrow();
        let mut waits = waits.iter();
        waits.find_map(|(slot, wait)| match wait.started {
            Some(Started::Routes(other)) if other == id => Some(SlotKey {
                slot,
                generation: wait.generation,
            }),
            _ => None,
        })
    }
}
