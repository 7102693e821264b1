//! Tests of the Distributor on a scripted system, in virtual time.

mod first_list;
mod persistence;
mod pushes;
mod silence;

use std::io::ErrorKind;

use serde_json::{Value, json};

use super::*;
use crate::protocol::RegistrationLimits;
use crate::reactor::{Limits, Reactor};
use crate::registry::Cause;
use crate::sys::SocketId;
use crate::testing::scripted::{Read, Scripted, World, Write};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A Distributor, and nodes whose frames the tests write.
struct Bench {
    system: Scripted,
    reactor: Reactor,
    distributor: Distributor,
    listener: SocketId,
}

impl Bench {
    fn new() -> Bench {
        Bench::restoring(Restored::default())
    }

    fn restoring(restored: Restored) -> Bench {
        let system = Scripted::new();
        let mut reactor = Reactor::on(Box::new(system.clone()), Limits::default());
        let mut distributor = Distributor::new(Config::default());
        distributor.restore(reactor.net(), restored);
        let addr = "127.0.0.1:9000".parse().unwrap();
        distributor.listen(reactor.net(), addr).unwrap();
        Bench {
            system,
            reactor,
            distributor,
            listener: SocketId(0),
        }
    }

    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.system.world()
    }

    /// Advances virtual time, in as many turns as the reactor requests.
    fn pass(&mut self, time: Duration) {
        self.system
            .pass(&mut self.reactor, &mut self.distributor, time);
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            self.pass(Duration::ZERO);
        }
    }

    fn connect(&mut self) -> SocketId {
        let listener = self.listener;
        self.world().connect(listener);
        self.settle();
        self.world().last_accepted()
    }

    fn join(&mut self, name: &str, session: &Value) -> SocketId {
        let socket = self.connect();
        self.world().register(socket, name, session);
        self.settle();
        socket
    }

    fn beat(&mut self, sockets: &[SocketId]) {
        for socket in sockets {
            self.world().beat(*socket, 0);
        }
        self.settle();
    }

    /// Adds numbered nodes with a session.
    fn crowd(&mut self, count: usize) -> Vec<SocketId> {
        (0..count)
            .map(|number| {
                let session = json!({"watch": "none", "instance": format!("a{number}")});
                self.join(&format!("n{number}"), &session)
            })
            .collect()
    }

    /// Advances time while these sockets send heartbeats. Returns how many entries left, and when.
    fn departures(&mut self, seconds: u64, beating: &[SocketId]) -> Vec<(Duration, usize)> {
        let began = self.world().now;
        let mut gone = Vec::new();
        for tenth in 0..seconds * 10 {
            if tenth % 50 == 0 {
                self.beat(beating);
            }
            let before = self.distributor.registry().len();
            self.pass(100 * MILLI);
            let left = before - self.distributor.registry().len();
            if left > 0 {
                gone.push((self.world().now.saturating_since(began), left));
            }
        }
        gone
    }

    fn left(&self, cause: Cause) -> u64 {
        self.distributor.registry().departures(cause)
    }

    fn kernel_gives_up(&mut self, socket: SocketId) {
        let fails = Read::Fails(ErrorKind::TimedOut);
        self.world().socket(socket).reads.push_back(fails);
        self.world().event(socket, true, false, true);
    }
}
