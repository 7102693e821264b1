//! The Distributor, its clients, and what can happen to them.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value, json};

use super::Script;
use super::client::{Client, Resumed};
use crate::distributor::{Config, Distributor, State};
use crate::protocol::RegistrationLimits;
use crate::reactor::{Limits, Reactor};
use crate::registry::Capacity;
use crate::sys::SocketId;
use crate::testing::scripted::{Accept, Read, Scripted, World, Write};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Bench {
    system: Scripted,
    reactor: Reactor,
    distributor: Distributor,
    clients: Vec<Client>,
    next_key: u64,
}

fn config() -> Config {
    Config {
        // Few, so that it is full at times.
        capacity: Capacity {
            max_entries: 6,
            ..Capacity::default()
        },
        ..Config::default()
    }
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::restoring(State::default())
    }

    fn restoring(state: State) -> Bench {
        let system = Scripted::new();
        let limits = Limits {
            max_connections: 10,
            ..Limits::default()
        };
        let mut reactor = Reactor::on(Box::new(system.clone()), limits);
        let mut distributor = Distributor::new(config());
        distributor.restore(reactor.net(), state);
        // An epoch of its own: the clock and the dice of each run begin at the same.
        let listening = distributor.listen(reactor.net(), ([127, 0, 0, 1], 9000).into());
        listening.expect("it listens");
        Bench {
            system,
            reactor,
            distributor,
            clients: Vec::new(),
            next_key: 0,
        }
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    fn turn(&mut self, wait: Duration) {
        let turned = self.reactor.turn(Some(wait), &mut self.distributor);
        turned.expect("the system does not fail");
        self.look();
    }

    /// Lets virtual time pass, in as many turns as the reactor wants.
    fn pass(&mut self, time: Duration) {
        let until = self.world().now + time;
        for _ in 0..20_000 {
            let left = until.saturating_since(self.world().now);
            self.turn(left);
            if self.world().now >= until {
                return;
            }
        }
        panic!("it turns and turns, and time does not pass");
    }

    fn settle(&mut self) {
        for _ in 0..8 {
            self.turn(Duration::ZERO);
        }
    }

    /// Has all clients read what they were sent, and forgets those that are closed.
    fn look(&mut self) {
        let mut world = self.system.world();
        self.clients.retain_mut(|client| {
            let Some(socket) = client.socket.filter(|socket| world.is_open(*socket)) else {
                return false;
            };
            client.read(&world.socket(socket).written);
            true
        });
    }

    fn connect(&mut self) {
        self.world().accepts.push_back(Accept::Connection);
        self.world().event(SocketId(0), true, false, false);
        let before = self.world().accepted.len();
        self.turn(Duration::ZERO);
        let accepted = self.world().accepted.get(before).copied();
        let socket = accepted.expect("it accepts");
        if self.world().is_open(socket) {
            self.clients.push(Client::on(socket));
        }
        self.settle();
    }

    fn send(&mut self, place: usize, packet: &Value) {
        let frame = packet.to_string().replace('¶', "\\u00b6") + "¶";
        self.arrive(place, frame.as_bytes());
    }

    fn arrive(&mut self, place: usize, bytes: &[u8]) {
        if let Some(client) = self.clients.get(place)
            && let Some(socket) = client.socket.filter(|_| !client.is_mute)
        {
            // What came since it was last read is read as one.
            let mut world = self.world();
            match world.socket(socket).reads.back_mut() {
                Some(Read::Bytes(unread)) => unread.extend_from_slice(bytes),
                _ => return world.arrive(socket, bytes),
            }
            world.event(socket, true, false, false);
        }
    }

    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// One thing happens.
    pub(super) fn step(&mut self, script: &mut Script<'_>) {
        let what = script.pick(20);
        if self.clients.is_empty() || what == 0 {
            return self.connect();
        }
        let place = script.pick(self.clients.len());
        match what {
            1..=5 => self.register(place, script),
            6 => {
                let key = self.key();
                self.clients[place].solicited += 1;
                self.send(
                    place,
                    &json!({"uri": "/distributes", "method": "GET", "key": key}),
                );
            }
            7 | 8 => self.beat(place, script.pick(4) == 0, script.pick(2) == 0),
            9 => {
                let (key, wait_ms) = (self.key(), script.one_of(&[0, 1000, u64::MAX]));
                self.send(
                    place,
                    &json!({"uri": "/distributes", "method": "DELETE",
                    "key": key, "params": {"wait_ms": wait_ms}}),
                );
            }
            10 => self.end(place, script.pick(3)),
            11 | 12 => {
                let wait = script.one_of(&[0, 1, 10, 100, 1000, 3000, 6000, 10_000, 16_000]);
                return self.pass(MILLI * wait);
            }
            13 => {
                // Bytes that no client of a sound mind sends. What follows may be part of them.
                let client = &mut self.clients[place];
                client.is_beyond_belief = true;
                let bytes = script.bytes();
                self.arrive(place, bytes);
                self.arrive(place, "¶".as_bytes());
            }
            14 => self.stop_reading(place, script),
            15 => return self.change_while_one_does_not_read(place, script),
            16 => return self.read_on(place),
            17 => {
                // The process itself stands still.
                let later = self.world().now + MILLI * script.one_of(&[500, 1500, 8000, 20_000]);
                self.world().now = later;
            }
            18 => return self.restart(),
            _ => return self.turn(Duration::ZERO),
        }
        if script.pick(3) > 0 {
            self.settle();
        }
    }

    fn register(&mut self, place: usize, script: &mut Script<'_>) {
        let ports = [
            json!(1),
            json!(2),
            json!("3"),
            json!(0),
            Value::Null,
            json!(70_000),
        ];
        let port = ports[script.pick(ports.len())].clone();
        let name = script.one_of(&["a", "b", "¶", "\u{202e}"]);
        let params = json!({"port": port, "name": name, "host": "evil"});
        let key = self.key();
        let mut packet = json!({"uri": "/distributes", "method": "POST", "key": key,
            "params": params});
        let mut watches = None;
        if script.pick(4) > 0 {
            let mut session = json!({"version": 1});
            let watch = script.one_of(&["delta", "list", "none"]);
            session["watch"] = json!(watch);
            if script.pick(2) == 0 {
                session["instance"] = json!(script.one_of(&["aa", "bb", "cc"]));
            }
            watches = Some(watch != "none");
            match script.pick(5) {
                // What somebody was truly sent, as one does who comes back.
                0 => {
                    let known = &self.clients[script.pick(self.clients.len())];
                    if self.clients[place].epoch.is_empty()
                        && !known.is_beyond_belief
                        && !known.epoch.is_empty()
                    {
                        let resumed = Resumed {
                            epoch: known.epoch.clone(),
                            rev: known.rev,
                            view: known.view.clone(),
                        };
                        session["epoch"] = json!(resumed.epoch);
                        session["rev"] = json!(resumed.rev);
                        self.clients[place].resumed = Some(resumed);
                    }
                }
                1 => {
                    session["epoch"] = json!("of another run");
                    session["rev"] = json!(script.byte());
                }
                2 => {
                    let epoch = self.clients.iter().find(|client| !client.epoch.is_empty());
                    session["epoch"] = json!(epoch.map(|client| &client.epoch));
                    session["rev"] = json!(script.byte());
                    self.clients[place].is_beyond_belief = true;
                }
                _ => {}
            }
            packet["session"] = session;
        }
        self.clients[place].registers(key, watches);
        self.send(place, &packet);
    }

    fn beat(&mut self, place: usize, lies: bool, asks: bool) {
        let client = &self.clients[place];
        let rev = if lies { 255 } else { client.rev };
        let key = asks.then_some(self.next_key);
        let packet = json!({"uri": "/distributes/heartbeat", "method": "POST", "key": key,
            "session": {"rev": rev}});
        self.send(place, &packet);
    }

    fn end(&mut self, place: usize, how: usize) {
        let client = &mut self.clients[place];
        let Some(socket) = client.socket.filter(|_| !client.is_mute) else {
            return;
        };
        client.is_mute = true;
        match how {
            0 => self.world().end(socket),
            how => {
                let kind = match how {
                    1 => ErrorKind::ConnectionReset,
                    _ => ErrorKind::TimedOut,
                };
                let mut world = self.world();
                world.socket(socket).reads.push_back(Read::Fails(kind));
                world.event(socket, true, false, true);
            }
        }
    }

    fn stop_reading(&mut self, place: usize, script: &mut Script<'_>) {
        if let Some(socket) = self.clients[place].socket {
            let takes = usize::from(script.byte());
            let mut world = self.world();
            let writes = &mut world.socket(socket).writes;
            if writes.is_empty() {
                writes.push_back(Write::Takes(takes));
                writes.push_back(Write::Fails(ErrorKind::WouldBlock));
            }
        }
    }

    /// Nobody has more than one list that is not written: who reads on gets the rest of that, and
    /// then the newest.
    fn read_on(&mut self, place: usize) {
        self.look();
        let Some(client) = self.clients.get_mut(place) else {
            return;
        };
        let Some(socket) = client.socket else {
            return;
        };
        let (lists, earned) = (client.lists, client.earned);
        self.world().socket(socket).writes.clear();
        self.world().event(socket, false, true, false);
        self.settle();
        let mut clients = self.clients.iter_mut();
        if let Some(client) = clients.find(|client| client.socket == Some(socket)) {
            let came = client.lists - lists;
            assert!(
                came <= 2 + earned,
                "{came} lists were kept for one who did not read"
            );
            client.earned = earned.saturating_sub(came);
        }
    }

    fn change_while_one_does_not_read(&mut self, place: usize, script: &mut Script<'_>) {
        self.read_on(place);
        let Some(socket) = self.clients.get(place).map(|client| client.socket) else {
            return;
        };
        self.stop_reading(place, script);
        for port in 1..=4 {
            let mut others = self.clients.iter();
            let Some(other) = others.position(|client| client.socket != socket) else {
                break;
            };
            let key = self.key();
            self.clients[other].registers(key, None);
            let packet = json!({"uri": "/distributes", "method": "POST", "key": key,
                "params": {"port": port, "name": "changing"}});
            self.send(other, &packet);
            self.pass(MILLI * 1100);
        }
        let mut clients = self.clients.iter();
        if let Some(place) = clients.position(|client| client.socket == socket) {
            self.read_on(place);
        }
    }

    /// It is killed, and started again with what it had kept.
    fn restart(&mut self) {
        let kept = self.distributor.state().into_bytes();
        let state = State::decode(&kept, &RegistrationLimits::default());
        let before: Vec<String> = self.listed();
        *self = Bench {
            next_key: self.next_key,
            ..Bench::restoring(state.expect("what was kept can be read"))
        };
        assert_eq!(self.listed(), before, "nobody's list gets shorter");
    }

    fn listed(&self) -> Vec<String> {
        let entries = self.distributor.registry().iter();
        let listed = entries.filter(|(_, entry)| entry.listed);
        listed
            .map(|(_, entry)| String::from_utf8_lossy(&entry.encoded).into_owned())
            .collect()
    }

    /// Everybody reads and is alive; then all who watch have the list.
    pub(super) fn converge(&mut self) {
        self.look();
        {
            let mut world = self.system.world();
            for socket in self.clients.iter().filter_map(|client| client.socket) {
                world.socket(socket).writes.clear();
                world.event(socket, false, true, false);
            }
        }
        // Past every warm-up, timeout and suspicion.
        for _ in 0..20 {
            for place in 0..self.clients.len() {
                if self.clients[place].has_session {
                    self.beat(place, false, false);
                }
            }
            self.pass(2 * SECOND);
        }
        let list: Vec<Value> = self
            .listed()
            .iter()
            .map(|entry| serde_json::from_str(entry).expect("entries are JSON"))
            .collect();
        for client in &self.clients {
            if client.is_registered() && client.watches && !client.is_beyond_belief {
                let view: Vec<Value> = client.view.values().cloned().collect();
                assert_eq!(view, list, "one who watches has another list: {client:?}");
            }
        }
        let entries = self.distributor.registry().len();
        assert!(
            entries <= self.clients.len(),
            "{entries} entries of {}",
            self.clients.len()
        );
    }

    /// All go, and nothing is left.
    pub(super) fn leave(&mut self) {
        for place in 0..self.clients.len() {
            self.end(place, 0);
        }
        self.pass(SECOND);
        // Those whose peers close only their own side, or are mute, are closed by limits.
        self.pass(30 * SECOND);
        assert!(
            self.distributor.registry().is_empty(),
            "an entry outlives its connection"
        );
        assert_eq!(self.reactor.net().connections(), 0);
        assert_eq!(
            self.world().sockets.len(),
            1,
            "but for the listener all is closed"
        );
    }
}
