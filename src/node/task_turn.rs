//! Polls of tasks, and the execution of their commands.

use std::rc::Rc;
use std::task::Context;

use super::calls::{CallId, NewCall, Target};
use super::error::Error;
use super::node_core::Core;
use super::panics::caught_and_logged;
use super::served::send_error;
use super::slot_key::SlotKey;
use super::tag::Tag;
use super::tasks::{
    Command, Start, StartCall, Started, Task, TaskData, TaskFuture, To, WaitResult,
};
use super::waiter::Waiter;
use crate::protocol::ErrorCode;
use crate::reactor::{ConnId, Net};
use crate::time::Time;

/// Maximum number of times that the tasks which are ready are polled in one turn.
const MAX_ROUNDS: usize = 16;

/// Starts a task, and polls it.
pub(super) fn start(core: &mut Core, net: &mut Net, mut future: TaskFuture, data: Rc<TaskData>) {
    core.hub.began(&data);
    enter(core, net, &data);
    let waker = core.tasks.next_waker();
    let polled = future.as_mut().poll(&mut Context::from_waker(waker));
    core.hub.current.take();
    if polled.is_ready() {
        drop_future(future);
        core.hub.ended(data);
    } else {
        let (deadline, caller) = (data.deadline, data.caller);
        let ends_with_caller = data.ends_with_caller.get();
        let id = core.tasks.insert(future, data);
        if let (Some(deadline), Some(task)) = (deadline, core.tasks.get_mut(id)) {
            let owner = core.caller.owner;
            task.timer = Some(net.arm(owner, deadline, Tag::Task(id.pack()).pack()));
        }
        if ends_with_caller {
            end_with(core, net, id, caller);
        }
    }
    run_commands(core, net);
}

/// Polls the tasks that are ready. Returns whether more are.
pub(super) fn run_ready(core: &mut Core, net: &mut Net) -> bool {
    // Of futures that were dropped outside of a poll, and of tasks started by callbacks.
    run_commands(core, net);
    if core.tasks.len() == 0 {
        return false;
    }
    let mut ready = std::mem::take(&mut core.ready_tasks);
    for _ in 0..MAX_ROUNDS {
        core.tasks.take_ready(&mut ready);
        if ready.is_empty() {
            break;
        }
        for id in ready.drain(..) {
            poll(core, net, id);
        }
    }
    core.ready_tasks = ready;
    !core.tasks.fall_asleep()
}

fn poll(core: &mut Core, net: &mut Net, id: SlotKey) {
    let Some(task) = core.tasks.get_mut(id) else {
        return;
    };
    // After a stall, its timer may come later.
    if task
        .data
        .deadline
        .is_some_and(|deadline| deadline <= net.now())
    {
        return deadline_passed(core, net, id);
    }
    let Some(mut future) = task.future.take() else {
        return;
    };
    let data = Rc::clone(&task.data);
    enter(core, net, &data);
    let Some(waker) = core.tasks.waker(id) else {
        return;
    };
    let polled = future.as_mut().poll(&mut Context::from_waker(waker));
    core.hub.current.take();
    let (caller, ends_with_caller) = (data.caller, data.ends_with_caller.get());
    drop(data);
    if polled.is_ready() {
        drop_future(future);
        if let Some(task) = core.tasks.remove(id) {
            discard(core, net, id, task);
        }
    } else if let Some(task) = core.tasks.get_mut(id) {
        task.future = Some(future);
        if ends_with_caller {
            end_with(core, net, id, caller);
        }
    }
    run_commands(core, net);
}

/// Prepares the poll of a task.
fn enter(core: &mut Core, net: &Net, data: &Rc<TaskData>) {
    core.hub.now.set(net.now());
    core.hub.is_ready.set(core.is_ready());
    core.hub.current.replace(Some(Rc::clone(data)));
}

/// Ends a task when its caller is gone.
fn end_with(core: &mut Core, net: &mut Net, id: SlotKey, caller: Option<ConnId>) {
    if let Some(caller) = caller {
        if core.clients.get(caller).is_some() {
            core.ends_with_caller.insert((caller, id));
        } else {
            end(core, net, id, None);
        }
    }
}

/// Drops a future. Values of the service may panic then, which is logged.
fn drop_future(future: TaskFuture) {
    caught_and_logged(|| drop(future));
}

/// Ends a task whose caller does not wait any more.
pub(super) fn deadline_passed(core: &mut Core, net: &mut Net, id: SlotKey) {
    let message = "the deadline of the request has passed";
    let error = Error::new(ErrorCode::DeadlinePassed, message);
    end(core, net, id, Some(&error));
}

/// Ends the tasks that asked for it, after the connection of their caller was closed.
pub(super) fn caller_gone(core: &mut Core, net: &mut Net, conn: ConnId) {
    while let Some((caller, id)) = core.next_that_ends_with(conn) {
        core.ends_with_caller.remove(&(caller, id));
        end(core, net, id, None);
    }
}

/// Ends a task. Its calls are cancelled.
fn end(core: &mut Core, net: &mut Net, id: SlotKey, error: Option<&Error>) {
    let Some(mut task) = core.tasks.remove(id) else {
        return;
    };
    let to = task.data.reply_to.take();
    if let (Some(to), Some(error)) = (to, error) {
        send_error(net, &to, error);
    }
    if let Some(future) = task.future.take() {
        drop_future(future);
    }
    discard(core, net, id, task);
    run_commands(core, net);
}

fn discard(core: &mut Core, net: &mut Net, id: SlotKey, task: Task) {
    if let Some(timer) = task.timer {
        net.disarm(timer);
    }
    if task.data.ends_with_caller.get()
        && let Some(caller) = task.data.caller
    {
        core.ends_with_caller.remove(&(caller, id));
    }
    core.hub.ended(task.data);
}

/// Executes the commands of tasks in their order.
fn run_commands(core: &mut Core, net: &mut Net) {
    core.hub.send_replies(net);
    while core.hub.has_commands() {
        let command = core.hub.commands.borrow_mut().pop_front();
        match command {
            Some(Command::Start(key, start)) if core.hub.is_waiting(key) => {
                begin(core, net, key, start);
            }
            // The future was dropped before.
            Some(Command::Start(..)) => {}
            Some(Command::Cancel(started)) => cancel(core, net, started),
            Some(Command::Spawn(future, data)) => {
                core.tasks.stay_awake();
                let id = core.tasks.insert(future, data);
                if let Some(waker) = core.tasks.waker(id) {
                    waker.wake_by_ref();
                }
            }
            None => return,
        }
    }
}

fn begin(core: &mut Core, net: &mut Net, key: SlotKey, start: Start) {
    match start {
        Start::Call(call) => call_from_task(core, net, key, call),
        Start::Sleep(time) => {
            let tag = Tag::Sleep(key.pack()).pack();
            let timer = net.arm(core.caller.owner, net.now() + time, tag);
            core.hub.started(key, Started::Timer(timer));
        }
        Start::Routes(routes, timeout) => {
            let id = core.wait_for(net, &routes, timeout);
            core.hub.started(key, Started::Routes(id));
            core.take_events(net);
        }
        Start::Act(act) => {
            let service = core.claim_owners(net).service;
            let owner = net.replace_owner(service);
            caught_and_logged(|| act(core, net));
            net.replace_owner(owner);
            core.tasks.stay_awake();
            core.hub.complete(key, WaitResult::Done(true));
        }
    }
}

fn call_from_task(core: &mut Core, net: &mut Net, key: SlotKey, mut call: StartCall) {
    // The buffer of the text becomes one of the caller's; a spare one replaces it.
    core.hub.give_buffer(core.caller.take_buffer());
    let deadline = earlier(net.now() + call.timeout, call.deadline);
    match call.to {
        To::One(target) => {
            let new = NewCall {
                target,
                text: call.text,
                deadline,
                is_idempotent: call.is_idempotent,
                waiter: Waiter::Task(key),
            };
            let id = core.call(net, new);
            core.hub.started(key, Started::Call(id));
        }
        To::All(ref name) => match core.await_name(net, name, deadline, Waiter::Task(key)) {
            Some(id) => {
                call.deadline = Some(deadline);
                core.group_calls.insert(id, call);
                core.hub.started(key, Started::Call(id));
            }
            None => call_all_from_task(core, net, key, call),
        },
    }
}

/// Calls the nodes with a name that are known.
pub(super) fn call_all_from_task(core: &mut Core, net: &mut Net, key: SlotKey, call: StartCall) {
    let To::All(name) = call.to else {
        return;
    };
    let deadline = earlier(net.now() + call.timeout, call.deadline);
    let new = |addr, text| NewCall {
        target: Target::At(addr),
        text,
        deadline,
        is_idempotent: call.is_idempotent,
        waiter: Waiter::Task(key),
    };
    let mut calls = Vec::new();
    let each = |addr, id| calls.push((id, addr));
    (core.caller).call_all(net, &core.link.roster, &name, &call.text, new, each);
    core.hub.give_buffer(call.text.into_buffer());
    core.tasks.stay_awake();
    core.hub.started_all(key, calls);
}

fn cancel(core: &mut Core, net: &mut Net, started: Started) {
    match started {
        Started::Call(id) => cancel_call(core, net, id),
        Started::Calls(calls) => {
            for (id, _) in calls {
                core.caller.cancel(net, id);
            }
        }
        Started::Timer(timer) => {
            net.disarm(timer);
        }
        Started::Routes(id) => core.waits.cancel(net, id),
    }
}

fn cancel_call(core: &mut Core, net: &mut Net, id: CallId) {
    core.group_calls.remove(&id);
    core.caller.cancel(net, id);
}

fn earlier(time: Time, deadline: Option<Time>) -> Time {
    deadline.map_or(time, |deadline| deadline.min(time))
}
