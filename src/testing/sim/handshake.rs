//! The handshake of connections, and its failures.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use super::faults::Fault;
use super::ids::SocketRef;
use super::inner::{Inner, Step};
use super::socket::{Edges, Kind, Phase, SocketState, Stream};

/// Number of attempts of a connect without a response, after 1, 2 and 4 seconds.
const KNOCKS: u32 = 4;
const FIRST_KNOCK: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) fn knock(&mut self, from: SocketRef, tries: u32) {
        let Some(client) = self.socket(from) else {
            return;
        };
        let (host, local) = (client.host, client.local);
        let Some(stream) = self.stream(from) else {
            return;
        };
        if stream.phase != Phase::Connecting {
            return;
        }
        let remote = stream.remote;
        let far = self.host_of.get(&remote.ip()).copied();
        let is_lost = self.strikes(Fault::SynLost);
        let Some(far) =
            far.filter(|far| !is_lost && self.can_reach(host, *far) && self.can_reach(*far, host))
        else {
            return self.knock_again(from, tries);
        };
        let wait = self.latency(far, host);
        let listener = self.listeners.get(&remote).copied();
        let listening = listener.and_then(|id| self.socket(id));
        let Some((id, Kind::Listener { waiting, backlog })) =
            listener.zip(listening.map(|socket| &socket.kind))
        else {
            let error = Some(ErrorKind::ConnectionRefused);
            return self.after(wait, Step::Answer { to: from, error });
        };
        if waiting.len() >= *backlog {
            return self.knock_again(from, tries);
        }
        self.establish(id, from, local);
        self.after(
            wait,
            Step::Answer {
                to: from,
                error: None,
            },
        );
    }

    fn knock_again(&mut self, from: SocketRef, tries: u32) {
        if tries + 1 < KNOCKS {
            let wait = FIRST_KNOCK * 2_u32.pow(tries);
            let tries = tries + 1;
            self.after(wait, Step::Knock { from, tries });
        } else {
            self.fail(from, ErrorKind::TimedOut);
        }
    }

    /// Creates the far end of a connection, which then waits to be accepted.
    pub(super) fn establish(
        &mut self,
        listener: SocketRef,
        client: SocketRef,
        client_addr: SocketAddr,
    ) {
        let Some(listening) = self.socket(listener) else {
            return;
        };
        let (host, local) = (listening.host, listening.local);
        let (process, options) = (listening.process, listening.options);
        let (out, inbox) = (
            self.faults.send_buffer_bytes,
            self.faults.receive_buffer_bytes,
        );
        let mut stream = Stream::new(client_addr, self.now, out, inbox);
        stream.peer = Some(client);
        stream.phase = Phase::Open;
        let accepted = self.insert(SocketState {
            serial: 0,
            host,
            process,
            token: None,
            edges: Edges::default(),
            local,
            options,
            kind: Kind::Stream(Box::new(stream)),
        });
        self.trace_note("established", [client.serial, accepted.serial, 0]);
        self.begin_probes(accepted);
        if let Some(SocketState {
            kind: Kind::Listener { waiting, .. },
            ..
        }) = self.socket_mut(listener)
        {
            waiting.push_back(accepted);
        }
        if let Some(stream) = self.stream_mut(client) {
            stream.peer = Some(accepted);
        }
        self.notify(listener, Edges::READABLE);
    }

    pub(super) fn answer(&mut self, to: SocketRef, error: Option<ErrorKind>) {
        if let Some(error) = error {
            return self.fail(to, error);
        }
        let now = self.now;
        let Some(stream) = self.stream_mut(to) else {
            return;
        };
        if stream.phase == Phase::Connecting {
            stream.phase = Phase::Open;
            stream.heard_at = now;
            stream.wrote_at = now;
            self.notify(to, Edges::WRITABLE);
            self.begin_probes(to);
            self.move_on(to);
        }
    }
}
