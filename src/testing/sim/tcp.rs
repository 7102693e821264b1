//! TCP between kernels: segments, acknowledgements, resets and probes.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use super::faults::Fault;
use super::ids::{HostId, SocketRef};
use super::inner::{Inner, Step};
use super::socket::{Edges, Kind, Phase, Stream};

/// Pause before the first retransmission. It doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(4);
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(20);

impl Inner {
    pub(super) fn take_step(&mut self, step: Step) {
        match step {
            Step::Knock { from, tries } => self.knock(from, tries),
            Step::Answer { to, error } => self.answer(to, error),
            Step::Deliver { from, tries } => self.deliver(from, tries),
            Step::Acknowledge { to, delivered, end } => self.acknowledge(to, delivered, end),
            Step::Reset { to, from } => {
                let host = self.socket(to).map(|socket| socket.host);
                if host.is_some_and(|host| self.can_reach(from, host)) {
                    self.fail(to, ErrorKind::ConnectionReset);
                }
            }
            Step::Probe { of, tries } => self.probe(of, tries),
            Step::Notify { of, edges } => self.notify(of, edges),
            Step::LookedUp { id } => self.looked_up(id),
        }
    }

    /// Reports a change of readiness, once: edge-triggered.
    pub(super) fn notify(&mut self, id: SocketRef, edges: Edges) {
        let Some(socket) = self.socket_mut(id) else {
            return;
        };
        if socket.token.is_none() {
            return;
        }
        let Some(process) = socket.process else {
            return;
        };
        let is_first = socket.edges.is_empty();
        socket.edges.add(edges);
        if is_first {
            self.process_mut(process).ready.push(id);
        }
    }

    /// Ends the connection for this end with an error.
    pub(super) fn fail(&mut self, id: SocketRef, error: ErrorKind) {
        let Some(stream) = self.stream_mut(id) else {
            return;
        };
        if stream.phase == Phase::Failed {
            return;
        }
        stream.phase = Phase::Failed;
        stream.error = Some(error);
        stream.out.clear();
        stream.acknowledged = stream.delivered;
        self.trace_note("failed", [id.serial, error as u64, 0]);
        if self
            .socket(id)
            .is_some_and(|socket| socket.process.is_none())
        {
            self.sockets.remove(id.key);
        } else {
            self.notify(id, Edges::FAILED);
        }
    }

    /// Schedules delivery of written bytes.
    pub(super) fn move_on(&mut self, id: SocketRef) {
        let Some(socket) = self.socket(id) else {
            return;
        };
        let host = socket.host;
        let Some(stream) = self.stream(id) else {
            return;
        };
        let has_more = stream.undelivered() > 0 || stream.ends && !stream.end_delivered;
        if stream.phase != Phase::Open || stream.is_on_agenda || !has_more {
            return;
        }
        let far = self
            .host_of
            .get(&stream.remote.ip())
            .copied()
            .unwrap_or(host);
        let mut wait = self.latency(host, far);
        if self.strikes(Fault::SlowSegment) {
            wait = self
                .random
                .duration(Duration::from_millis(10), Duration::from_secs(2));
        }
        if let Some(stream) = self.stream_mut(id) {
            stream.is_on_agenda = true;
        }
        self.after(wait, Step::Deliver { from: id, tries: 0 });
    }

    pub(super) fn move_on_peer_of(&mut self, id: SocketRef) {
        if let Some(peer) = self.stream(id).and_then(|stream| stream.peer) {
            self.move_on(peer);
        }
    }

    fn deliver(&mut self, from: SocketRef, tries: u32) {
        let now = self.now;
        let Some(socket) = self.socket(from) else {
            return;
        };
        let host = socket.host;
        // The kernel drops a closed connection after a while.
        let user_timeout = match (socket.process, socket.options) {
            (None, _) => Some(ORPHAN_TIMEOUT),
            (Some(_), options) => options.map(|tcp| tcp.user_timeout),
        };
        let Some(stream) = self.stream_mut(from) else {
            return;
        };
        stream.is_on_agenda = false;
        let has_more = stream.undelivered() > 0 || stream.ends && !stream.end_delivered;
        if stream.phase != Phase::Open || !has_more && !stream.has_unacknowledged() {
            return;
        }
        let since = *stream.unacknowledged_since.get_or_insert(now);
        if user_timeout.is_some_and(|limit| now.saturating_since(since) >= limit) {
            return self.fail(from, ErrorKind::TimedOut);
        }
        let (is_clogged, peer, remote) = (stream.is_clogged, stream.peer, stream.remote);
        let far = self.host_of.get(&remote.ip()).copied().unwrap_or(host);
        if is_clogged || !self.can_reach(host, far) {
            return self.deliver_later(from, tries);
        }
        if self.strikes(Fault::Reset) {
            self.fail(from, ErrorKind::ConnectionReset);
            if let Some(peer) = peer {
                self.fail(peer, ErrorKind::ConnectionReset);
            }
            return;
        }
        let back = self.latency(far, host);
        let Some(peer) = peer.filter(|peer| {
            self.stream(*peer)
                .is_some_and(|far| far.phase != Phase::Failed)
        }) else {
            // The far kernel has dropped the connection.
            return self.after(
                back,
                Step::Reset {
                    to: from,
                    from: far,
                },
            );
        };
        let is_orphan = self.socket(peer).is_some_and(|peer| peer.process.is_none());
        if is_orphan
            && self
                .stream(from)
                .is_some_and(|stream| stream.undelivered() > 0)
        {
            // The process has closed the socket, so nothing is read any more.
            self.sockets.remove(peer.key);
            return self.after(
                back,
                Step::Reset {
                    to: from,
                    from: far,
                },
            );
        }
        self.hand_over(from, peer, back);
    }

    fn deliver_later(&mut self, from: SocketRef, tries: u32) {
        if let Some(stream) = self.stream_mut(from) {
            stream.is_on_agenda = true;
        }
        let wait = (FIRST_RETRY * 2_u32.pow(tries.min(5))).min(LONGEST_RETRY);
        let tries = tries + 1;
        self.after(wait, Step::Deliver { from, tries });
    }

    /// Moves bytes from one end to the other, within the window.
    fn hand_over(&mut self, from: SocketRef, to: SocketRef, back: Duration) {
        let now = self.now;
        let window = self.stream(to).map_or(0, Stream::window);
        let undelivered = self.stream(from).map_or(0, Stream::undelivered);
        let mut count = undelivered.min(window);
        if count > 1 && self.strikes(Fault::SmallSegment) {
            let at_most = count.min(self.random.index(64) + 1);
            count = self.random.index(at_most) + 1;
        }
        let Some(stream) = self.stream_mut(from) else {
            return;
        };
        let start = usize::try_from(stream.delivered - stream.acknowledged).unwrap_or(0);
        let bytes = copy(&stream.out, start, count);
        stream.delivered += count as u64;
        let ends_now = stream.ends && !stream.end_delivered && stream.undelivered() == 0;
        stream.end_delivered |= ends_now;
        if window == 0 {
            // A probe of a closed window is acknowledged too.
            stream.unacknowledged_since = None;
        }
        let (delivered, end) = (stream.delivered, stream.end_delivered);
        self.trace_note("deliver", [from.serial, to.serial, count as u64]);
        if let Some(far) = self.stream_mut(to) {
            far.heard_at = now;
            far.inbox.extend(bytes);
            far.peer_ended |= end;
        }
        if ends_now {
            self.notify(to, Edges::ENDED);
        } else if count > 0 {
            self.notify(to, Edges::READABLE);
        }
        let acknowledge = Step::Acknowledge {
            to: from,
            delivered,
            end,
        };
        self.after(back, acknowledge);
        if window > 0 {
            self.move_on(from);
        }
        // Otherwise the window update of the reader resumes it; probes for lost updates are not
        // modelled.
    }

    fn acknowledge(&mut self, to: SocketRef, delivered: u64, end: bool) {
        let now = self.now;
        let Some(socket) = self.socket(to) else {
            return;
        };
        let (host, is_orphan) = (socket.host, socket.process.is_none());
        let Some(stream) = self.stream(to) else {
            return;
        };
        let far = self
            .host_of
            .get(&stream.remote.ip())
            .copied()
            .unwrap_or(host);
        let is_lost = !self.can_reach(far, host);
        let Some(stream) = self.stream_mut(to) else {
            return;
        };
        if stream.phase != Phase::Open {
            return;
        }
        if is_lost {
            if !stream.is_on_agenda {
                self.deliver_later(to, 0);
            }
            return;
        }
        stream.heard_at = now;
        let gone = usize::try_from(delivered.saturating_sub(stream.acknowledged)).unwrap_or(0);
        stream.out.drain(..gone.min(stream.out.len()));
        stream.acknowledged = stream.acknowledged.max(delivered);
        stream.end_acknowledged |= end;
        stream.unacknowledged_since = stream.has_unacknowledged().then_some(now);
        let has_room = stream.room() > 0 && stream.waits_for_room;
        if has_room {
            stream.waits_for_room = false;
        }
        let is_done = is_orphan && stream.end_acknowledged;
        if has_room {
            self.notify(to, Edges::WRITABLE);
        }
        if is_done {
            self.sockets.remove(to.key);
        }
    }

    pub(super) fn begin_probes(&mut self, id: SocketRef) {
        if let Some(tcp) = self.socket(id).and_then(|socket| socket.options) {
            self.after(tcp.keepalive_idle, Step::Probe { of: id, tries: 0 });
        }
    }

    /// Probes a quiet connection (keepalive).
    fn probe(&mut self, id: SocketRef, tries: u32) {
        let now = self.now;
        let Some(socket) = self.socket(id) else {
            return;
        };
        let host = socket.host;
        let Some(tcp) = socket.options else {
            return;
        };
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream.phase != Phase::Open {
            return;
        }
        let quiet = now.saturating_since(stream.heard_at);
        if quiet < tcp.keepalive_idle {
            let wait = tcp.keepalive_idle.saturating_sub(quiet);
            return self.after(wait, Step::Probe { of: id, tries: 0 });
        }
        let (peer, remote) = (stream.peer, stream.remote);
        let far = self.host_of.get(&remote.ip()).copied().unwrap_or(host);
        if self.can_reach(host, far) && self.can_reach(far, host) {
            if peer.is_none_or(|peer| self.stream(peer).is_none()) {
                return self.fail(id, ErrorKind::ConnectionReset);
            }
            if let Some(stream) = self.stream_mut(id) {
                stream.heard_at = now;
            }
            return self.after(tcp.keepalive_idle, Step::Probe { of: id, tries: 0 });
        }
        if tries >= tcp.keepalive_probes {
            return self.fail(id, ErrorKind::TimedOut);
        }
        let tries = tries + 1;
        self.after(tcp.keepalive_interval, Step::Probe { of: id, tries });
    }

    /// Closes the socket for its process; the kernel completes the rest.
    pub(super) fn close(&mut self, id: SocketRef) {
        let Some(socket) = self.socket_mut(id) else {
            return;
        };
        let host = socket.host;
        socket.process = None;
        socket.token = None;
        let stream = match &mut socket.kind {
            Kind::Listener { waiting, .. } => {
                let waiting = std::mem::take(waiting);
                let local = socket.local;
                self.listeners.remove(&local);
                self.sockets.remove(id.key);
                for accepted in waiting {
                    self.abort(accepted, host);
                }
                return;
            }
            Kind::Stream(stream) => stream,
        };
        match stream.phase {
            Phase::Connecting | Phase::Failed => {
                let peer = stream.peer;
                let was_connecting = stream.phase == Phase::Connecting;
                self.sockets.remove(id.key);
                if was_connecting && let Some(peer) = peer {
                    self.send_reset(host, peer);
                }
            }
            Phase::Open if !stream.inbox.is_empty() => self.abort(id, host),
            Phase::Open => {
                stream.ends = true;
                if stream.end_acknowledged {
                    self.sockets.remove(id.key);
                } else {
                    self.move_on(id);
                }
            }
        }
    }

    /// Drops a connection. Bytes that were written and not delivered are lost.
    fn abort(&mut self, id: SocketRef, host: HostId) {
        self.trace_note("abort", [id.serial, 0, 0]);
        let peer = self.stream(id).and_then(|stream| stream.peer);
        self.sockets.try_remove(id.key);
        if let Some(peer) = peer {
            self.send_reset(host, peer);
        }
    }

    fn send_reset(&mut self, from: HostId, to: SocketRef) {
        if let Some(far) = self.socket(to).map(|socket| socket.host) {
            let wait = self.latency(from, far);
            self.after(wait, Step::Reset { to, from });
        }
    }

    pub(super) fn crash(&mut self, host: HostId) {
        self.trace_note("crash", [host.0 as u64, 0, 0]);
        self.hosts[host.0].is_up = false;
        self.hosts[host.0].files.crash(&mut self.random);
        self.listeners
            .retain(|_, id| self.sockets[id.key].host != host);
        self.sockets.retain(|_, socket| socket.host != host);
        for process in self
            .processes
            .iter_mut()
            .filter(|process| process.host == host)
        {
            process.links.clear();
            process.accepted.clear();
            process.ready.clear();
        }
    }
}

/// Returns `count` bytes from `start` on, by slices, since byte by byte is slow in debug builds.
fn copy(from: &VecDeque<u8>, start: usize, count: usize) -> Vec<u8> {
    let (front, back) = from.as_slices();
    let mut bytes = Vec::with_capacity(count);
    let in_front = front.get(start..).unwrap_or_default();
    bytes.extend_from_slice(in_front.get(..count).unwrap_or(in_front));
    let back_start = start.saturating_sub(front.len());
    let back_end = back_start + count - bytes.len();
    bytes.extend_from_slice(back.get(back_start..back_end).unwrap_or_default());
    bytes
}
