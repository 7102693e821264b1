//! A node: your service, its view of all others, and calls to them, in your own thread and loop.
//!
//! A [`Node`] is a [`Handler`]. It registers with a Distributor, keeps a
//! [`Roster`] of who is there, serves requests through your [`Service`], and calls other nodes
//! through [`Context`]. It works with a [`Distributor`](crate::distributor::Distributor) of this crate,
//! and with that of the book: the one in Node.js that the protocol comes from, which sends lists and
//! knows nothing of sessions.
//!
//! ```no_run
//! use std::net::SocketAddr;
//!
//! use pilcrow::node::{Config, Context, Node, ReplyTo, Request, Service};
//! use pilcrow::protocol::ErrorCode;
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! struct Goods;
//!
//! impl Service for Goods {
//!     fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
//!         match (request.method(), request.uri()) {
//!             ("GET", "/goods") => cx.reply(reply_to, &["apples", "pears"]),
//!             _ => cx.refuse(reply_to, ErrorCode::NotFound, "no such uri or method here"),
//!         }
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(Limits::default())?;
//!     let config = Config {
//!         name: "goods".to_owned(),
//!         urls: vec!["GET/goods".to_owned()],
//!         listen: Some(([127, 0, 0, 1], 9010).into()),
//!         distributor: Some(SocketAddr::from(([127, 0, 0, 1], 9000)).into()),
//!         ..Config::default()
//!     };
//!     let mut node = Node::new(config, Goods);
//!     node.start(reactor.net())?;
//!     loop {
//!         reactor.turn(None, &mut node)?;
//!     }
//! }
//! ```
//!
//! [`Context`] is given to each callback, and between turns by [`Node::context`]. [`Context::call`] asks
//! whoever serves a url; its result comes by [`Service::on_result`]. What else happens comes by
//! [`Service::on_event`]: the link to the Distributor, nodes that join and leave. [`Context::drain`] and
//! then [`Context::stop`] leave in good order.
//!
//! A node lives in the thread of its reactor, and several can share one: see
//! [`Composite`](crate::reactor::Composite). Other threads call through a [`Handle`].
//!
//! A node without a Distributor is a plain server, and one without a listener a plain client of
//! whatever address it is given:
//!
//! ```
//! use std::time::Duration;
//! use pilcrow::node::{CallError, CallId, Config, Context, Node, ReplyTo, Request, Service};
//! use pilcrow::protocol::Reply;
//! use pilcrow::reactor::{Limits, Reactor};
//!
//! struct Server;
//!
//! impl Service for Server {
//!     fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
//!         cx.reply(reply_to, request.uri());
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Client(Option<String>);
//!
//! impl Service for Client {
//!     fn on_result(&mut self, _: &mut Context<'_>, _: CallId, result: Result<Reply<'_>, CallError<'_>>) {
//!         self.0 = result.ok().map(|reply| reply.results().to_owned());
//!     }
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     let mut reactor = Reactor::new(Limits::default())?;
//!     let any_port = Some("127.0.0.1:0".parse().unwrap());
//!     let mut server = Node::new(Config { listen: any_port, ..Config::default() }, Server);
//!     let addr = server.start(reactor.net())?.unwrap();
//!
//!     let mut client = Node::new(Config::default(), Client::default());
//!     client.start(reactor.net())?;
//!     let second = Duration::from_secs(1);
//!     client.context(reactor.net()).call_at(addr, "GET", "/hello", &(), second);
//!     while client.service().0.is_none() {
//!         reactor.turn(None, &mut (&mut server, &mut client))?;
//!     }
//!     assert_eq!(client.service().0.as_deref(), Some("\"/hello\""));
//!     Ok(())
//! }
//! ```

mod address;
mod call_error;
mod calls;
mod context;
mod handle;
mod link;
mod peers;
mod roster;
mod served;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::protocol::{Drained, ErrorCode, Reply, Token};
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{
    CloseReason, ConnId, Handler, ListenOptions, ListenerId, Net, Origin, Owner, TimerId, Waker,
};
use crate::time::Time;
use calls::Calls;
use link::DistributorLink;
use peers::Peers;

pub use address::{DistributorAddress, Resolve};
pub use call_error::CallError;
pub use calls::CallId;
pub use context::{Context, WaitId};
pub use handle::Handle;
pub use link::LinkState;
pub use roster::{Member, Roster};
pub use served::{ReplyTo, Request};

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, under which others find it. A label: several nodes may have the same.
    pub name: String,
    /// What it serves, as `METHOD/path`.
    pub urls: Vec<String>,
    /// Where it listens. `None`: it only calls others, and is not listed. (A Distributor of the book
    /// lists it all the same, and gateways of the book die of an entry without a port: in such a
    /// fleet give it an `advertised_port`.)
    pub listen: Option<SocketAddr>,
    /// The port that others are told, if it is another than the one it listens on.
    pub advertised_port: Option<u16>,
    /// Where the Distributor is. `None`: there is none, and the roster stays empty.
    pub distributor: Option<DistributorAddress>,
    /// What admits it at the Distributor, where that asks for a token.
    pub token: Option<Token<'static>>,
    /// Calls to one peer without an outcome. More wait nowhere: they have nobody to go to. As those
    /// that a peer which reads too slowly has no room for, by the reactor's `max_unsent_bytes`.
    pub max_in_flight_per_peer: usize,
    /// One frame from another node.
    pub max_frame_bytes: usize,
    /// One list from the Distributor.
    pub max_list_bytes: usize,
    /// From losing the Distributor to the second try to reach it again, and between the others; the
    /// first is made at once. Drawn anew each time, between half of it and one and a half.
    pub retry: Duration,
    /// How long the Distributor may take to answer a registration.
    pub registration_timeout: Duration,
    /// How long the view of a Distributor without sessions is merged with the one from before,
    /// after it was lost.
    pub merge: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: String::new(),
            urls: Vec::new(),
            listen: None,
            advertised_port: None,
            distributor: None,
            token: None,
            max_in_flight_per_peer: 1024,
            max_frame_bytes: 1 << 20,
            max_list_bytes: 16 << 20,
            retry: Duration::from_secs(3),
            registration_timeout: Duration::from_secs(2),
            merge: Duration::from_secs(10),
        }
    }
}

/// What you do with requests, outcomes and news. Everything has a default: implement what you need.
pub trait Service {
    /// Somebody asks for something. Answer with [`Context::reply`] or [`Context::refuse`], now or
    /// later: `reply_to` can be kept. What is never answered costs its caller the deadline.
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let _ = request;
        cx.refuse(reply_to, ErrorCode::NotFound, "no such uri or method here");
    }

    /// Receives the result of a call: exactly once for each, and never before [`Context::call`]
    /// returns.
    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let _ = (cx, call, result);
    }

    /// Something changed around the node.
    fn on_event(&mut self, cx: &mut Context<'_>, event: Event<'_>) {
        let _ = (cx, event);
    }
}

/// A service that serves nothing, for nodes that only call.
impl Service for () {}

/// What changed around a node.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The connection to the Distributor is in another state.
    Link(LinkState),
    /// The Distributor refused the registration. It is tried again after [`Config::retry`]; and the
    /// later the more often it was refused with [`ErrorCode::NotAllowed`], up to ten times as late.
    RegistrationRefused(Reply<'a>),
    /// A node is there that was not.
    Joined(&'a Member),
    /// A node is gone.
    Left(&'a Member),
    /// What [`Context::wait_for`] waited for is there (`true`), or its time is over.
    Waited(WaitId, bool),
    /// The node is out of the list, and this is who knows.
    Drained(&'a Drained),
    /// The link was lost while the node drained: it is not listed, but who knows is not known. Told
    /// when the time to wait is over; until then calls may still come.
    DrainedUnproven,
}

/// A node in a fleet.
#[derive(Debug)]
pub struct Node<S> {
    core: Core,
    service: S,
}

/// All of a node but what its user does.
#[derive(Debug)]
struct Core {
    config: Config,
    /// Allocated where it is first needed.
    owner: Option<Owner>,
    listener: Option<ListenerId>,
    roles: ConnMap<Role>,
    roster: Roster,
    link: DistributorLink,
    peers: Peers,
    calls: Calls,
    waits: Vec<context::Wait>,
    next_wait: u64,
    /// What the service is to be told as soon as nobody is in a callback of it.
    news: Vec<News>,
    posted: Option<handle::Posted>,
}

/// What a connection is to the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Distributor,
    Caller,
    Peer(usize),
}

/// News that wait to be told.
#[derive(Debug)]
enum News {
    Link(LinkState),
    Joined(Member),
    Left(Member),
    Waited(WaitId, bool),
    Drained(Drained),
    DrainedUnproven,
}

impl<S: Service> Node<S> {
    /// A node that has not started.
    pub fn new(config: Config, service: S) -> Node<S> {
        Node {
            core: Core {
                owner: None,
                link: DistributorLink::new(config.distributor.clone()),
                config,
                listener: None,
                roles: ConnMap::default(),
                roster: Roster::default(),
                peers: Peers::default(),
                calls: Calls::default(),
                waits: Vec::new(),
                next_wait: 0,
                news: Vec::new(),
                posted: None,
            },
            service,
        }
    }

    /// Listens, and begins to look for the Distributor. Returns where it listens.
    ///
    /// Errors are those of [`Net::listen`].
    pub fn start(&mut self, net: &mut Net) -> io::Result<Option<SocketAddr>> {
        let owner = self.core.claim_owner(net);
        let mut listening = None;
        if let Some(addr) = self.core.config.listen {
            let options = ListenOptions {
                owner,
                max_frame_bytes: Some(self.core.config.max_frame_bytes),
                ..ListenOptions::default()
            };
            let listener = net.listen(addr, options)?;
            self.core.listener = Some(listener);
            listening = net.local_addr(listener);
        }
        self.core.start_link(net, listening.map(|addr| addr.port()));
        Ok(listening)
    }

    /// What the node can do, between turns of its reactor.
    pub fn context<'a>(&'a mut self, net: &'a mut Net) -> Context<'a> {
        Context::new(&mut self.core, net)
    }

    /// Your service.
    pub fn service(&mut self) -> &mut S {
        &mut self.service
    }

    /// Lets other threads post calls. `waker` is that of the reactor that turns the node.
    pub fn handle(&mut self, waker: Waker) -> Handle {
        handle::open(&mut self.core.posted, waker)
    }

    /// Tells the service what has happened meanwhile. What it causes by that waits for the next turn.
    fn tell_news(&mut self, net: &mut Net) {
        for news in std::mem::take(&mut self.core.news) {
            let event = match &news {
                News::Link(state) => Event::Link(*state),
                News::Joined(member) => Event::Joined(member),
                News::Left(member) => Event::Left(member),
                News::Waited(wait, there) => Event::Waited(*wait, *there),
                News::Drained(drained) => Event::Drained(drained),
                News::DrainedUnproven => Event::DrainedUnproven,
            };
            self.service
                .on_event(&mut Context::new(&mut self.core, net), event);
        }
        for _ in 0..self.core.calls.completed.len() {
            let Some((call, error)) = self.core.calls.completed.pop_front() else {
                break;
            };
            self.give_result(net, call, Err(error));
        }
        if !self.core.news.is_empty() || !self.core.calls.completed.is_empty() {
            self.core.wake_next_turn(net);
        }
    }

    fn give_result(
        &mut self,
        net: &mut Net,
        call: calls::CompletedCall,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        match call.posted_by {
            Some(caller) => handle::answer(&caller, result),
            None => {
                let cx = &mut Context::of_result(&mut self.core, net, call.responder);
                self.service.on_result(cx, call.id, result);
            }
        }
    }

    fn on_request_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        let Some((request, reply_to)) = served::read(net, conn, frame) else {
            return;
        };
        let mut cx = Context::within(&mut self.core, net, &request);
        self.service.on_request(&mut cx, &request, reply_to);
    }

    fn on_reply_frame(&mut self, net: &mut Net, peer: usize, frame: &[u8]) {
        let Some(reply) = Reply::parse(frame) else {
            return;
        };
        let Some(call) = reply
            .key()
            .and_then(|key| self.core.take_answered(net, key, peer))
        else {
            return;
        };
        let result = if reply.errorcode == 0 {
            Ok(reply)
        } else {
            Err(CallError::Refused(reply))
        };
        self.give_result(net, call, result);
    }

    fn on_distributor_frame(&mut self, net: &mut Net, frame: &[u8]) {
        if let Some(refusal) = self.core.link_frame(net, frame) {
            let cx = &mut Context::new(&mut self.core, net);
            self.service
                .on_event(cx, Event::RegistrationRefused(refusal));
        }
    }
}

impl<S: Service> Handler for Node<S> {
    fn owns(&self, owner: Owner) -> bool {
        self.core.owner == Some(owner)
    }

    fn on_open(&mut self, net: &mut Net, conn: ConnId, origin: Origin) {
        match (origin, self.core.roles.get(conn)) {
            (Origin::Accepted(listener), _) if self.core.listener == Some(listener) => {
                self.core.roles.insert(conn, Role::Caller);
            }
            (Origin::Connected, Some(Role::Distributor)) => self.core.link_opened(net, conn),
            (Origin::Connected, Some(Role::Peer(peer))) => {
                let peer = *peer;
                self.core.peer_opened(net, peer, conn);
            }
            _ => {}
        }
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        match self.core.roles.get(conn) {
            Some(Role::Caller) => self.on_request_frame(net, conn, frame),
            Some(Role::Peer(peer)) => {
                let peer = *peer;
                self.on_reply_frame(net, peer, frame);
            }
            Some(Role::Distributor) => self.on_distributor_frame(net, frame),
            None => {}
        }
    }

    fn on_close(&mut self, net: &mut Net, conn: ConnId, why: CloseReason) {
        match self.core.roles.remove(conn) {
            Some(Role::Distributor) => self.core.link_closed(net, conn),
            Some(Role::Peer(peer)) => self.core.peer_closed(net, peer, conn, why),
            Some(Role::Caller) | None => {}
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        self.core.timer_rang(net, timer, tag);
    }

    fn on_wake(&mut self, net: &mut Net) {
        self.core.take_posted(net);
        self.core.link_woken(net);
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.tell_news(net);
    }
}

impl Core {
    fn claim_owner(&mut self, net: &mut Net) -> Owner {
        *self.owner.get_or_insert_with(|| net.new_owner())
    }

    fn arm(&mut self, net: &mut Net, deadline: Time, tag: Tag) -> TimerId {
        let owner = self.claim_owner(net);
        net.arm(owner, deadline, tag.pack())
    }

    fn timer_rang(&mut self, net: &mut Net, timer: TimerId, tag: u64) {
        match Tag::unpack(tag) {
            Some(Tag::Link) => self.link_timer_rang(net, timer),
            Some(Tag::Call(key)) => self.call_deadline(net, key),
            Some(Tag::Wait(number)) => self.wait_timed_out(number),
            Some(Tag::Kept) => self.look_at_kept(net),
            // It has ended the wait: what is to be told is told at the end of the turn.
            Some(Tag::News) => self.take_posted(net),
            None => {}
        }
    }

    /// Takes in what other threads have posted.
    fn take_posted(&mut self, net: &mut Net) {
        for _ in 0..MAX_POSTED_PER_TURN {
            let Some(call) = self.posted.as_ref().and_then(handle::Posted::take) else {
                return;
            };
            self.call_posted(net, call);
        }
        self.wake_next_turn(net);
    }

    /// Sees to it that what waits to be told does not wait for an event.
    fn wake_next_turn(&mut self, net: &mut Net) {
        self.arm(net, net.now(), Tag::News);
    }

    fn tell_later(&mut self, net: &mut Net, news: News) {
        if self.news.is_empty() {
            self.wake_next_turn(net);
        }
        self.news.push(news);
    }
}

/// Threads that post without a pause must not keep a turn from ending.
const MAX_POSTED_PER_TURN: usize = 1024;

/// What a timer of a node is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    Link,
    News,
    Call(u64),
    Wait(u64),
    Kept,
}

const TAG_BITS: u32 = 3;

impl Tag {
    fn pack(self) -> u64 {
        match self {
            Tag::Link => 0,
            Tag::News => 1,
            Tag::Call(key) => key << TAG_BITS | 2,
            Tag::Wait(number) => number << TAG_BITS | 3,
            Tag::Kept => 4,
        }
    }

    fn unpack(tag: u64) -> Option<Tag> {
        let number = tag >> TAG_BITS;
        Some(match tag & ((1 << TAG_BITS) - 1) {
            0 => Tag::Link,
            1 => Tag::News,
            2 => Tag::Call(number),
            3 => Tag::Wait(number),
            4 => Tag::Kept,
            _ => return None,
        })
    }
}
