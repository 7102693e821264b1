//! The executor: polls futures on the thread of the reactor.
//!
//! Each slot has a waker that is made once. A wake-up puts its slot into the ready list, and the
//! end of the turn polls what is ready. A wake-up for an earlier task of the slot polls the current
//! one: futures permit spurious polls.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Wake, Waker};

use slab::Slab;

use super::super::slot_key::SlotKey;
use super::task_data::TaskData;
use crate::reactor::TimerId;

/// The future of a task.
pub(in crate::node) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
pub(in crate::node) struct Executor {
    tasks: Slab<Task>,
    generation: u32,
    wakers: Vec<(Arc<SlotWaker>, Waker)>,
    ready: Arc<Ready>,
}

pub(in crate::node) struct Task {
    generation: u32,
    /// `None` while it is polled.
    pub(in crate::node) future: Option<TaskFuture>,
    pub(in crate::node) data: Rc<TaskData>,
    /// The deadline of its caller.
    pub(in crate::node) timer: Option<TimerId>,
}

/// The slots whose tasks are to be polled.
#[derive(Default)]
struct Ready {
    slots: Mutex<Vec<usize>>,
    /// No turn will look at the list unless the reactor is woken.
    is_asleep: AtomicBool,
    reactor: OnceLock<crate::reactor::Waker>,
}

struct SlotWaker {
    slot: usize,
    /// The slot is in the ready list.
    is_ready: AtomicBool,
    ready: Arc<Ready>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// Sets the waker of the reactor, for wake-ups from other threads.
    pub(in crate::node) fn set_reactor(&self, waker: crate::reactor::Waker) {
        // Set once, with the owners of the node.
        let _ = self.ready.reactor.set(waker);
    }

    pub(in crate::node) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Adds a task, which is not ready yet.
    pub(in crate::node) fn insert(&mut self, future: TaskFuture, data: Rc<TaskData>) -> SlotKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.tasks.insert(Task {
            generation,
            future: Some(future),
            data,
            timer: None,
        });
        self.make_wakers(slot);
        SlotKey { slot, generation }
    }

    pub(in crate::node) fn get_mut(&mut self, id: SlotKey) -> Option<&mut Task> {
        let task = self.tasks.get_mut(id.slot)?;
        (task.generation == id.generation).then_some(task)
    }

    pub(in crate::node) fn remove(&mut self, id: SlotKey) -> Option<Task> {
        self.get_mut(id)?;
        self.tasks.try_remove(id.slot)
    }

    pub(in crate::node) fn waker(&self, id: SlotKey) -> Option<&Waker> {
        self.wakers.get(id.slot).map(|(_, waker)| waker)
    }

    /// Returns the waker of the task that is inserted next.
    pub(in crate::node) fn next_waker(&mut self) -> &Waker {
        let slot = self.tasks.vacant_key();
        self.make_wakers(slot);
        self.wakers
            .get(slot)
            .map_or(Waker::noop(), |(_, waker)| waker)
    }

    /// Makes the wakers up to this slot.
    fn make_wakers(&mut self, slot: usize) {
        for slot in self.wakers.len()..=slot {
            let waker = Arc::new(SlotWaker {
                slot,
                is_ready: AtomicBool::new(false),
                ready: Arc::clone(&self.ready),
            });
            self.wakers.push((Arc::clone(&waker), waker.into()));
        }
    }

    /// Moves the tasks to be polled into `ids`.
    pub(in crate::node) fn take_ready(&mut self, ids: &mut Vec<SlotKey>) {
        let mut slots = self.ready.lock();
        for slot in slots.drain(..) {
            if let Some((waker, _)) = self.wakers.get(slot) {
                waker.is_ready.store(false, Ordering::Release);
            }
            if let Some(task) = self.tasks.get(slot) {
                let generation = task.generation;
                ids.push(SlotKey { slot, generation });
            }
        }
    }

    /// Keeps wake-ups of this thread from waking the reactor, which is awake.
    pub(in crate::node) fn stay_awake(&self) {
        self.ready.is_asleep.store(false, Ordering::Release);
    }

    /// Returns `false` if tasks are ready. Otherwise, wake-ups wake the reactor from now on.
    pub(in crate::node) fn fall_asleep(&self) -> bool {
        let slots = self.ready.lock();
        if slots.is_empty() {
            self.ready.is_asleep.store(true, Ordering::Release);
        }
        slots.is_empty()
    }
}

impl Ready {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_ready.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut slots = self.ready.lock();
        slots.push(self.slot);
        let was_asleep = self.ready.is_asleep.swap(false, Ordering::AcqRel);
        drop(slots);
        if was_asleep && let Some(reactor) = self.ready.reactor.get() {
            // It fails only if the reactor is gone.
            let _ = reactor.wake();
        }
    }
}
