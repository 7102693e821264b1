//! Counts allocations: steady state has none per message.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pilcrow::distributor::{Config, Distributor, Snapshot, SnapshotSink};
use pilcrow::node::{
    self, CallError, CallId, Context, Interest, LinkState, Node, ReplyTo, Request, Service,
};
use pilcrow::protocol::{Reply, Route};
use pilcrow::reactor::{
    ConnId, Handler, Limits, ListenOptions, Net, Reactor, SharedFrame, TcpOptions,
};
use serde_json::{Value, json};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
    BYTES.with(|all| all.set(all.get() + bytes as u64));
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        unsafe { System.realloc(place, layout, new_size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn client(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Turns until it is `done`. Returns the number of allocations in the turns themselves.
fn turn_until(
    reactor: &mut Reactor,
    handler: &mut dyn Handler,
    mut done: impl FnMut() -> bool,
) -> u64 {
    let mut allocated = 0;
    while !done() {
        let before = ALLOCATIONS.get();
        reactor
            .turn(Some(Duration::from_millis(1)), handler)
            .unwrap();
        allocated += ALLOCATIONS.get() - before;
    }
    allocated
}

/// Reads the bytes that are available.
fn read<'s>(stream: &mut TcpStream, scratch: &'s mut [u8]) -> &'s [u8] {
    match stream.read(scratch) {
        Ok(count) => &scratch[..count],
        Err(error) if error.kind() == ErrorKind::WouldBlock => &[],
        Err(error) => panic!("{error}"),
    }
}

/// Returns how many frames end in `bytes`.
fn count_frames(bytes: &[u8]) -> usize {
    memchr::memchr_iter(0xB6, bytes).count()
}

/// Sends each frame back, and a shared one after it.
struct Echo(SharedFrame);

impl Handler for Echo {
    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        assert!(net.send_with(conn, |reply| reply.write_all(frame)));
        net.send_shared(conn, &self.0);
    }
}

#[test]
fn forwards_frames_without_allocation() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let listener = reactor
        .net()
        .listen(any_port(), ListenOptions::default())
        .unwrap();
    let addr = reactor.net().local_addr(listener).unwrap();
    let mut echo = Echo(SharedFrame::new(|out| {
        out.extend_from_slice(b"{\"shared\":true}")
    }));
    let mut client = client(addr);
    let mut scratch = vec![0; 1 << 16];

    let frame = format!("{{\"params\":\"{}\"}}¶", "x".repeat(500));
    let (begin, end) = frame.as_bytes().split_at(frame.len() - 1);
    let mut round = |reactor: &mut Reactor, echo: &mut Echo| {
        // Two frames in one write, then one in two, cut inside its end.
        let mut allocated = 0;
        let mut missing = 6;
        client.write_all(frame.as_bytes()).unwrap();
        client.write_all(frame.as_bytes()).unwrap();
        client.write_all(begin).unwrap();
        let mut turns = 0;
        allocated += turn_until(reactor, echo, || {
            missing -= count_frames(read(&mut client, &mut scratch));
            turns += 1;
            missing == 2 && turns > 3
        });
        client.write_all(end).unwrap();
        allocated
            + turn_until(reactor, echo, || {
                missing -= count_frames(read(&mut client, &mut scratch));
                missing == 0
            })
    };
    for _ in 0..50 {
        round(&mut reactor, &mut echo);
    }
    let allocated: u64 = (0..300).map(|_| round(&mut reactor, &mut echo)).sum();
    assert_eq!(allocated, 0, "in 900 frames");
}

#[test]
fn pushes_lists_without_allocation_per_receiver() {
    let few = allocations_of_pushes(10);
    let many = allocations_of_pushes(200);
    assert_eq!(few, many, "10 and 200 receivers");
}

#[test]
fn checks_for_silent_connections_without_allocation() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let mut distributor = Distributor::new(Config::default());
    let addr = distributor.listen(reactor.net(), any_port()).unwrap();
    let _unregistered = client(addr);
    // Longer than the half second between two checks. The first may fill a pool.
    let mut window = || {
        let end = Instant::now() + Duration::from_millis(700);
        turn_until(&mut reactor, &mut distributor, || Instant::now() >= end)
    };
    let windows: Vec<u64> = (0..3).map(|_| window()).collect();
    assert!(windows.contains(&0), "each with a check: {windows:?}");
}

/// Returns the allocations of 100 changes of the list, with this many registered clients.
fn allocations_of_pushes(clients: usize) -> u64 {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let mut distributor = Distributor::new(Config::default());
    let addr = distributor.listen(reactor.net(), any_port()).unwrap();
    let mut scratch = vec![0; 1 << 16];

    let mut clients: Vec<TcpStream> = (0..clients).map(|_| client(addr)).collect();
    for client in &mut clients {
        client.write_all(registration(9010).as_bytes()).unwrap();
    }
    while distributor.registry().len() < clients.len() {
        reactor
            .turn(Some(Duration::from_millis(1)), &mut distributor)
            .unwrap();
    }

    let mut change = |port: u16| {
        clients[0].write_all(registration(port).as_bytes()).unwrap();
        let wanted = format!("\"port\":{port}");
        let mut waiting: Vec<&mut TcpStream> = clients.iter_mut().collect();
        let mut allocated = 0;
        while !waiting.is_empty() {
            let before = ALLOCATIONS.get();
            reactor
                .turn(Some(Duration::from_millis(1)), &mut distributor)
                .unwrap();
            allocated += ALLOCATIONS.get() - before;
            waiting.retain_mut(|client| {
                let bytes = read(client, &mut scratch);
                memchr::memmem::find(bytes, wanted.as_bytes()).is_none()
            });
        }
        allocated
    };
    // The first ones fill the pools. All ports have the same number of digits.
    for port in 9100..9200 {
        change(port);
    }
    (9200..9300).map(change).sum()
}

fn registration(port: u16) -> String {
    let params = format!(r#"{{"port":{port},"name":"goods","urls":["GET/goods"]}}"#);
    pilcrow_test_client::registration(0, params, &Value::Null)
}

/// Serves requests, and counts callbacks.
#[derive(Default)]
struct Counter {
    served: usize,
    answered: usize,
    late: usize,
}

impl Service for Counter {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        self.served += 1;
        match &*request.route.path {
            "/work" => cx.reply(reply_to, request.raw_params.get()),
            // Its call expires.
            _ => drop(reply_to),
        }
    }

    fn on_result(
        &mut self,
        _cx: &mut Context<'_>,
        _call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        match result {
            Ok(_) => self.answered += 1,
            Err(CallError::Deadline) => self.late += 1,
            // On a busy machine it can expire before it is read.
            Err(CallError::Refused(reply)) if reply.errorcode == 7 => self.late += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// A Distributor and two nodes in one reactor, each under an owner of its own.
struct Town {
    distributor: Distributor,
    nodes: [Node<Counter>; 2],
}

impl Town {
    fn turn(&mut self, reactor: &mut Reactor, wait: Duration) {
        let [first, second] = &mut self.nodes;
        let all = &mut (&mut self.distributor, first, second);
        reactor.turn(Some(wait), all).unwrap();
    }
}

#[test]
fn calls_without_allocation_on_either_side() {
    for interest in [Interest::All, Interest::Calls] {
        call_without_allocation(&interest);
    }
}

fn call_without_allocation(interest: &Interest) {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    // No heartbeats meanwhile: they would be counted.
    let hour = Duration::from_secs(3600);
    let mut distributor = Distributor::new(
        Config::default()
            .heartbeat(hour)
            .silence(3 * hour)
            .warm_up(hour),
    );
    let addr = distributor.listen(reactor.net(), any_port()).unwrap();
    let nodes = [0, 1].map(|_| {
        let config = node::Config::new("work")
            .routes([Route::get("/work"), Route::get("/never")])
            .listen(any_port())
            .interest(interest.clone())
            .distributor(addr);
        let mut node = Node::new(config, Counter::default());
        node.start(reactor.net()).unwrap();
        node
    });
    let mut town = Town { distributor, nodes };
    let all_know = |town: &mut Town, reactor: &mut Reactor| {
        town.nodes.iter_mut().all(|node| {
            let cx = node.context(reactor.net());
            let roster = cx.roster();
            let known = [Route::get("/work"), Route::get("/never")];
            let mut known = known.iter().map(|route| roster.serving(route).len());
            known.all(|count| count == 2) && cx.link() == LinkState::Registered
        })
    };
    while !all_know(&mut town, &mut reactor) {
        town.turn(&mut reactor, Duration::from_millis(1));
    }

    let params = json!({"text": "x".repeat(300), "number": 7});
    let served = |town: &mut Town| -> usize {
        town.nodes
            .iter_mut()
            .map(|node| node.service().served)
            .sum()
    };
    let ended = |town: &mut Town| -> usize {
        town.nodes
            .iter_mut()
            .map(|node| node.service().answered + node.service().late)
            .sum()
    };
    // Eight calls at a time, half of them over a prefix of their path, one without a reply.
    let round = |reactor: &mut Reactor, town: &mut Town| {
        let all = ended(town) + 8;
        let before = ALLOCATIONS.get();
        for index in 0..8 {
            let uri = ["/work", "/never", "/work", "/work"][if index == 1 { 1 } else { 0 }];
            let mut cx = town.nodes[index % 2].context(reactor.net());
            let deadline = Duration::from_millis(if index == 1 { 2 } else { 60_000 });
            match index % 3 {
                0 => cx.call_idempotent(&Route::get(uri), &params, deadline),
                _ => cx.call(&Route::get(uri), &params, deadline),
            };
        }
        while ended(town) < all {
            town.turn(reactor, Duration::from_millis(1));
        }
        ALLOCATIONS.get() - before
    };
    // The first ones fill the pools. How many buffers are in use at once depends on timing.
    let mut batches = Vec::new();
    while batches.last() != Some(&0) && batches.len() < 20 {
        let allocated: u64 = (0..150).map(|_| round(&mut reactor, &mut town)).sum();
        batches.push(allocated);
    }
    assert!(served(&mut town) > 150);
    assert_eq!(batches.last(), Some(&0), "in 1,200 calls each: {batches:?}");
}

/// Sends this request to a node with routes, one at a time. Returns the allocations per 300.
fn allocations_of_requests(uri: &str) -> u64 {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let mut node = Node::builder("work")
        .listen(any_port())
        .call_timeout(Duration::from_secs(60))
        .get("/work", |_cx, _request| Ok(["apples", "pears"]))
        .get("/jobs/{a}/{b}", |cx, request| {
            let b: u64 = request.parsed_path_param("b")?;
            cx.reply(&(request.path_param("a"), b, request.raw_params()))
        })
        .get_async("/nested", async |cx, request| {
            let other: SocketAddr = request.params()?;
            let reply = cx.get("/jobs/x/7").params(&7).to(other).await?;
            let results: (&str, u64, u64) = reply.results()?;
            cx.reply(&results)
        })
        .get_async("/task", async |cx, request| cx.reply(&request.raw_params()))
        .build(reactor.net())
        .unwrap();
    let addr = node.local_addr(reactor.net()).unwrap();
    let mut client = client(addr);
    let mut scratch = vec![0; 1 << 16];
    let request =
        json!({"uri": uri, "method": "GET", "key": 7, "deadline_ms": 60_000, "params": addr});
    let request = format!("{request}¶");
    let mut round = || {
        client.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::with_capacity(1 << 10);
        let allocated = turn_until(&mut reactor, &mut node, || {
            reply.extend_from_slice(read(&mut client, &mut scratch));
            count_frames(&reply) == 1
        });
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.contains("\"errorcode\":0"), "{reply}");
        allocated
    };
    for _ in 0..100 {
        round();
    }
    (0..300).map(|_| round()).sum()
}

#[test]
fn routes_requests_without_allocation() {
    assert_eq!(allocations_of_requests("/work"), 0);
    assert_eq!(allocations_of_requests("/jobs/x/7"), 0);
}

#[test]
fn serves_async_requests_with_an_allocation_for_the_future_and_one_for_each_reply() {
    assert_eq!(allocations_of_requests("/task"), 300);
    assert_eq!(allocations_of_requests("/nested"), 600);
}

/// Allocations, and the bytes allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Allocated {
    count: u64,
    bytes: u64,
}

/// Adds what is allocated in the calls of [`Allocated::during`].
impl Allocated {
    fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (count, bytes) = (ALLOCATIONS.get(), BYTES.get());
        let result = work();
        self.count += ALLOCATIONS.get() - count;
        self.bytes += BYTES.get() - bytes;
        result
    }
}

/// An entry that has as many bytes as all others.
fn some_entry(n: usize) -> String {
    format!(
        r#"{{"port":{},"name":"service-{n:05}","urls":["GET/service-{n:05}"],"host":"10.0.0.1"}}"#,
        20_000 + n
    )
}

/// A node with a session, and the end of a Distributor that is played by the test.
struct Follower {
    reactor: Reactor,
    node: Node<()>,
    distributor: TcpStream,
    revision: u64,
}

/// The id of the first entry, so that all ids have the same number of digits.
const FIRST_ID: usize = 100_000;

impl Follower {
    fn new(members: usize) -> Follower {
        let listener = std::net::TcpListener::bind(any_port()).unwrap();
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let config = node::Config::default().distributor(listener.local_addr().unwrap());
        let mut node = Node::new(config, ());
        node.start(reactor.net()).unwrap();
        let entries: Vec<String> = (0..members).map(some_entry).collect();
        let ids: Vec<String> = (0..members).map(|n| (FIRST_ID + n).to_string()).collect();
        let list = format!(
            r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{}],"session":{{"epoch":"e","rev":100000,"complete":true,"ids":[{}]}}}}¶"#,
            entries.join(","),
            ids.join(",")
        );
        let distributor = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            // The last byte of `¶`: the request is ASCII otherwise.
            while !request.ends_with(&[0xB6]) {
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = &request[..request.len() - "¶".len()];
            let request: Value = serde_json::from_slice(request).unwrap();
            let reply = json!({
                "key": request["key"],
                "errorcode": 0,
                "errormessage": "success",
                "results": {"id": 0, "epoch": "e", "rev": 1, "heartbeat_ms": 3_600_000},
            });
            stream
                .write_all(format!("{reply}¶{list}").as_bytes())
                .unwrap();
            stream
        });
        while node.context(reactor.net()).roster().members().len() < members {
            reactor
                .turn(Some(Duration::from_millis(1)), &mut node)
                .unwrap();
        }
        Follower {
            reactor,
            node,
            distributor: distributor.join().unwrap(),
            revision: FIRST_ID as u64,
        }
    }

    fn members(&mut self) -> usize {
        let cx = self.node.context(self.reactor.net());
        cx.roster().members().len()
    }

    fn turn(&mut self) {
        let wait = Some(Duration::from_millis(1));
        self.reactor.turn(wait, &mut self.node).unwrap();
    }

    /// Applies one change. Returns what its turns allocated.
    fn change(&mut self, joined: Option<usize>, left: Option<usize>) -> Allocated {
        let (from, rev) = (self.revision, self.revision + 1);
        let entry = joined.map(some_entry).unwrap_or_default();
        let id = joined
            .map(|n| (FIRST_ID + n).to_string())
            .unwrap_or_default();
        let left = left.map(|n| format!(r#"{{"id":{},"cause":"closed"}}"#, FIRST_ID + n));
        let left = left.unwrap_or_default();
        let frame = format!(
            r#"{{"uri":"/distributes","method":"PATCH","key":0,"params":{{"joined":[{entry}],"left":[{left}]}},"session":{{"epoch":"e","from":{from},"rev":{rev},"ids":[{id}]}}}}¶"#
        );
        self.revision = rev;
        self.distributor.write_all(frame.as_bytes()).unwrap();
        let before = self.members();
        let mut allocated = Allocated::default();
        while self.members() == before {
            allocated.during(|| self.turn());
        }
        allocated
    }
}

/// Returns what a leave and a join allocate at a node with this many members.
fn allocated_by_changes_of_a_roster(members: usize) -> Allocated {
    let mut follower = Follower::new(members);
    let mut all: Vec<Allocated> = (0..100)
        .map(|round| {
            let n = round * 7919 % members;
            let left = follower.change(None, Some(n));
            let joined = follower.change(Some(n), None);
            Allocated {
                count: left.count + joined.count,
                bytes: left.bytes + joined.bytes,
            }
        })
        .collect();
    // The first ones fill the pools, and tables grow rarely.
    all.sort_unstable_by_key(|one| (one.bytes, one.count));
    all[all.len() / 2]
}

#[test]
fn a_node_allocates_as_much_for_a_change_among_10_and_among_10_000_members() {
    let few = allocated_by_changes_of_a_roster(10);
    let many = allocated_by_changes_of_a_roster(10_000);
    assert_eq!(few, many);
}

/// Counts the calls whose connection was lost.
#[derive(Default)]
struct Losing {
    lost: usize,
}

impl Service for Losing {
    fn on_result(
        &mut self,
        _cx: &mut Context<'_>,
        _call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        assert!(matches!(result, Err(CallError::ConnectionLost)));
        self.lost += 1;
    }
}

/// Number of calls in flight to the peer that is lost.
const LOST: usize = 10;

/// Returns what a node allocates when it loses a peer, while this many other calls are open.
fn allocated_by_the_loss_of_a_peer(others: usize) -> Allocated {
    let mut reactor = Reactor::new(Limits {
        max_unsent_bytes: 64 << 20,
        ..Limits::default()
    })
    .unwrap();
    let config = node::Config::default().max_in_flight_per_peer(others + LOST);
    let mut node = Node::new(config, Losing::default());
    node.start(reactor.net()).unwrap();
    let [silent, lost] = [0, 1].map(|_| std::net::TcpListener::bind(any_port()).unwrap());
    let call = |node: &mut Node<Losing>, reactor: &mut Reactor, to: &std::net::TcpListener| {
        let to = to.local_addr().unwrap();
        let hour = Duration::from_secs(3600);
        let mut cx = node.context(reactor.net());
        cx.call_at(to, &Route::get("/never"), &7, hour);
    };
    // Accepts a connection, and reads as many requests.
    let mut scratch = vec![0; 1 << 16];
    let mut accept = |node: &mut Node<Losing>, reactor: &mut Reactor, from, requests| {
        let from: &std::net::TcpListener = from;
        reactor.turn(Some(Duration::from_millis(1)), node).unwrap();
        let (mut stream, _) = from.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut read_requests = 0;
        turn_until(reactor, node, || {
            read_requests += count_frames(read(&mut stream, &mut scratch));
            read_requests == requests
        });
        stream
    };
    for _ in 0..others {
        call(&mut node, &mut reactor, &silent);
    }
    let _held = accept(&mut node, &mut reactor, &silent, others);
    let mut all: Vec<Allocated> = (1..=50)
        .map(|round| {
            for _ in 0..LOST {
                call(&mut node, &mut reactor, &lost);
            }
            drop(accept(&mut node, &mut reactor, &lost, LOST));
            let mut allocated = Allocated::default();
            while node.service().lost < round * LOST {
                let wait = Some(Duration::from_millis(1));
                allocated.during(|| reactor.turn(wait, &mut node).unwrap());
            }
            allocated
        })
        .collect();
    assert_eq!(node.context(reactor.net()).calls_in_flight(), others);
    all.sort_unstable_by_key(|one| (one.bytes, one.count));
    all[all.len() / 2]
}

#[test]
fn a_node_allocates_as_much_for_a_lost_peer_beside_10_and_beside_10_000_open_calls() {
    let few = allocated_by_the_loss_of_a_peer(10);
    let many = allocated_by_the_loss_of_a_peer(10_000);
    assert_eq!(few, many);
}

/// Drops snapshots; a program writes them on another thread.
struct Dropping;

impl SnapshotSink for Dropping {
    fn persist(&mut self, snapshot: Snapshot) {
        drop(snapshot);
    }
}

/// A Distributor, of whose nodes one watches the list.
struct Watched {
    reactor: Reactor,
    distributor: Distributor,
    watcher: TcpStream,
    /// Nodes that watch nothing.
    others: Vec<TcpStream>,
    addr: SocketAddr,
}

impl Watched {
    fn new(nodes: usize, persists: bool) -> Watched {
        file_limit();
        let hour = Duration::from_secs(3600);
        let mut reactor = Reactor::new(Limits {
            max_connections: 2 * nodes + 1000,
            first_byte_timeout: hour,
            // Probes of thousands of connections overflow the queue of the loopback device.
            tcp: TcpOptions {
                keepalive_idle: hour,
                user_timeout: hour,
                ..TcpOptions::default()
            },
            ..Limits::default()
        })
        .unwrap();
        // No heartbeats, and no more than one sample of acknowledgements, meanwhile.
        let mut distributor = Distributor::new(
            Config::default()
                .heartbeat(hour)
                .silence(3 * hour)
                .warm_up(Duration::ZERO),
        );
        if persists {
            distributor.persist_to(reactor.net(), Dropping);
        }
        let addr = distributor.listen(reactor.net(), any_port()).unwrap();
        let watcher = client(addr);
        let mut watched = Watched {
            reactor,
            distributor,
            watcher,
            others: Vec::new(),
            addr,
        };
        // All connect while the list is empty, so that each receives a short one.
        while watched.others.len() + 1 < nodes {
            let connections = watched.others.len() + 2;
            watched.others.push(client(addr));
            if connections.is_multiple_of(50) || connections == nodes {
                watched.turn_until(|watched| watched.reactor.net().connections() == connections);
            }
        }
        for n in 0..watched.others.len() {
            watched.register(n, n);
        }
        let registration = session_registration(nodes, "delta");
        watched.watcher.write_all(registration.as_bytes()).unwrap();
        watched.turn_until(|watched| watched.distributor.registry().len() == nodes);
        watched.read_change(nodes);
        watched
    }

    /// Registers one of the others, and waits until it is listed.
    fn register(&mut self, other: usize, number: usize) {
        let registrations = self.distributor.stats().registrations;
        let registration = session_registration(number, "none");
        self.others[other]
            .write_all(registration.as_bytes())
            .unwrap();
        self.turn_until(|watched| watched.distributor.stats().registrations > registrations);
    }

    fn turn_until(&mut self, done: impl Fn(&mut Watched) -> bool) {
        while !done(self) {
            let wait = Some(Duration::from_millis(1));
            self.reactor.turn(wait, &mut self.distributor).unwrap();
        }
    }

    /// Turns until the watcher has read an update with this text.
    fn read_change(&mut self, number: usize) {
        let mut scratch = vec![0; 1 << 16];
        let mut bytes = Vec::with_capacity(1 << 16);
        let wanted = format!("service-{number:05}");
        while memchr::memmem::find(&bytes, wanted.as_bytes()).is_none() || !bytes.ends_with(&[0xB6])
        {
            let wait = Some(Duration::from_millis(1));
            self.reactor.turn(wait, &mut self.distributor).unwrap();
            bytes.extend_from_slice(read(&mut self.watcher, &mut scratch));
        }
    }

    /// Returns what a join of a connection allocates until the watcher has it, and then its leave.
    fn join_and_leave(&mut self, number: usize) -> Allocated {
        let mut allocated = Allocated::default();
        let mut joiner = client(self.addr);
        let connections = self.reactor.net().connections() + 1;
        // It receives the whole list, apart.
        self.turn_until(|watched| watched.reactor.net().connections() == connections);
        let mut scratch = vec![0; 1 << 16];
        let mut is_read = false;
        while !is_read {
            let wait = Some(Duration::from_millis(1));
            self.reactor.turn(wait, &mut self.distributor).unwrap();
            is_read = read(&mut joiner, &mut scratch).ends_with(&[0xB6]);
        }
        let registration = session_registration(number, "none");
        joiner.write_all(registration.as_bytes()).unwrap();
        for _ in 0..2 {
            let revision = self.distributor.registry().revision();
            let pushes = self.distributor.stats().pushes;
            while self.distributor.registry().revision() == revision
                || self.distributor.stats().pushes == pushes
            {
                allocated.during(|| {
                    let wait = Some(Duration::from_millis(1));
                    self.reactor.turn(wait, &mut self.distributor).unwrap();
                });
            }
            let _ = joiner.shutdown(std::net::Shutdown::Both);
        }
        let _ = read(&mut self.watcher, &mut scratch);
        allocated
    }
}

/// A registration that has as many bytes as all others with this `watch`.
fn session_registration(n: usize, watch: &str) -> String {
    let port = 20_000 + n;
    format!(
        r#"{{"uri":"/distributes","method":"POST","key":1,"params":{{"port":{port},"name":"service-{n:05}","urls":["GET/service-{n:05}"]}},"session":{{"version":1,"watch":"{watch}"}}}}¶"#
    )
}

/// Raises the limit of open files as far as permitted, and returns it.
fn file_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[test]
fn a_distributor_allocates_as_much_for_a_join_among_100_and_among_9_000_nodes() {
    // Each node takes two open files, since both its ends are in this process. Other tests run
    // meanwhile.
    let many = 9_000.min((file_limit() / 2).saturating_sub(900));
    let [few, many] = [100, many].map(|nodes| {
        let mut watched = Watched::new(nodes, false);
        let mut all: Vec<Allocated> = (0..60)
            .map(|round| watched.join_and_leave(10_000 + round))
            .collect();
        // Tables that grow do so rarely, and at other rounds in a longer list.
        all.sort_unstable_by_key(|one| (one.bytes, one.count));
        all[all.len() / 2]
    });
    assert!(few.count > 0, "a join allocates its entry");
    assert_eq!(few, many);
}

#[test]
fn a_distributor_that_persists_encodes_what_has_changed() {
    let [few, many] = [100, 400].map(|nodes| {
        let mut watched = Watched::new(nodes, true);
        let mut all: Vec<u64> = (0..20)
            .map(|round| {
                // The pause between two snapshots.
                let due = Instant::now() + Duration::from_millis(60);
                watched.turn_until(|_| Instant::now() >= due);
                watched.join_and_leave(10_000 + round).bytes
            })
            .collect();
        all.sort_unstable();
        all[all.len() / 2]
    });
    // The tree of the lines has a few more levels. All lines together have 50 KB more.
    assert!(many < few + 2_000, "{few} and {many} bytes");
}
