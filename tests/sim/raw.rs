//! Peers that are not code of this crate: plain clients, hand-written sessions, and peers that send
//! invalid packets, stall, or stay silent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::{Process, Random};
use pilcrow_test_client::{frame, heartbeat, list_request, registration, session, subscription};
use serde_json::Value;

use crate::calls::Calls;
use crate::forger::Forger;
use crate::model::{ActorId, Model};
use crate::subscriptions::{Only, draw};
use crate::views::Received;
use crate::wire::Wire;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Registers without a session and reads everything. Reconnects after three seconds.
    Plain,
    /// Like a plain peer, with a session that watches whole lists.
    Watcher,
    /// A session with deltas, and an instance that another peer has as well.
    Twin,
    /// A session with deltas of what matches its subscription, which it changes at any time.
    Subscriber,
    /// Resumes from an epoch and a revision that no Distributor ever sent.
    Replayer,
    /// Reads a few bytes now and then.
    SlowReader,
    /// Registers, and never reads.
    NeverReader,
    /// Registers, and then closes its writing half.
    HalfCloser,
    /// Connects, and sends nothing.
    Silent,
    /// Sends invalid packets and other protocols.
    Liar,
    /// Registers as plain clients do, is called, and answers requests of others.
    Forger,
}

pub struct Raw {
    pub actor: ActorId,
    pub kind: Kind,
    pub process: Process,
    pub addr: SocketAddr,
    params: String,
    instance: Option<String>,
    wire: Option<Wire>,
    /// Its own address, once it is connected.
    pub local: Option<SocketAddr>,
    read_at: Time,
    /// Time at which it acts without an event.
    pub due: Option<Time>,
    heartbeat: Option<Duration>,
    beat_at: Option<Time>,
    registrations: u32,
    pub only: Only,
    /// Its view is that of its subscription: it has what the Distributor sends for the last change.
    is_in_force: bool,
    /// Replies that it awaits up to that of the last change, and of all requests.
    replies_awaited: u32,
    keyed: u32,
    /// It was sent an update after the reply to its registration.
    has_update: bool,
    forger: Option<Forger>,
}

const RETRY: Duration = Duration::from_secs(3);

impl Raw {
    pub fn new(
        actor: ActorId,
        kind: Kind,
        process: Process,
        addr: SocketAddr,
        instance: Option<String>,
    ) -> Raw {
        Raw {
            actor,
            kind,
            process,
            addr,
            params: params(actor, 0),
            instance,
            wire: None,
            local: None,
            read_at: Time::ZERO,
            due: Some(Time::ZERO),
            heartbeat: None,
            beat_at: None,
            registrations: 0,
            only: None,
            is_in_force: false,
            replies_awaited: 0,
            has_update: false,
            keyed: 0,
            forger: None,
        }
    }

    /// True if it reads everything, so that its view must become the last list.
    pub fn reads(&self) -> bool {
        matches!(
            self.kind,
            Kind::Plain
                | Kind::Watcher
                | Kind::Twin
                | Kind::Subscriber
                | Kind::Replayer
                | Kind::Forger
        )
    }

    /// True if it does nothing that a connection may be closed for.
    pub fn is_honest(&self) -> bool {
        self.reads()
            || matches!(
                self.kind,
                Kind::SlowReader | Kind::NeverReader | Kind::HalfCloser
            )
    }

    /// Registers anew on the same connection, with other params.
    pub fn change(&mut self) {
        if self.local.is_some()
            && self.is_honest()
            && !matches!(self.kind, Kind::HalfCloser | Kind::Forger)
        {
            self.registrations += 1;
            self.params = params(self.actor, self.registrations);
            // A delta that is already on its way would not lead on from a revision that is sent
            // now.
            self.register(None);
        }
    }

    /// Listens for calls on this address.
    pub fn be_called(&mut self, addr: SocketAddr) -> std::io::Result<()> {
        self.params = format!(
            "{{\"port\":{},\"name\":\"forger\",\"urls\":[\"GET/echo\"]}}",
            addr.port()
        );
        self.forger = Some(Forger::listen(&mut self.process, addr)?);
        Ok(())
    }

    /// Changes its subscription on the same connection.
    pub fn resubscribe(&mut self, model: &Model, random: &mut Random) {
        if self.local.is_some() && self.kind == Kind::Subscriber {
            let only = draw(random);
            let known = model.views.get(&self.actor).and_then(|view| view.known());
            let revision = known.map_or(0, |(_, revision)| revision);
            self.send(subscription(3, revision, &only));
            self.only = Some(only);
            self.keyed += 1;
            self.replies_awaited = self.keyed;
            self.is_in_force = false;
        }
    }

    /// Requests the list.
    pub fn request_list(&mut self) {
        if self.local.is_some() && self.is_honest() && self.kind != Kind::HalfCloser {
            self.send(list_request(7));
        }
    }

    /// Does everything that is due.
    pub fn poke(&mut self, now: Time, model: &mut Model, calls: &mut Calls, random: &mut Random) {
        // It looks at its only connection after any event.
        self.process.take_ready();
        if let Some(forger) = &mut self.forger {
            forger.poke(&mut self.process, calls);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
        }
        let Some(wire) = &self.wire else {
            if self.due.is_none() {
                self.connect(now);
            }
            return;
        };
        if self.local.is_none() {
            match self.process.connected(wire.socket) {
                Ok(None) => return,
                Err(_) => return self.lose(now),
                Ok(Some(local)) => {
                    self.local = Some(local);
                    model.actor_of.insert(local, self.actor);
                    self.opened(model, random);
                }
            }
        }
        if self.read_at <= now {
            let read = self.read(now, random);
            self.take_frames(now, model);
            if read.is_err() {
                return self.lose(now);
            }
        }
        if let Some(beat_at) = self.beat_at
            && beat_at <= now
        {
            self.beat(model, 1.into());
            self.beat_at = self.heartbeat.map(|every| now + every);
        }
        if self.write().is_err() {
            self.lose(now);
        }
        for at in [self.beat_at, Some(self.read_at).filter(|at| *at > now)] {
            self.due = match (self.due, at) {
                (Some(due), Some(at)) => Some(due.min(at)),
                (due, at) => due.or(at),
            };
        }
    }

    fn connect(&mut self, now: Time) {
        match self.process.connect(self.addr) {
            Ok(socket) => self.wire = Some(Wire::new(socket)),
            Err(_) => self.lose(now),
        }
    }

    fn lose(&mut self, now: Time) {
        if let Some(wire) = self.wire.take() {
            self.process.close(wire.socket);
        }
        self.local = None;
        self.keyed = 0;
        self.replies_awaited = 0;
        self.has_update = false;
        self.heartbeat = None;
        self.beat_at = None;
        self.read_at = Time::ZERO;
        self.due = Some(now + RETRY);
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Some(wire) = &mut self.wire {
            wire.out.extend_from_slice(bytes.as_ref());
        }
    }

    fn opened(&mut self, model: &Model, random: &mut Random) {
        match self.kind {
            Kind::Silent => {}
            Kind::Liar => self.lie(random),
            Kind::Subscriber => {
                self.only.get_or_insert_with(|| draw(random));
                // A view is resumed under the subscription with which it was received.
                let view = model.views.get(&self.actor);
                let known = if self.is_in_force {
                    view.and_then(|view| view.known())
                } else {
                    None
                };
                self.register(known);
                self.replies_awaited = self.keyed;
            }
            _ => self.register(model.views.get(&self.actor).and_then(|view| view.known())),
        }
    }

    fn register(&mut self, known: Option<(&str, u64)>) {
        let session = match self.kind {
            Kind::Watcher => session("list", self.instance.as_deref(), None),
            Kind::Twin => session("delta", self.instance.as_deref(), known),
            Kind::Subscriber => {
                let mut session = session("delta", self.instance.as_deref(), known);
                session["only"] = self.only.as_deref().cloned().unwrap_or_default();
                session
            }
            Kind::Replayer => session("delta", None, Some(("0123456789abcdef", 3))),
            _ => Value::Null,
        };
        self.send(registration(2, &self.params, &session));
        self.keyed += 1;
    }

    fn lie(&mut self, random: &mut Random) {
        let long = frame(format_args!("{{\"uri\":\"{}\"}}", "x".repeat(70_000)));
        let noise: Vec<u8> = (0..random.between(1, 300))
            .map(|_| u8::try_from(random.below(256)).unwrap_or(0))
            .collect();
        let post = |params: &str| registration(1, params, &Value::Null).into_bytes();
        let half = post("{\"port\":1,\"name\":\"half\"}");
        let half = &half[..random.index(half.len())];
        let bytes: &[u8] = match random.index(12) {
            0 => b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
            1 => &[0x16, 3, 1, 2, 0, 1, 0, 1],
            2 => long.as_bytes(),
            3 => &noise,
            4 => "null¶[]¶7¶\"x\"¶".as_bytes(),
            5 => &post("null"),
            6 => &post("{\"port\":70000,\"name\":\"far\"}"),
            7 => &post("{\"prot\":9010,\"name\":\"typo\"}"),
            8 => &post("{\"port\":9010,\"urls\":[\"http://else/where\"]}"),
            9 => half,
            10 => "¶¶ \r\n ¶{\"uri\":\"/distributes/heartbeat\",\"method\":\"POST\",\"key\":1}¶"
                .as_bytes(),
            _ => b"{\"uri\":\"/distributes\",\"method\":\"DELETE\",\"key\":1}\xC2\xB6",
        };
        self.send(bytes);
    }

    /// Sends a heartbeat with the revision of its view.
    fn beat(&mut self, model: &Model, key: Value) {
        let known = model.views.get(&self.actor).and_then(|view| view.known());
        self.keyed += u32::from(!key.is_null());
        self.send(heartbeat(key, known.map_or(0, |(_, revision)| revision)));
    }

    /// Reads as its kind does. Fails once the connection has ended.
    fn read(&mut self, now: Time, random: &mut Random) -> io::Result<()> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        match self.kind {
            Kind::NeverReader => Ok(()),
            Kind::SlowReader => {
                self.read_at = now + Duration::from_millis(random.between(1, 2_000));
                let mut bytes = [0; 40];
                let most = random.index(bytes.len()) + 1;
                let read = wire.read_once(&mut self.process, &mut bytes[..most]);
                read.map(drop)
            }
            _ => wire.read(&mut self.process),
        }
    }

    fn take_frames(&mut self, now: Time, model: &mut Model) {
        let Some(local) = self.local else {
            return;
        };
        while let Some(wire) = &mut self.wire
            && let Some(frame) = wire.frames.next_frame()
        {
            let received = model.received(self.actor, local, &frame);
            if !self.is_honest() {
                continue;
            }
            self.note_reply(received);
            match received {
                Received::Registered { heartbeat_ms } => {
                    let every = Duration::from_millis(heartbeat_ms);
                    self.heartbeat = Some(every);
                    self.beat_at = Some(now + every);
                }
                Received::List {
                    acknowledge: Some(_),
                } => self.beat(model, Value::Null),
                _ => {}
            }
        }
    }

    fn note_reply(&mut self, received: Received) {
        match received {
            Received::List { .. } => self.has_update = true,
            Received::Registered { .. } | Received::Other => {
                self.has_update &= received == Received::Other;
                self.keyed = self.keyed.saturating_sub(1);
                self.replies_awaited = self.replies_awaited.saturating_sub(1);
            }
            // A refused request changes nothing, and its sender is closed.
            Received::Refused(_) | Received::Draining => return,
        }
        self.is_in_force |= self.replies_awaited == 0 && self.has_update;
    }

    /// Writes what is due. Fails once the connection has ended.
    fn write(&mut self) -> io::Result<()> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        wire.write(&mut self.process)?;
        if self.kind == Kind::HalfCloser && wire.out.is_empty() && self.local.is_some() {
            // A failure shows in the next read.
            let _ = self.process.shutdown_write(wire.socket);
        }
        Ok(())
    }
}

/// The params of a peer, unusual on purpose: they must be passed on unchanged.
fn params(actor: ActorId, change: u32) -> String {
    let port = 9000 + actor;
    match actor % 3 {
        0 => format!("{{\"port\":{port},\"name\":\"raw {change} ö\",\"urls\":[\"GET/raw\"]}}"),
        1 => format!("{{ \"urls\":[] , \"name\":\"r{change}\\u00b6\",\"port\":{port} }}"),
        _ => format!("{{\"name\":\"µ{change}\",\"port\":{port},\"more\":{{\"a\":[1,2]}}}}"),
    }
}
