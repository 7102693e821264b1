//! `rpc_round_trip`: requests to a node that echoes, beside bare epoll loops that do the same.
//!
//! Compares the processor time of the serving thread, including the kernel's part.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod side_by_side;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use pilcrow::node::{
    Builder, CallError, CallId, Config, Context, Node, ReplyTo, Request, Routes, Service,
};
use pilcrow::protocol::{ErrorCode, Reply, Route};
use pilcrow::reactor::{Limits, Reactor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use side_by_side::client::Client;
use side_by_side::{compare, cpu_of, is_selected, print_head};

const ROUNDS: usize = 25;
const REQUESTS: usize = 64_000;
/// 64 bytes.
const PARAMS: &str = r#"{"name":"apples","count":12,"note":"sixty-four bytes, all JSON"}"#;
const TIMEOUT: Duration = Duration::from_secs(60);
const ANY_PORT: &str = "127.0.0.1:0";

fn main() {
    print_head();
    for (load, connections, depth) in [
        ("32 in flight on 1 connection", 1, 32),
        ("1 in flight on 64 connections", 64, 1),
    ] {
        let echo = format!("{load}, beside an echo");
        if is_selected(&echo) {
            beside(&echo, connections, depth, |bytes, out| {
                out.extend_from_slice(bytes);
                bytes.len()
            });
        }
        let parse = format!("{load}, beside serde_json alone");
        if is_selected(&parse) {
            beside(&parse, connections, depth, answer_with_serde_json);
        }
        let routes = format!("{load}, routes beside callbacks");
        if is_selected(&routes) {
            let mut callbacks = Ours::new(Echo::default());
            beside_callbacks(
                &routes,
                connections,
                depth,
                Routed::new(false),
                &mut callbacks,
            );
        }
        let tasks = format!("{load}, async beside callbacks");
        if is_selected(&tasks) {
            let mut callbacks = Ours::new(Echo::default());
            beside_callbacks(
                &tasks,
                connections,
                depth,
                Routed::new(true),
                &mut callbacks,
            );
        }
        let calls = format!("{load}, async call beside callbacks");
        if is_selected(&calls) {
            let mut callbacks = Ours::new(Asking::default());
            callbacks.node.service().asked = Some(callbacks.other_addr);
            beside_callbacks(&calls, connections, depth, Routed::asking(), &mut callbacks);
        }
    }
}

/// Compares a service with routes with one of callbacks.
fn beside_callbacks<S: Counting>(
    row: &str,
    connections: usize,
    depth: usize,
    mut routed: Routed,
    callbacks: &mut Ours<S>,
) {
    compare(
        row,
        ROUNDS,
        u32::try_from(REQUESTS).unwrap(),
        || {
            let client = client(connections, depth).start(routed.addr);
            routed.served.set(0);
            let cost = cpu_of(|| {
                let both = &mut (&mut routed.node, &mut routed.other);
                while routed.served.get() < REQUESTS {
                    routed.reactor.turn(None, both).unwrap();
                }
            });
            client.join().unwrap();
            cost
        },
        || {
            let client = client(connections, depth).start(callbacks.addr);
            let cost = cpu_of(|| callbacks.serve());
            client.join().unwrap();
            cost
        },
    );
}

/// An echo with one route, and another node on the same reactor.
struct Routed {
    reactor: Reactor,
    node: Node<Routes>,
    addr: SocketAddr,
    other: Node<Echo>,
    served: Rc<Cell<usize>>,
}

impl Routed {
    fn new(is_async: bool) -> Routed {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let served = Rc::new(Cell::new(0));
        let count = Rc::clone(&served);
        let builder = Node::builder("echo").listen(ANY_PORT);
        let builder = if is_async {
            builder.get_async("/echo", async move |cx, request| {
                count.set(count.get() + 1);
                cx.reply(&request.raw_params())
            })
        } else {
            builder.get("/echo", move |cx, request| {
                count.set(count.get() + 1);
                cx.reply(&request.raw_params())
            })
        };
        let (other, _) = start(&mut reactor, Echo::default());
        Routed::with(reactor, builder, other, served)
    }

    /// Returns a service whose handler forwards each request to the other node.
    fn asking() -> Routed {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let (other, asked) = start(&mut reactor, Echo::default());
        let served = Rc::new(Cell::new(0));
        let count = Rc::clone(&served);
        let builder = Node::builder("asking").listen(ANY_PORT);
        let builder = builder.get_async("/echo", async move |cx, request| {
            let params = request.raw_params();
            let call = cx.get("/echo").params(&params).timeout(TIMEOUT);
            let reply = call.to(asked).await?;
            count.set(count.get() + 1);
            cx.reply(&reply.results::<&RawValue>()?)
        });
        Routed::with(reactor, builder, other, served)
    }

    fn with(
        mut reactor: Reactor,
        builder: Builder,
        other: Node<Echo>,
        served: Rc<Cell<usize>>,
    ) -> Routed {
        let node = builder.build(reactor.net()).unwrap();
        let addr = node.local_addr(reactor.net()).unwrap();
        Routed {
            reactor,
            node,
            addr,
            other,
            served,
        }
    }
}

/// Starts a node of callbacks, and returns its address.
fn start<S: Service>(reactor: &mut Reactor, service: S) -> (Node<S>, SocketAddr) {
    let config = Config::default().listen(ANY_PORT.parse::<SocketAddr>().unwrap());
    let mut node = Node::new(config, service);
    let addr = node.start(reactor.net()).unwrap().unwrap();
    (node, addr)
}

fn beside(
    row: &str,
    connections: usize,
    depth: usize,
    answer: impl Fn(&[u8], &mut Vec<u8>) -> usize,
) {
    let mut ours = Ours::new(Echo {
        served: 0,
        notifies: true,
    });
    let mut bare = Bare::new(answer);
    compare(
        row,
        ROUNDS,
        u32::try_from(REQUESTS).unwrap(),
        || {
            let client = client(connections, depth).start(ours.addr);
            let cost = cpu_of(|| ours.serve());
            client.join().unwrap();
            cost
        },
        || {
            let client = client(connections, depth).start(bare.addr);
            let cost = cpu_of(|| bare.serve());
            client.join().unwrap();
            cost
        },
    );
}

/// A service that counts its requests.
trait Counting: Service {
    fn served(&mut self) -> &mut usize;
}

impl Counting for Echo {
    fn served(&mut self) -> &mut usize {
        &mut self.served
    }
}

impl Counting for Asking {
    fn served(&mut self) -> &mut usize {
        &mut self.served
    }
}

/// Callbacks that forward each request to another node.
#[derive(Default)]
struct Asking {
    asked: Option<SocketAddr>,
    pending: HashMap<CallId, ReplyTo>,
    served: usize,
}

impl Service for Asking {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route != Route::get("/echo") {
            let message = "this node serves only GET /echo";
            return cx.refuse(reply_to, ErrorCode::NotFound, message);
        }
        let asked = self.asked.unwrap();
        let id = cx.call_at(asked, &Route::get("/echo"), request.raw_params, TIMEOUT);
        self.pending.insert(id, reply_to);
    }

    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let reply_to = self.pending.remove(&call).unwrap();
        self.served += 1;
        let reply = result.unwrap();
        cx.reply(reply_to, reply.results::<&RawValue>().unwrap());
    }
}

/// An echo of callbacks, with a count of requests.
#[derive(Default)]
struct Echo {
    served: usize,
    /// It looks for nodes to notify.
    notifies: bool,
}

impl Service for Echo {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route != Route::get("/echo") {
            cx.refuse(
                reply_to,
                ErrorCode::NotFound,
                "this node serves only GET /echo",
            );
            return;
        }
        self.served += 1;
        cx.reply(reply_to, request.raw_params);
        if self.notifies && cx.roster().named("logs").next().is_some() {
            cx.notify("logs", &Route::post("/logs"), "echo served a request");
        }
    }
}

/// A service of callbacks, and another node on the same reactor.
struct Ours<S> {
    reactor: Reactor,
    node: Node<S>,
    addr: SocketAddr,
    other: Node<Echo>,
    other_addr: SocketAddr,
}

impl<S: Counting> Ours<S> {
    fn new(service: S) -> Ours<S> {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let (node, addr) = start(&mut reactor, service);
        let (other, other_addr) = start(&mut reactor, Echo::default());
        Ours {
            reactor,
            node,
            addr,
            other,
            other_addr,
        }
    }

    /// Serves all requests of one client.
    fn serve(&mut self) {
        *self.node.service().served() = 0;
        let both = &mut (&mut self.node, &mut self.other);
        while *both.0.service().served() < REQUESTS {
            self.reactor.turn(None, both).unwrap();
        }
    }
}

/// One thread, edge-triggered epoll, and one read and one write per event.
struct Bare<A> {
    poll: Poll,
    listener: TcpListener,
    addr: SocketAddr,
    answer: A,
}

impl<A: Fn(&[u8], &mut Vec<u8>) -> usize> Bare<A> {
    fn new(answer: A) -> Bare<A> {
        let poll = Poll::new().unwrap();
        let mut listener = TcpListener::bind(ANY_PORT.parse().unwrap()).unwrap();
        let registry = poll.registry();
        registry
            .register(&mut listener, Token(usize::MAX), Interest::READABLE)
            .unwrap();
        let addr = listener.local_addr().unwrap();
        Bare {
            poll,
            listener,
            addr,
            answer,
        }
    }

    /// Serves all requests of one client.
    fn serve(&mut self) {
        let mut streams: Vec<mio::net::TcpStream> = Vec::new();
        let mut events = Events::with_capacity(1024);
        let (mut bytes, mut out) = (vec![0; 64 << 10], Vec::with_capacity(64 << 10));
        let mut kept: Vec<Vec<u8>> = Vec::new();
        let mut open = 0;
        loop {
            self.poll.poll(&mut events, None).unwrap();
            for event in &events {
                let Token(index) = event.token();
                if index == usize::MAX {
                    while let Ok((mut stream, _)) = self.listener.accept() {
                        stream.set_nodelay(true).unwrap();
                        let token = Token(streams.len());
                        let registry = self.poll.registry();
                        registry
                            .register(&mut stream, token, Interest::READABLE)
                            .unwrap();
                        streams.push(stream);
                        kept.push(Vec::new());
                        open += 1;
                    }
                    continue;
                }
                match streams[index].read(&mut bytes) {
                    Ok(0) => {
                        open -= 1;
                        if open == 0 {
                            return;
                        }
                    }
                    Ok(count) => {
                        out.clear();
                        let kept = &mut kept[index];
                        if kept.is_empty() {
                            let used = (self.answer)(&bytes[..count], &mut out);
                            kept.extend_from_slice(&bytes[used..count]);
                        } else {
                            kept.extend_from_slice(&bytes[..count]);
                            let used = (self.answer)(kept, &mut out);
                            kept.drain(..used);
                        }
                        if !out.is_empty() {
                            streams[index].write_all(&out).unwrap();
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct BareRequest<'a> {
    #[serde(borrow)]
    uri: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    key: u64,
    #[serde(borrow)]
    params: &'a RawValue,
}

#[derive(Serialize)]
struct BareReply<'a> {
    key: u64,
    errorcode: u32,
    errormessage: &'a str,
    results: &'a RawValue,
}

/// Answers the complete requests, and returns how many bytes they have.
fn answer_with_serde_json(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut used = 0;
    for end in memmem::find_iter(bytes, "¶") {
        let request: BareRequest<'_> = serde_json::from_slice(&bytes[used..end]).unwrap();
        assert!((&*request.method, &*request.uri) == ("GET", "/echo"));
        let reply = BareReply {
            key: request.key,
            errorcode: 0,
            errormessage: "success",
            results: request.params,
        };
        serde_json::to_writer(&mut *out, &reply).unwrap();
        out.extend_from_slice("¶".as_bytes());
        used = end + "¶".len();
    }
    used
}

fn client(connections: usize, depth: usize) -> Client {
    Client {
        request: format!(r#"{{"uri":"/echo","method":"GET","key":1234567,"params":{PARAMS}}}¶"#),
        // The last byte of `¶`: all other bytes are ASCII.
        mark: 0xB6,
        connections,
        depth,
        requests: REQUESTS,
    }
}
