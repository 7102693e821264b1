//! Nodes of this crate, with a service that replies at once or later, or in a task.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::{IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::node::{
    CallError, Error, Event, Interest, LinkState, Node, Replied, RoutedRequest, Routes,
    ServiceContext, TaskContext, TaskRequest, join,
};
use pilcrow::protocol::{ErrorCode, Reply, Route};
use pilcrow::reactor::{CloseReason, ConnId, Handler, Limits, Net, Origin, Reactor, TimerId};
use pilcrow::testing::sim::{Process, ProcessId, Random, World};
use serde::Deserialize;
use serde_json::Value;

use crate::calls::{CallKey, Calls};
use crate::model::{ActorId, Model};

/// State that the nodes of one simulation share.
#[derive(Clone)]
pub struct Shared {
    pub world: World,
    pub model: Rc<RefCell<Model>>,
    pub calls: Rc<RefCell<Calls>>,
    pub random: Rc<RefCell<Random>>,
}

/// The state of the service of a node.
pub struct Echo {
    actor: ActorId,
    shared: Shared,
    /// One request of this many is answered later.
    pub delays_one_in: u64,
    pub link: LinkState,
    pub losses: Vec<String>,
    pub link_changes: usize,
    /// The reply to a drain: whether all sessions have acknowledged it.
    pub drained: Option<bool>,
}

impl Echo {
    fn owner(&self) -> (ActorId, Shared) {
        (self.actor, self.shared.clone())
    }
}

#[derive(Deserialize)]
struct Nonce {
    nonce: u64,
}

#[derive(Deserialize)]
struct Echoed {
    nonce: u64,
    by: ActorId,
}

/// Returns results with the bytes of a frame end, which must be escaped.
fn echo(nonce: u64, by: ActorId) -> serde_json::Value {
    serde_json::json!({ "mark": "¶", "nonce": nonce, "by": by })
}

impl Shared {
    /// Records a request that a node serves, and returns its number.
    fn serves(&self, actor: ActorId, params: &str) -> Result<u64, Error> {
        let Ok(Nonce { nonce }) = serde_json::from_str(params) else {
            let what = format!("a request that was not made: {params}");
            self.model.borrow_mut().break_promise(7, what);
            return Err(Error::new(ErrorCode::InvalidParameters, "no nonce"));
        };
        let executed = self.calls.borrow_mut().executed(nonce, actor);
        if let Err(what) = executed {
            self.model.borrow_mut().break_promise(6, what);
        }
        Ok(nonce)
    }

    /// Records the result of a call.
    fn ended(
        &self,
        actor: ActorId,
        call: CallKey,
        result: &Result<Reply<'_>, CallError<'_>>,
        now: Time,
    ) {
        let mut calls = self.calls.borrow_mut();
        let ended = match result {
            Ok(reply) => match reply.results::<Echoed>() {
                Ok(Echoed { nonce, by }) => calls.replied(actor, call, nonce, by),
                Err(_) => calls.forged(actor, call, reply.raw_results()),
            },
            Err(CallError::Refused(reply))
                if reply.errorcode == i64::from(ErrorCode::Internal as u8) =>
            {
                Err(format!(
                    "a call of node {actor} was answered with {reply:?}"
                ))
            }
            Err(CallError::Refused(_)) => calls.ended(actor, call),
            Err(CallError::ConnectionLost) => calls.lost(actor, call),
            Err(CallError::Deadline) => calls.late(actor, call, now),
            Err(_) => calls.unavailable(actor, call),
        };
        if let Err(what) = ended {
            self.model.borrow_mut().break_promise(6, what);
        }
    }

    fn chance(&self, one_in: u64) -> bool {
        one_in > 0 && self.random.borrow_mut().below(one_in) == 0
    }

    fn duration(&self, longest: Duration) -> Duration {
        let mut random = self.random.borrow_mut();
        random.duration(Duration::from_millis(1), longest)
    }
}

/// Answers at once or later, without a task.
fn answer(
    cx: &mut ServiceContext<'_, Echo>,
    request: &RoutedRequest<'_>,
) -> Result<Replied, Error> {
    let (actor, shared) = cx.state().owner();
    let nonce = shared.serves(actor, request.raw_params.get())?;
    if !shared.chance(cx.state().delays_one_in) {
        return cx.reply(&echo(nonce, actor));
    }
    let (to, replied) = cx.reply_later()?;
    cx.after(shared.duration(LONGEST_DELAY), move |cx| {
        cx.reply_to(to, Ok(echo(nonce, actor)));
    });
    Ok(replied)
}

/// Answers in a task, which may sleep and call others. It ends at any of these steps: with the
/// deadline of its caller, and in some cases with its connection.
async fn answer_in_task(cx: TaskContext<Echo>, request: TaskRequest) -> Result<Value, Error> {
    let (actor, shared) = cx.state().owner();
    let nonce = shared.serves(actor, request.raw_params().get())?;
    let _task = cx
        .deadline()
        .map(|until| OpenTask::new(&shared, actor, nonce, until));
    let delays_one_in = cx.state().delays_one_in;
    if shared.chance(2) {
        cx.end_with_caller();
    }
    if shared.chance(4) {
        call_leaf(cx.clone()).await;
    }
    if shared.chance(delays_one_in) {
        cx.sleep(shared.duration(LONGEST_DELAY)).await;
    }
    if shared.chance(4) {
        join(call_leaf(cx.clone()), call_leaf(cx.clone())).await;
    }
    if shared.chance(8) {
        cx.spawn(async |cx| {
            call_leaf(cx).await;
            Ok(())
        })?;
    }
    Ok(echo(nonce, actor))
}

/// Calls any node, and in some cases not until the end.
async fn call_leaf(cx: TaskContext<Echo>) {
    let (actor, shared) = cx.state().owner();
    let nonce = shared.calls.borrow_mut().draw();
    // A peer that answers no call in time is disconnected, which a quiet time must not have.
    let timeout = if shared.calls.borrow().is_quiet {
        LONGEST_DELAY + Duration::from_secs(1)
    } else {
        shared.duration(Duration::from_secs(2))
    };
    let is_idempotent = shared.chance(3);
    let until = cx.now() + timeout;
    let until = cx.deadline().map_or(until, |deadline| deadline.min(until));
    let key = CallKey::Task(nonce);
    (shared.calls.borrow_mut()).began(actor, key, nonce, until, is_idempotent);
    let _open = OpenCall {
        shared: shared.clone(),
        actor,
        key,
    };
    let params = serde_json::json!({ "nonce": nonce });
    let mut call = cx.get("/leaf").params(&params).timeout(timeout);
    if is_idempotent {
        call = call.idempotent();
    }
    let mut call = pin!(call.into_future());
    let mut patience = pin!(cx.sleep(shared.duration(timeout)));
    let is_patient = !shared.chance(4);
    let result = poll_fn(|waker| match call.as_mut().poll(waker) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if is_patient => Poll::Pending,
        Poll::Pending => patience.as_mut().poll(waker).map(|()| None),
    })
    .await;
    if let Some(result) = result {
        shared.ended(actor, key, &result, cx.now());
    }
}

/// A call of a task. If it has no result when this is dropped, it was cancelled.
struct OpenCall {
    shared: Shared,
    actor: ActorId,
    key: CallKey,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        // A process that is killed forgets all its calls.
        if let Ok(mut calls) = self.shared.calls.try_borrow_mut() {
            calls.cancelled(self.actor, self.key);
        }
    }
}

/// A task that has a deadline, until it is dropped.
struct OpenTask {
    shared: Shared,
    key: (ActorId, u64),
}

impl OpenTask {
    fn new(shared: &Shared, actor: ActorId, nonce: u64, until: Time) -> OpenTask {
        let key = (actor, nonce);
        shared.calls.borrow_mut().tasks.insert(key, until);
        OpenTask {
            shared: shared.clone(),
            key,
        }
    }
}

impl Drop for OpenTask {
    fn drop(&mut self) {
        if let Ok(mut calls) = self.shared.calls.try_borrow_mut() {
            calls.tasks.remove(&self.key);
        }
    }
}

/// Returns whether the node of this actor subscribes to what it calls; the others know all nodes.
fn follows_calls(actor: ActorId) -> bool {
    actor % 3 == 1
}

/// Longest delay of a reply.
const LONGEST_DELAY: Duration = Duration::from_secs(4);

fn record(cx: &mut ServiceContext<'_, Echo>, event: Event) {
    let state = cx.state();
    match event {
        Event::Link(link) => {
            state.link = link;
            state.link_changes += 1;
        }
        Event::Left(member) => state.losses.push(member.entry.to_string()),
        Event::Drained(drained) => state.drained = Some(drained.unacknowledged.is_empty()),
        Event::DrainedUnproven => state.drained = Some(false),
        _ => {}
    }
}

/// Name of the Distributor, and a name without an address, which nodes try first.
pub const DISTRIBUTOR: &str = "distributor.test:9000";
const NO_DISTRIBUTOR: &str = "none.test:9000";

/// A process with a node.
pub struct NodeProcess {
    pub actor: ActorId,
    pub id: ProcessId,
    pub reactor: Reactor,
    pub node: Node<Routes<Echo>>,
    pub distributor: SocketAddr,
    shared: Shared,
    conns: BTreeMap<ConnId, SocketAddr>,
    /// The last time that something kept it from running.
    pub undisturbed_since: Time,
    pub is_draining: bool,
}

impl NodeProcess {
    pub fn start(
        actor: ActorId,
        process: Process,
        addr: SocketAddr,
        distributor: SocketAddr,
        limits: Limits,
        shared: &Shared,
    ) -> io::Result<NodeProcess> {
        let id = process.id();
        let mut reactor = Reactor::simulated(process, limits);
        let delays_one_in = shared.random.borrow_mut().below(4);
        let echo = Echo {
            actor,
            shared: shared.clone(),
            delays_one_in,
            link: LinkState::Searching,
            losses: Vec::new(),
            link_changes: 0,
            drained: None,
        };
        if follows_calls(actor) {
            shared.model.borrow_mut().subscribers.insert(actor);
        }
        let node = Node::builder(format!("node {actor}"))
            .listen(addr)
            .distributor(NO_DISTRIBUTOR)
            .distributor(DISTRIBUTOR)
            .subscribe(if follows_calls(actor) {
                Interest::Calls
            } else {
                Interest::All
            })
            .state(echo)
            .on_event(record)
            .on_result(|cx, call, _result| {
                let what = format!("a second result of {call:?}");
                let shared = cx.state().shared.clone();
                shared.model.borrow_mut().break_promise(6, what);
            })
            .get_async("/echo", answer_in_task)
            .get(&format!("/echo/{actor}"), answer)
            .get("/leaf", answer)
            .build(reactor.net())
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(NodeProcess {
            actor,
            id,
            reactor,
            node,
            distributor,
            shared: shared.clone(),
            conns: BTreeMap::new(),
            undisturbed_since: shared.world.now(),
            is_draining: false,
        })
    }

    pub fn turn(&mut self) -> io::Result<()> {
        let mut watched = Watched {
            node: &mut self.node,
            actor: self.actor,
            id: self.id,
            distributor: self.distributor,
            shared: &self.shared,
            conns: &mut self.conns,
        };
        self.reactor.turn(Some(Duration::ZERO), &mut watched)
    }

    /// Calls any echo, or that of the node with this number.
    pub fn call(&mut self, of: Option<ActorId>, deadline: Duration, is_idempotent: bool) {
        let path = of.map_or("/echo".to_owned(), |of| format!("/echo/{of}"));
        let nonce = self.shared.calls.borrow_mut().draw();
        let params = serde_json::json!({ "nonce": nonce });
        let net = self.reactor.net();
        let until = net.now() + deadline;
        let (actor, shared) = (self.actor, self.shared.clone());
        let call = self.node.with_service(net, |cx| {
            let mut call = cx.get(&path).params(&params).timeout(deadline);
            if is_idempotent {
                call = call.idempotent();
            }
            let key = Rc::new(Cell::new(None));
            let known = Rc::clone(&key);
            let id = call.then(move |cx, result| {
                let now = cx.net().now();
                if let Some(key) = known.get() {
                    shared.ended(actor, key, &result, now);
                }
            });
            key.set(Some(CallKey::Id(id)));
            CallKey::Id(id)
        });
        let mut calls = self.shared.calls.borrow_mut();
        if let Some(call) = call {
            calls.began(self.actor, call, nonce, until, is_idempotent);
        }
    }

    /// Returns the number of its tasks, and of its calls without a result.
    pub fn in_progress(&mut self) -> (usize, usize) {
        let cx = self.node.context(self.reactor.net());
        (cx.tasks(), cx.calls_in_flight())
    }

    /// Returns the state of its service.
    pub fn state(&mut self) -> RefMut<'_, Echo> {
        self.node.service().state()
    }

    /// Returns whether it subscribes to what it calls.
    pub fn follows_calls(&self) -> bool {
        follows_calls(self.actor)
    }

    /// Returns the entries of its view as text. It looks for all routes that are called, so that it
    /// will know their nodes if it did not.
    pub fn view(&mut self) -> Vec<String> {
        let cx = self.node.context(self.reactor.net());
        for path in ["/echo", "/leaf"] {
            cx.roster().serving_prefix(&Route::get(path));
        }
        let members = cx.roster().members().iter();
        members.map(|member| member.entry.to_string()).collect()
    }
}

/// A node, which reports the frames of its Distributor to the model.
struct Watched<'a> {
    node: &'a mut Node<Routes<Echo>>,
    actor: ActorId,
    id: ProcessId,
    distributor: SocketAddr,
    shared: &'a Shared,
    conns: &'a mut BTreeMap<ConnId, SocketAddr>,
}

impl Handler for Watched<'_> {
    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        if let (Origin::Connected, Some(peer)) = (origin, net.peer_addr(conn))
            && !self.shared.world.is_established(self.id, peer)
        {
            let what = format!(
                "node {} reports {peer} as connected before it is",
                self.actor
            );
            self.shared.model.borrow_mut().break_promise(6, what);
        }
        if origin == Origin::Connected
            && net.peer_addr(conn) == Some(self.distributor)
            && let Some(local) = self.shared.world.local_addr(self.id, self.distributor)
        {
            let mut model = self.shared.model.borrow_mut();
            model.actor_of.insert(local, self.actor);
            self.conns.insert(conn, local);
        }
        self.node.on_open(net, conn, origin);
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        if let Some(local) = self.conns.get(&conn) {
            self.shared
                .model
                .borrow_mut()
                .received(self.actor, *local, frame);
        }
        self.node.on_frame(net, conn, frame);
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        self.conns.remove(&conn);
        self.node.on_close(net, conn, why);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        self.node.on_timer(net, timer, tag);
    }

    fn on_drained(&mut self, net: &mut Net, conn: ConnId) {
        self.node.on_drained(net, conn);
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.node.on_wake(net);
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.node.on_turn_end(net);
    }
}
