//! Nodes of this crate, with a service that replies at once or later.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::node::{
    CallError, CallId, Config, Context, Event, LinkState, Node, ReplyTo, Request, Service,
};
use pilcrow::protocol::{Reply, Route};
use pilcrow::reactor::{
    CloseReason, ConnId, Handler, Limits, Net, Origin, Owner, Reactor, TimerId,
};
use pilcrow::testing::sim::{Process, ProcessId, Random, World};
use serde::Deserialize;

use crate::calls::Calls;
use crate::model::{ActorId, Model};

/// State that the nodes of one simulation share.
#[derive(Clone)]
pub struct Shared {
    pub world: World,
    pub model: Rc<RefCell<Model>>,
    pub calls: Rc<RefCell<Calls>>,
    pub random: Rc<RefCell<Random>>,
}

/// The service of a node.
pub struct Echo {
    actor: ActorId,
    shared: Shared,
    /// One request of this many is answered later.
    pub delays_one_in: u64,
    delayed: VecDeque<(Time, ReplyTo, u64)>,
    pub link: LinkState,
    pub losses: Vec<String>,
    pub link_changes: usize,
    /// The reply to a drain: whether all sessions have acknowledged it.
    pub drained: Option<bool>,
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

impl Echo {
    fn answer(&mut self, cx: &mut Context<'_>, to: ReplyTo, nonce: u64) {
        cx.reply(to, &echo(nonce, self.actor));
    }
}

/// Returns results with the bytes of a frame end, which must be escaped.
fn echo(nonce: u64, by: ActorId) -> serde_json::Value {
    serde_json::json!({ "mark": "¶", "nonce": nonce, "by": by })
}

impl Service for Echo {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let Ok(Nonce { nonce }) = request.params::<Nonce>() else {
            let what = format!("a request that was not made: {}", request.raw_params.get());
            self.shared.model.borrow_mut().break_promise(7, what);
            return;
        };
        let executed = self.shared.calls.borrow_mut().executed(nonce, self.actor);
        if let Err(what) = executed {
            self.shared.model.borrow_mut().break_promise(6, what);
        }
        let mut random = self.shared.random.borrow_mut();
        if self.delays_one_in > 0 && random.below(self.delays_one_in) == 0 {
            let wait = random.duration(Duration::from_millis(1), Duration::from_secs(4));
            let at = cx.net().now() + wait;
            drop(random);
            let place = self.delayed.partition_point(|(other, ..)| *other <= at);
            self.delayed.insert(place, (at, reply_to, nonce));
            cx.net().arm(Owner::default(), at, u64::MAX);
            return;
        }
        drop(random);
        self.answer(cx, reply_to, nonce);
    }

    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let now = cx.net().now();
        let mut calls = self.shared.calls.borrow_mut();
        let ended = match result {
            Ok(reply) => match serde_json::from_str::<Echoed>(reply.raw_results()) {
                Ok(Echoed { nonce, by }) => calls.replied(self.actor, call, nonce, by),
                Err(_) => calls.forged(self.actor, call, reply.raw_results()),
            },
            Err(CallError::Refused(_) | CallError::ConnectionLost) => calls.ended(self.actor, call),
            Err(CallError::Deadline) => calls.late(self.actor, call, now),
            Err(_) => calls.unavailable(self.actor, call),
        };
        if let Err(what) = ended {
            self.shared.model.borrow_mut().break_promise(6, what);
        }
    }

    fn on_event(&mut self, _cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Link(state) => {
                self.link = state;
                self.link_changes += 1;
            }
            Event::Left(member) => self.losses.push(member.entry.to_string()),
            Event::Drained(drained) => self.drained = Some(drained.unacknowledged.is_empty()),
            Event::DrainedUnproven => self.drained = Some(false),
            _ => {}
        }
    }
}

/// A process with a node.
pub struct NodeProcess {
    pub actor: ActorId,
    pub id: ProcessId,
    pub reactor: Reactor,
    pub node: Node<Echo>,
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
        let config = Config {
            name: format!("node {actor}"),
            routes: vec![
                Route::get("/echo"),
                Route::new("GET", format!("/echo/{actor}")),
            ],
            listen: Some(addr),
            distributor: Some(distributor.into()),
            ..Config::default()
        };
        let delays_one_in = shared.random.borrow_mut().below(4);
        let echo = Echo {
            actor,
            shared: shared.clone(),
            delays_one_in,
            delayed: VecDeque::new(),
            link: LinkState::Searching,
            losses: Vec::new(),
            link_changes: 0,
            drained: None,
        };
        let mut node = Node::new(config, echo);
        node.start(reactor.net())?;
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
        let cx = &mut self.node.context(net);
        let call = if is_idempotent {
            cx.call_idempotent(&Route::get(&path), &params, deadline)
        } else {
            cx.call(&Route::get(&path), &params, deadline)
        };
        let mut calls = self.shared.calls.borrow_mut();
        calls.began(self.actor, call, nonce, until, is_idempotent);
    }

    /// Returns the entries of its view as text.
    pub fn view(&mut self) -> Vec<String> {
        let cx = self.node.context(self.reactor.net());
        let members = cx.roster().members().iter();
        members.map(|member| member.entry.to_string()).collect()
    }
}

/// A node, which reports the frames of its Distributor to the model.
struct Watched<'a> {
    node: &'a mut Node<Echo>,
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
        if tag == u64::MAX {
            let now = net.now();
            // A timer of the service: nodes use other tags.
            let mut delayed = std::mem::take(&mut self.node.service().delayed);
            while delayed.front().is_some_and(|(at, ..)| *at <= now) {
                if let Some((_, to, nonce)) = delayed.pop_front() {
                    self.node.context(net).reply(to, &echo(nonce, self.actor));
                }
            }
            self.node.service().delayed = delayed;
            return;
        }
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
