//! Pushes: each peer receives the newest list, never an older one, and not one per change.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use pilcrow_test_client::{Frames, registration};
use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Distributor, in_background, names, wait_until};

fn padded(name: &str, bytes: usize) -> Value {
    json!({"port": 1, "name": name, "pad": "x".repeat(bytes)})
}

/// The number after `prefix` in the one name that starts with it.
fn number_in(names: &[String], prefix: &str) -> Option<u64> {
    let mut found = names.iter().filter_map(|name| name.strip_prefix(prefix));
    let number = found.next().map(|number| number.parse().unwrap());
    assert_eq!(found.next(), None, "{prefix} is there twice: {names:?}");
    number
}

#[test]
fn pushes_a_quiet_change_once_to_each_peer() {
    let distributor = Distributor::start(&[]);
    let mut nodes: Vec<Client> = (0..20)
        .map(|n| distributor.join(&format!("n{n}"), 1))
        .collect();
    for node in &mut nodes {
        node.request_list();
    }
    for _ in 0..5 {
        let newcomer = distributor.join("new", 1);
        for node in &mut nodes {
            assert_eq!(node.next_list().last().unwrap(), "new");
        }
        drop(newcomer);
        for node in &mut nodes {
            assert_eq!(node.next_list().last().unwrap(), "n19");
        }
    }
    for node in &mut nodes {
        assert_eq!(node.request_list().0, Vec::<Value>::new());
    }
}

/// Many registered nodes, driven by one thread.
struct Crowd {
    poll: Poll,
    members: Vec<Member>,
}

struct Member {
    stream: mio::net::TcpStream,
    frames: Frames,
    /// The bytes of the last list.
    last: Vec<u8>,
    lists: usize,
}

impl Crowd {
    fn connect(addr: SocketAddr, count: usize) -> Crowd {
        let poll = Poll::new().unwrap();
        let members = (0..count).map(|index| {
            let stream = std::net::TcpStream::connect(addr).unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(index), Interest::READABLE)
                .unwrap();
            Member {
                stream,
                frames: Frames::default(),
                last: Vec::new(),
                lists: 0,
            }
        });
        let members = members.collect();
        Crowd { poll, members }
    }

    fn register_all(&mut self) {
        for (index, member) in self.members.iter_mut().enumerate() {
            let params = json!({"port": 1, "name": format!("n{index:04}")});
            let packet = registration(0, params, &Value::Null);
            // The buffer of a new socket takes so little at once.
            member.stream.write_all(packet.as_bytes()).unwrap();
        }
    }

    /// Reads until the last list of each is `wanted`.
    fn read_until(&mut self, what: &str, wanted: impl Fn(&[u8]) -> bool) {
        let until = Instant::now() + DEADLINE;
        let mut missing: HashSet<usize> = (0..self.members.len()).collect();
        let mut events = Events::with_capacity(1024);
        while !missing.is_empty() {
            assert!(
                Instant::now() < until,
                "{} of them did not receive {what}",
                missing.len()
            );
            self.poll
                .poll(&mut events, Some(Duration::from_millis(100)))
                .unwrap();
            for event in &events {
                let index = event.token().0;
                let member = &mut self.members[index];
                if member.read() {
                    if wanted(&member.last) {
                        missing.remove(&index);
                    } else {
                        missing.insert(index);
                    }
                }
            }
        }
    }
}

impl Member {
    /// Reads until nothing is left. Returns whether that completed a list.
    fn read(&mut self) -> bool {
        let lists_before = self.lists;
        let mut bytes = vec![0; 1 << 17];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("closed by the Distributor"),
                Ok(count) => {
                    self.frames.push(&bytes[..count]);
                    while let Some(list) = self.frames.next_frame() {
                        self.last = list;
                        self.lists += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.lists > lists_before
    }
}

#[test]
fn a_thousand_registrations_at_once_cost_a_few_lists() {
    const COUNT: usize = 1000;
    let distributor = Distributor::start(&[]);
    let mut crowd = Crowd::connect(distributor.addr, COUNT);
    crowd.register_all();
    let is_complete = |list: &[u8]| {
        list.len() > COUNT * 40
            && list.windows(6).filter(|text| text == b"\"name\"").count() == COUNT
    };
    crowd.read_until("the whole list", is_complete);

    let list = &crowd.members[0].last;
    let parsed: Value = serde_json::from_slice(list).unwrap();
    let expected: HashSet<String> = (0..COUNT).map(|index| format!("n{index:04}")).collect();
    assert_eq!(names(&parsed).into_iter().collect::<HashSet<_>>(), expected);
    assert!(
        crowd.members.iter().all(|member| member.last == *list),
        "they do not agree"
    );

    // Including the list that each receives on connecting.
    let lists: usize = crowd.members.iter().map(|member| member.lists).sum();
    let most = crowd.members.iter().map(|member| member.lists).max();
    println!(
        "{} lists a connection on average, {most:?} at most",
        lists as f64 / COUNT as f64
    );
    assert!(
        lists <= 40 * COUNT,
        "{lists} lists for {COUNT} registrations"
    );

    let mut late = distributor.join("late", 1);
    crowd.read_until("a following push", |list| {
        list.windows(4).any(|text| text == b"late")
    });
    drop(crowd);
    late.wait_for_list("only late", |names| names == ["late"]);
    drop(late);
    wait_until("an empty list", || {
        names(&distributor.connect().request_list().1).is_empty()
    });
    distributor.assert_serves();
}

#[test]
fn sends_slow_readers_the_newest_list_only() {
    // Few enough for a slow machine: after 20 s without reading, the kernel gives a connection up.
    const REVISIONS: u64 = 60;
    let flags = [
        "--write-timeout",
        "10m",
        "--max-registration-bytes",
        "60000",
    ];
    let distributor = Distributor::start(&flags);
    let mut slow = Client::connect_narrow(distributor.addr);
    slow.post(&padded("slow", 50_000));
    slow.wait_for_list("itself", |names| names == ["slow"]);
    let mut changing = distributor.connect();
    for revision in 1..=REVISIONS {
        let name = format!("revision-{revision}");
        changing.post(&padded(&name, 50_000));
        while !changing.next_text().unwrap().contains(&name) {}
    }

    let mut seen = 0;
    let mut lists = 0;
    while seen < REVISIONS {
        let list = slow.next_list();
        assert_eq!(list[0], "slow");
        let revision = number_in(&list, "revision-").unwrap();
        assert!(revision > seen, "{revision} came after {seen}");
        seen = revision;
        lists += 1;
    }
    println!("{lists} lists of {REVISIONS} revisions");
    // The lists in the buffers of the kernel, and the newest.
    assert!(
        lists <= REVISIONS / 2,
        "{lists} lists of {REVISIONS} revisions"
    );
    assert_eq!(slow.request_list().0, Vec::<Value>::new());
    changing.register("revision-1000", 1);
    assert_eq!(slow.next_list(), ["slow", "revision-1000"]);
}

#[test]
fn lists_never_go_backwards() {
    const CHANGES: u64 = 300;
    const CHANGERS: [&str; 3] = ["a-", "b-", "c-"];
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr;
    let watchers = [false, false, true].map(|pauses| {
        let mut watcher = distributor.join("watcher", 1);
        in_background(move || {
            let mut seen = HashMap::new();
            let mut lists = 0;
            while CHANGERS
                .iter()
                .any(|changer| seen.get(changer) != Some(&CHANGES))
            {
                let list = watcher.next_list();
                lists += 1;
                for changer in CHANGERS {
                    let now = number_in(&list, changer).unwrap_or(0);
                    let before = seen.insert(changer, now).unwrap_or(0);
                    assert!(now >= before, "{changer}{now} came after {changer}{before}");
                }
                if pauses {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            (lists, watcher)
        })
    });
    let changers = CHANGERS.map(|changer| {
        in_background(move || {
            let mut client = Client::connect(addr);
            for number in 1..=CHANGES {
                client.register(&format!("{changer}{number}"), 1);
                if number % 50 == 0 {
                    client.request_list();
                }
            }
            client
        })
    });
    let _changers = changers.map(|changer| changer.recv_timeout(DEADLINE).unwrap());
    let watchers = watchers.map(|watcher| {
        let saw_the_last = watcher.recv_timeout(DEADLINE);
        saw_the_last.expect("a watcher sees the last of each")
    });
    for (lists, _) in watchers {
        println!("{lists} lists of {} changes", CHANGES * 3);
    }
}

#[test]
fn departed_peers_are_never_listed_again() {
    const GENERATIONS: u64 = 200;
    let distributor = Distributor::start(&[]);
    let watchers = [(); 3].map(|()| distributor.join("watcher", 1));
    let watched = watchers.map(|mut watcher| {
        in_background(move || {
            let mut present = HashSet::new();
            let mut gone = HashSet::new();
            loop {
                let list = watcher.next_list();
                let now: HashSet<String> =
                    list.into_iter().filter(|name| name != "watcher").collect();
                gone.extend(present.difference(&now).cloned());
                assert!(now.is_disjoint(&gone), "{now:?} after they left");
                if now.len() == 1 && now.contains("last") {
                    return watcher;
                }
                present = now;
            }
        })
    });
    let mut before: Option<Client> = None;
    for generation in 0..GENERATIONS {
        let mut next = distributor.connect();
        match before.take() {
            Some(client) if generation % 2 == 0 => client.reset(),
            client => drop(client),
        }
        next.register(&format!("generation-{generation}"), 1);
        before = Some(next);
    }
    drop(before);
    let mut last = distributor.connect();
    last.register("last", 1);
    let mut watchers = watched.map(|watcher| {
        let saw_the_last = watcher.recv_timeout(DEADLINE);
        saw_the_last.expect("a watcher sees the last")
    });
    for watcher in &mut watchers {
        assert_eq!(names(&watcher.request_list().1).len(), 4);
    }
}

#[test]
fn logs_one_warning_about_lists_above_64_kib() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("watcher", 1);
    let warnings = || {
        let lines = distributor.program.stderr();
        lines.iter().filter(|line| line.contains("64 KiB")).count()
    };
    for _ in 0..3 {
        let nodes: Vec<Client> = (0..5)
            .map(|number| {
                assert!(number > 3 || warnings() <= 1);
                let name = format!("n{number}");
                let mut node = distributor.connect();
                node.post(&padded(&name, 15_000));
                node.wait_for_list(&name, |names| names.contains(&name));
                watcher.wait_for_list(&name, |names| names.contains(&name));
                node
            })
            .collect();
        distributor.program.wait_for_log(&["WARN", "64 KiB"]);
        drop(nodes);
        watcher.wait_for_list("no others", |names| names.len() == 1);
    }
    // This log line comes after any other warning.
    watcher.post(&json!({"name": "watcher"}));
    distributor.program.wait_for_log(&["WARN", "not listed"]);
    assert_eq!(warnings(), 1);
}
