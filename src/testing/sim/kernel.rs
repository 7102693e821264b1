//! The system calls of a process.

use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::SocketAddr;
use std::time::Duration;

use super::faults::Fault;
use super::ids::{ProcessId, SocketRef};
use super::inner::{Inner, Step};
use super::socket::{Edges, Kind, Phase, SocketState, Stream};
use crate::sys::{SocketId, TcpOptions};

const EMFILE: i32 = 24;
const ENOBUFS: i32 = 105;
/// Maximum time of a slow write.
const SLOW_WRITE: Duration = Duration::from_secs(1);

impl Inner {
    pub(super) fn call(&mut self) {
        self.now = self.now + self.faults.call;
    }

    fn own(&self, process: ProcessId, id: SocketId) -> io::Result<SocketRef> {
        let socket = self.sockets.get(id.0);
        match socket.filter(|socket| socket.process == Some(process)) {
            Some(socket) => Ok(SocketRef {
                key: id.0,
                serial: socket.serial,
            }),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn own_stream(
        &mut self,
        process: ProcessId,
        id: SocketId,
    ) -> io::Result<(SocketRef, &mut Stream)> {
        let id = self.own(process, id)?;
        let stream = self.stream_mut(id).ok_or(ErrorKind::NotConnected)?;
        Ok((id, stream))
    }

    pub(super) fn listen(
        &mut self,
        process: ProcessId,
        mut addr: SocketAddr,
        backlog: u32,
        options: Option<TcpOptions>,
        token: u64,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let host = self.process(process).host;
        if addr.port() == 0 {
            addr.set_port(self.hosts[host.0].take_port());
        }
        if self.listeners.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let id = self.insert(SocketState {
            serial: 0,
            host,
            process: Some(process),
            token: Some(token),
            edges: Edges::default(),
            local: addr,
            options,
            kind: Kind::Listener {
                waiting: Default::default(),
                backlog: usize::try_from(backlog).unwrap_or(usize::MAX),
            },
        });
        self.listeners.insert(addr, id);
        let state = self.process_mut(process);
        state.links.insert(id.serial, id);
        state.fds += 1;
        Ok((SocketId(id.key), addr))
    }

    pub(super) fn accept(
        &mut self,
        process: ProcessId,
        listener: SocketId,
    ) -> io::Result<(SocketId, SocketAddr)> {
        self.call();
        let id = self.own(process, listener)?;
        let state = self.process(process);
        let is_out_of_fds = state.fds >= state.fd_limit;
        let somebody_waits = matches!(
            self.socket(id).map(|socket| &socket.kind),
            Some(Kind::Listener { waiting, .. }) if !waiting.is_empty()
        );
        if !somebody_waits {
            return Err(ErrorKind::WouldBlock.into());
        }
        if is_out_of_fds || self.strikes(Fault::AcceptNoFd) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        if self.strikes(Fault::AcceptNoBuffers) {
            return Err(io::Error::from_raw_os_error(ENOBUFS));
        }
        if self.strikes(Fault::AcceptInterrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let is_aborted = self.strikes(Fault::AcceptAborted);
        let Some(SocketState {
            kind: Kind::Listener { waiting, .. },
            ..
        }) = self.socket_mut(id)
        else {
            return Err(ErrorKind::NotConnected.into());
        };
        // A connection that failed while it waited is accepted, and its first call fails.
        let Some(accepted) = waiting.pop_front() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        if is_aborted {
            self.close(accepted);
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let Some(stream) = self.stream(accepted) else {
            return Err(ErrorKind::ConnectionAborted.into());
        };
        let remote = stream.remote;
        let state = self.process_mut(process);
        state.links.insert(accepted.serial, accepted);
        state.accepted.insert(remote, accepted);
        state.fds += 1;
        self.trace_note("accept", [process.0 as u64, accepted.serial, 0]);
        Ok((SocketId(accepted.key), remote))
    }

    pub(super) fn watch(&mut self, process: ProcessId, id: SocketId, token: u64) -> io::Result<()> {
        let (id, stream) = self.own_stream(process, id)?;
        // Readiness from before is reported at once.
        let failed = stream.phase == Phase::Failed;
        let edges = Edges {
            readable: !stream.inbox.is_empty() || stream.peer_ended || failed,
            writable: true,
            closed: stream.peer_ended || failed,
        };
        if let Some(socket) = self.socket_mut(id) {
            socket.token = Some(token);
        }
        self.notify(id, edges);
        Ok(())
    }

    pub(super) fn connect(
        &mut self,
        process: ProcessId,
        addr: SocketAddr,
        options: Option<TcpOptions>,
        token: u64,
    ) -> io::Result<SocketId> {
        self.call();
        if self.strikes(Fault::ConnectRefusedAtOnce) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let host = self.process(process).host;
        let port = self.hosts[host.0].take_port();
        let local = SocketAddr::new(self.hosts[host.0].addr, port);
        let (out, inbox) = (
            self.faults.send_buffer_bytes,
            self.faults.receive_buffer_bytes,
        );
        let id = self.insert(SocketState {
            serial: 0,
            host,
            process: Some(process),
            token: Some(token),
            edges: Edges::default(),
            local,
            options,
            kind: Kind::Stream(Box::new(Stream::new(addr, self.now, out, inbox))),
        });
        let state = self.process_mut(process);
        state.links.insert(id.serial, id);
        state.fds += 1;
        self.trace_note("connect", [process.0 as u64, id.serial, u64::from(port)]);
        let far = self.host_of.get(&addr.ip()).copied().unwrap_or(host);
        let wait = self.latency(host, far);
        if self.strikes(Fault::ConnectFailsLater) {
            let error = Some(ErrorKind::HostUnreachable);
            self.after(wait * 2, Step::Answer { to: id, error });
        } else if self.can_reach(host, far) && self.strikes(Fault::ConnectImmediate) {
            self.take_step(Step::Knock { from: id, tries: 0 });
            if self.stream(id).is_some_and(|stream| stream.peer.is_some()) {
                self.take_step(Step::Answer {
                    to: id,
                    error: None,
                });
            }
        } else {
            self.after(wait, Step::Knock { from: id, tries: 0 });
        }
        Ok(SocketId(id.key))
    }

    pub(super) fn connected(
        &mut self,
        process: ProcessId,
        id: SocketId,
    ) -> io::Result<Option<SocketAddr>> {
        let (_, stream) = self.own_stream(process, id)?;
        match (stream.error.take(), stream.phase) {
            (Some(error), _) => Err(error.into()),
            (None, Phase::Open) => Ok(Some(stream.remote)),
            (None, _) => Ok(None),
        }
    }

    pub(super) fn local_addr(&self, process: ProcessId, id: SocketId) -> Option<SocketAddr> {
        let id = self.own(process, id).ok()?;
        self.socket(id).map(|socket| socket.local)
    }

    pub(super) fn read(
        &mut self,
        process: ProcessId,
        id: SocketId,
        into: &mut [u8],
    ) -> io::Result<usize> {
        self.call();
        let (id, stream) = self.own_stream(process, id)?;
        let (has_bytes, remote) = (!stream.inbox.is_empty(), stream.remote);
        let has_ended = stream.peer_ended || stream.phase == Phase::Failed;
        if stream.phase == Phase::Connecting {
            return Err(ErrorKind::NotConnected.into());
        }
        if !has_bytes {
            let found = match (stream.error.take(), stream.phase, stream.peer_ended) {
                (Some(error), ..) => Err(error.into()),
                (None, Phase::Failed, _) | (None, _, true) => Ok(0),
                (None, _, false) => return Err(ErrorKind::WouldBlock.into()),
            };
            self.trace_note("read end", [id.serial, u64::from(found.is_err()), 0]);
            self.process_mut(process).ends_seen.push(remote);
            return found;
        }
        if self.strikes(Fault::ReadInterrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        // Each event after an end or a failure contains it.
        let edges = if has_ended {
            Edges::ENDED
        } else {
            Edges::READABLE
        };
        if self.strikes(Fault::ReadWouldBlock) {
            // The bytes are reported as if they arrived only now.
            self.notify_late(id, edges);
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut at_most = into.len();
        if self.strikes(Fault::OneByteRead) {
            at_most = 1;
        } else if self.strikes(Fault::ShortRead) {
            at_most = self.random.index(at_most) + 1;
        }
        let (_, stream) = self.own_stream(process, SocketId(id.key))?;
        let was_full = stream.window() == 0;
        let count = at_most.min(into.len()).min(stream.inbox.len());
        stream.inbox.read_exact(&mut into[..count])?;
        let has_more = !stream.inbox.is_empty() || has_ended;
        if count < into.len() && has_more {
            // A short read has emptied the socket, or an event reports the rest.
            self.notify_late(id, edges);
        }
        self.trace_note("read", [process.0 as u64, id.serial, count as u64]);
        if was_full {
            self.move_on_peer_of(id);
        }
        Ok(count)
    }

    fn notify_late(&mut self, of: SocketRef, edges: Edges) {
        let now = self.now;
        if edges.readable
            && let Some(stream) = self.stream_mut(of)
        {
            stream.heard_at = now;
        }
        let wait = Duration::from_micros(self.random.between(1, 2_000));
        self.after(wait, Step::Notify { of, edges });
    }

    pub(super) fn write(
        &mut self,
        process: ProcessId,
        id: SocketId,
        from: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.call();
        let (id, stream) = self.own_stream(process, id)?;
        if let Some(error) = stream.error.take() {
            return Err(error.into());
        }
        match stream.phase {
            Phase::Connecting => return Err(ErrorKind::NotConnected.into()),
            Phase::Failed => return Err(ErrorKind::BrokenPipe.into()),
            Phase::Open if stream.ends => return Err(ErrorKind::BrokenPipe.into()),
            Phase::Open => {}
        }
        if stream.room() == 0 {
            stream.waits_for_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.strikes(Fault::WriteInterrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.strikes(Fault::WriteWouldBlock) {
            self.notify_late(id, Edges::WRITABLE);
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.strikes(Fault::SlowWrite) {
            let took = self.random.duration(SLOW_WRITE / 1000, SLOW_WRITE);
            self.now = self.now + took;
        }
        let offered: usize = from.iter().map(|slice| slice.len()).sum();
        let mut at_most = offered;
        if self.strikes(Fault::OneByteWrite) {
            at_most = 1;
        } else if self.strikes(Fault::ShortWrite) {
            at_most = self.random.index(offered) + 1;
        }
        // What a program knows: it reads the clock when it looks for events.
        let wrote_at = self.process(process).polled_at;
        let (_, stream) = self.own_stream(process, SocketId(id.key))?;
        let count = at_most.min(offered).min(stream.room());
        let mut left = count;
        for slice in from {
            let bytes = slice.get(..left).unwrap_or(slice);
            stream.out.extend(bytes);
            left -= bytes.len();
        }
        if count > 0 {
            stream.wrote_at = wrote_at;
        }
        if count < offered {
            match stream.room() {
                0 => stream.waits_for_room = true,
                _ => self.notify_late(id, Edges::WRITABLE),
            }
        }
        self.trace_note("write", [process.0 as u64, id.serial, count as u64]);
        self.move_on(id);
        Ok(count)
    }

    pub(super) fn shutdown_write(&mut self, process: ProcessId, id: SocketId) -> io::Result<()> {
        let (id, stream) = self.own_stream(process, id)?;
        if stream.phase != Phase::Open {
            return Err(ErrorKind::NotConnected.into());
        }
        stream.ends = true;
        self.move_on(id);
        Ok(())
    }

    pub(super) fn close_of(&mut self, process: ProcessId, id: SocketId) {
        let Ok(id) = self.own(process, id) else {
            return;
        };
        let Some(socket) = self.socket(id) else {
            return;
        };
        let remote = match &socket.kind {
            Kind::Listener { .. } => None,
            Kind::Stream(stream) => Some(stream.remote),
        };
        let token = socket.token;
        self.trace_note("close", [process.0 as u64, id.serial, 0]);
        let is_stale = self.strikes(Fault::StaleEvent);
        let state = self.process_mut(process);
        state.links.remove(&id.serial);
        if let Some(remote) = remote.filter(|remote| state.accepted.get(remote) == Some(&id)) {
            state.accepted.remove(&remote);
        }
        state.fds -= 1;
        if is_stale {
            state.stale.extend(token);
        }
        self.close(id);
    }
}
