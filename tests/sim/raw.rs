//! Peers that are no code of this crate: plain clients, sessions written by hand, and
//! those who lie, stall, or say nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::{Process, Random, Socket};

use crate::calls::Calls;
use crate::forger::Forger;
use crate::model::{ActorId, Model};
use crate::views::Received;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Registers, and reads all it is sent. Comes back every three seconds.
    Book,
    /// As a plain one, with a session: whole lists.
    Watcher,
    /// A session with deltas, and an instance that another has as well.
    Twin,
    /// Comes back with an epoch and a revision that no Distributor ever said.
    Replayer,
    /// Reads a few bytes now and then.
    SlowReader,
    /// Registers, and never reads.
    NeverReader,
    /// Registers, and then says that it is done.
    HalfCloser,
    /// Connects, and says nothing.
    Silent,
    /// Says what is no packet, or a wrong one.
    Liar,
    /// Registers as plain clients do, is called, and answers for others.
    Forger,
}

pub struct Raw {
    pub actor: ActorId,
    pub kind: Kind,
    pub process: Process,
    pub addr: SocketAddr,
    params: String,
    instance: Option<String>,
    socket: Option<Socket>,
    pub local: Option<SocketAddr>,
    out: Vec<u8>,
    inbox: Vec<u8>,
    read_at: Time,
    /// When it does something though nothing happened.
    pub due: Option<Time>,
    heartbeat: Option<Duration>,
    beat_at: Option<Time>,
    registrations: u32,
    forger: Option<Forger>,
    scratch: Vec<u8>,
}

const RETRY: Duration = Duration::from_secs(3);
/// The most that a plain client reads at a time.
const READ_BYTES: usize = 65_536;

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
            socket: None,
            local: None,
            out: Vec::new(),
            inbox: Vec::new(),
            read_at: Time::ZERO,
            due: Some(Time::ZERO),
            heartbeat: None,
            beat_at: None,
            registrations: 0,
            forger: None,
            scratch: vec![0; READ_BYTES],
        }
    }

    /// Whether it reads what it is sent, and can be held to know the list.
    pub fn reads(&self) -> bool {
        matches!(
            self.kind,
            Kind::Book | Kind::Watcher | Kind::Twin | Kind::Replayer | Kind::Forger
        )
    }

    /// Whether it does nothing that a connection may be closed for.
    pub fn is_honest(&self) -> bool {
        self.reads()
            || matches!(
                self.kind,
                Kind::SlowReader | Kind::NeverReader | Kind::HalfCloser
            )
    }

    /// Registers anew on the same connection, as somebody who changed.
    pub fn change(&mut self) {
        if self.local.is_some()
            && self.is_honest()
            && !matches!(self.kind, Kind::HalfCloser | Kind::Forger)
        {
            self.registrations += 1;
            self.params = params(self.actor, self.registrations);
            // What is on its way would not lead on from what it says that it knows now.
            self.register(None);
        }
    }

    /// Is called at this address, too.
    pub fn be_called(&mut self, addr: SocketAddr) -> std::io::Result<()> {
        self.params = format!(
            "{{\"port\":{},\"name\":\"forger\",\"urls\":[\"GET/echo\"]}}",
            addr.port()
        );
        self.forger = Some(Forger::listen(&mut self.process, addr)?);
        Ok(())
    }

    /// Asks for the list.
    pub fn ask(&mut self) {
        if self.local.is_some() && self.is_honest() && self.kind != Kind::HalfCloser {
            let key = 7;
            let packet = format!("{{\"uri\":\"/distributes\",\"method\":\"GET\",\"key\":{key}}}¶");
            self.out.extend_from_slice(packet.as_bytes());
        }
    }

    /// Does what it can.
    pub fn poke(&mut self, now: Time, model: &mut Model, calls: &mut Calls, random: &mut Random) {
        // It looks at its only connection, whatever happened.
        self.process.take_ready();
        if let Some(forger) = &mut self.forger {
            forger.poke(&mut self.process, calls);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
        }
        let Some(socket) = self.socket else {
            if self.due.is_none() {
                self.connect(now);
            }
            return;
        };
        if self.local.is_none() {
            match self.process.connected(socket) {
                Ok(None) => return,
                Err(_) => return self.lose(now),
                Ok(Some(local)) => {
                    self.local = Some(local);
                    model.actor_of.insert(local, self.actor);
                    self.opened(model, random);
                }
            }
        }
        if self.read_at <= now && self.read(socket, now, model, random).is_err() {
            return self.lose(now);
        }
        if let Some(beat_at) = self.beat_at
            && beat_at <= now
        {
            self.beat(model, Some(1));
            self.beat_at = self.heartbeat.map(|every| now + every);
        }
        self.write(now);
        for at in [self.beat_at, Some(self.read_at).filter(|at| *at > now)] {
            self.due = match (self.due, at) {
                (Some(due), Some(at)) => Some(due.min(at)),
                (due, at) => due.or(at),
            };
        }
    }

    fn connect(&mut self, now: Time) {
        match self.process.connect(self.addr) {
            Ok(socket) => self.socket = Some(socket),
            Err(_) => self.lose(now),
        }
    }

    fn lose(&mut self, now: Time) {
        if let Some(socket) = self.socket.take() {
            self.process.close(socket);
        }
        self.local = None;
        self.out.clear();
        self.inbox.clear();
        self.heartbeat = None;
        self.beat_at = None;
        self.read_at = Time::ZERO;
        self.due = Some(now + RETRY);
    }

    fn opened(&mut self, model: &Model, random: &mut Random) {
        match self.kind {
            Kind::Silent => {}
            Kind::Liar => self.lie(random),
            _ => self.register(model.views.get(&self.actor).and_then(|view| view.known())),
        }
    }

    fn register(&mut self, known: Option<(&str, u64)>) {
        let instance = self.instance.as_ref();
        let instance = instance.map(|instance| format!(",\"instance\":\"{instance}\""));
        let instance = instance.unwrap_or_default();
        let session = match self.kind {
            Kind::Watcher => format!(",\"session\":{{\"version\":1,\"watch\":\"list\"{instance}}}"),
            Kind::Twin => {
                let known =
                    known.map(|(epoch, rev)| format!(",\"epoch\":\"{epoch}\",\"rev\":{rev}"));
                let known = known.unwrap_or_default();
                format!(",\"session\":{{\"version\":1,\"watch\":\"delta\"{instance}{known}}}")
            }
            Kind::Replayer => ",\"session\":{\"version\":1,\"watch\":\"delta\",\
                 \"epoch\":\"0123456789abcdef\",\"rev\":3}"
                .to_owned(),
            _ => String::new(),
        };
        let packet = format!(
            "{{\"uri\":\"/distributes\",\"method\":\"POST\",\"key\":2,\"params\":{}{session}}}¶",
            self.params
        );
        self.out.extend_from_slice(packet.as_bytes());
    }

    fn lie(&mut self, random: &mut Random) {
        let long = format!("{{\"uri\":\"{}\"}}¶", "x".repeat(70_000));
        let noise: Vec<u8> = (0..random.between(1, 300))
            .map(|_| u8::try_from(random.below(256)).unwrap_or(0))
            .collect();
        let post = |params: &str| {
            format!(
                "{{\"uri\":\"/distributes\",\"method\":\"POST\",\"key\":1,\"params\":{params}}}¶"
            )
            .into_bytes()
        };
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
        self.out.extend_from_slice(bytes);
    }

    fn beat(&mut self, model: &Model, key: Option<u64>) {
        let view = model.views.get(&self.actor);
        let rev = view.and_then(|view| view.known()).map_or(0, |(_, rev)| rev);
        let key = key.map_or("null".to_owned(), |key| key.to_string());
        let packet = format!(
            "{{\"uri\":\"/distributes/heartbeat\",\"method\":\"POST\",\"key\":{key},\
             \"session\":{{\"rev\":{rev}}}}}¶"
        );
        self.out.extend_from_slice(packet.as_bytes());
    }

    fn read(
        &mut self,
        socket: Socket,
        now: Time,
        model: &mut Model,
        random: &mut Random,
    ) -> Result<(), ()> {
        let at_most = match self.kind {
            Kind::NeverReader => return Ok(()),
            Kind::SlowReader => {
                self.read_at = now + Duration::from_millis(random.between(1, 2_000));
                random.index(40) + 1
            }
            _ => READ_BYTES,
        };
        loop {
            match self.process.read(socket, &mut self.scratch[..at_most]) {
                Ok(0) => return Err(()),
                Ok(count) => {
                    self.inbox.extend_from_slice(&self.scratch[..count]);
                    self.take_frames(now, model);
                    if self.kind == Kind::SlowReader {
                        return Ok(());
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    _ => return Err(()),
                },
            }
        }
    }

    fn take_frames(&mut self, now: Time, model: &mut Model) {
        let Some(local) = self.local else {
            return;
        };
        while let Some(end) = find_end(&self.inbox) {
            let frame: Vec<u8> = self.inbox.drain(..end + 2).take(end).collect();
            let received = model.received(self.actor, local, &frame);
            if !self.is_honest() {
                continue;
            }
            match received {
                Received::Registered { heartbeat_ms } => {
                    let every = Duration::from_millis(heartbeat_ms);
                    self.heartbeat = Some(every);
                    self.beat_at = Some(now + every);
                }
                Received::List {
                    acknowledge: Some(_),
                } => self.beat(model, None),
                _ => {}
            }
        }
    }

    fn write(&mut self, now: Time) {
        let Some(socket) = self.socket else {
            return;
        };
        while !self.out.is_empty() {
            match self.process.write(socket, &self.out) {
                Ok(count) => {
                    self.out.drain(..count);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted => {}
                    _ => return self.lose(now),
                },
            }
        }
        if self.kind == Kind::HalfCloser && self.local.is_some() {
            // What fails here is noticed by reading.
            let _ = self.process.shutdown_write(socket);
        }
    }
}

pub fn find_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, "¶".as_bytes())
}

/// What a peer says of itself. Odd on purpose: it is passed on as it is.
fn params(actor: ActorId, change: u32) -> String {
    let port = 9000 + actor;
    match actor % 3 {
        0 => format!("{{\"port\":{port},\"name\":\"raw {change} ö\",\"urls\":[\"GET/raw\"]}}"),
        1 => format!("{{ \"urls\":[] , \"name\":\"r{change}\\u00b6\",\"port\":{port} }}"),
        _ => format!("{{\"name\":\"µ{change}\",\"port\":{port},\"more\":{{\"a\":[1,2]}}}}"),
    }
}
