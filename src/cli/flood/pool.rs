//! A pool of clients on one reactor, which connect, register, and record received data.

use std::io::Write;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frames::{
    FRAME_END, Frame, FrameReader, Kind, Node, Watch, write_heartbeat, write_registration,
};
use super::joins::Joins;
use super::run::{Run, Subject};
use crate::cli::failure::Failure;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};

/// Maximum number of members that connect at a time, unless connecting is measured.
const MAX_CONNECTING: usize = 512;
/// Default interval of a session.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of heartbeats sent at once. After a pause, due heartbeats are sent in steps.
const MAX_HEARTBEATS_AT_ONCE: u32 = 512;
/// Maximum length of the rejection of a registration, with any name.
const MAX_REFUSAL_BYTES: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) conn: Option<ConnId>,
    rev: Option<u64>,
    is_confirmed: bool,
    has_reached_goal: bool,
    /// Number of listed members, as far as it knows.
    listed: Option<usize>,
    pub(crate) updates: u64,
    bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Pool {
    to: SocketAddr,
    sources: Vec<Option<IpAddr>>,
    /// Registration of the members, if they register.
    watch: Option<Watch>,
    unlisted: bool,
    /// The server sends frames of a session, but does not expect any.
    is_bare: bool,
    pub(crate) members: Vec<Member>,
    /// Number of members when all are connected.
    wanted: usize,
    /// Number of members that do not read; these are the first.
    pub(crate) stuck: usize,
    pub(crate) joins: Joins,
    nodes: ConnMap<Node>,
    frames: FrameReader,
    /// Number of listed members that each member is to receive.
    goal: usize,
    goal_since: Instant,
    /// Time that each member took to reach the goal.
    pub(crate) times_to_goal: Vec<Duration>,
    /// Set while a change is measured alone.
    pub(crate) heartbeats_paused: bool,
    heartbeat_due: Instant,
    heartbeats_sent: usize,
    pub(crate) received: Received,
}

/// Data received from the server.
#[derive(Default, Debug)]
pub(crate) struct Received {
    opened: usize,
    /// Number of members whose registration was confirmed.
    pub(crate) confirmed: usize,
    /// Number of members that have received a frame.
    pub(crate) greeted: usize,
    /// Number of lists and deltas that members have received.
    pub(crate) updates: u64,
    /// Number of deltas that did not follow from the revision of their receiver.
    pub(crate) gaps: u64,
    /// Number of connections that the server closed, and the reason for the last one.
    pub(crate) lost: usize,
    last_loss: Option<CloseReason>,
    refusal: Option<String>,
    /// Newest whole list without joiners.
    pub(crate) last_list: Option<Rc<Frame>>,
    /// First reply to a registration.
    pub(crate) reply: Option<Rc<Frame>>,
}

impl Pool {
    pub(crate) fn new(run: &Run, watch: Option<Watch>, unlisted: bool) -> Pool {
        let now = Instant::now();
        Pool {
            to: run.server().addr,
            sources: run.capacity.sources.clone(),
            watch,
            unlisted,
            is_bare: run.subject == Subject::Bare,
            members: Vec::new(),
            wanted: 0,
            stuck: 0,
            joins: Joins::default(),
            nodes: ConnMap::default(),
            frames: FrameReader::new(run.names.clone()),
            goal: 0,
            goal_since: now,
            times_to_goal: Vec::new(),
            heartbeats_paused: false,
            heartbeat_due: now,
            heartbeats_sent: 0,
            received: Received::default(),
        }
    }

    /// Begins to record the time at which each member has received this many listed members.
    pub(crate) fn set_goal(&mut self, listed: usize) {
        self.goal = listed;
        self.goal_since = Instant::now();
        self.times_to_goal.clear();
        for member in &mut self.members {
            member.has_reached_goal = false;
        }
    }

    pub(crate) fn add_member(&mut self, net: &mut Net) {
        let node = Node::Member(self.members.len());
        let conn = self.connect(net, node);
        if let Some(watch) = self.watch {
            self.register(net, conn, node, watch, self.unlisted);
        }
        self.members.push(Member {
            conn: Some(conn),
            ..Member::default()
        });
    }

    /// Connects members up to this number, some at a time, over the next turns.
    pub(crate) fn add_members(&mut self, net: &mut Net, wanted: usize) {
        self.wanted = wanted;
        self.add_next_members(net);
    }

    fn add_next_members(&mut self, net: &mut Net) {
        while self.members.len() < self.wanted.min(self.received.greeted + MAX_CONNECTING) {
            self.add_member(net);
        }
    }

    /// Connects a node that joins later.
    pub(crate) fn connect_joiner(&mut self, net: &mut Net) -> ConnId {
        self.connect(net, Node::Joiner(self.joins.len()))
    }

    /// Joins with a connected node, and returns the number of the join.
    pub(crate) fn join(&mut self, net: &mut Net, conn: ConnId, due: Instant) -> usize {
        let number = self.joins.add(self.members.len(), due);
        self.register(net, conn, Node::Joiner(number), Watch::Nothing, false);
        number
    }

    fn connect(&mut self, net: &mut Net, node: Node) -> ConnId {
        let (Node::Member(number) | Node::Joiner(number)) = node;
        let source = self.sources.get(number % self.sources.len().max(1));
        let options = ConnectOptions {
            source: source.copied().flatten(),
            ..ConnectOptions::default()
        };
        let conn = net.connect(self.to, options);
        self.nodes.insert(conn, node);
        conn
    }

    fn register(&self, net: &mut Net, conn: ConnId, node: Node, watch: Watch, unlisted: bool) {
        let name = self.frames.names.of(node);
        net.send_with(conn, |out| write_registration(out, &name, watch, unlisted));
    }

    /// Returns the connections that stuck members still have.
    pub(crate) fn stuck_connections(&self) -> impl Iterator<Item = ConnId> {
        let stuck = self.members.iter().take(self.stuck);
        stuck.filter_map(|member| member.conn)
    }

    pub(crate) fn request_list(&mut self, net: &mut Net) {
        if let Some(conn) = self.members.first().and_then(|member| member.conn) {
            let request = br#"{"uri":"/distributes","method":"GET","key":0}"#;
            net.send_with(conn, |out| out.write_all(request));
        }
    }

    /// Turns until the count is `of`. Fails at the timeout, when a connection is lost, and when the
    /// server rejects something.
    pub(crate) fn wait_for(
        &mut self,
        run: &mut Run,
        what: &str,
        of: usize,
        count: impl Fn(&Pool) -> usize,
    ) -> Result<(), Failure> {
        let done = |pool: &Pool, _: &Net| count(pool) >= of || pool.has_failed();
        run.run_for(run.timeout, self, done)?;
        let reached = count(self);
        if reached >= of {
            return Ok(());
        }
        Err(self.failure(run, what, reached, of))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.received.lost > 0 || self.received.refusal.is_some()
    }

    pub(crate) fn failure(&self, run: &Run, what: &str, reached: usize, of: usize) -> Failure {
        let Received { lost, opened, .. } = &self.received;
        let timeout = run.timeout;
        let cause = match (&self.received.refusal, self.received.last_loss) {
            (Some(refusal), _) => format!("the server refused a request: {refusal}"),
            (None, Some(reason)) => format!("{lost} connections were lost, the last: {reason}"),
            (None, None) => format!("not reached within {timeout:?} (--timeout)"),
        };
        Failure::failed(format!(
            "only {reached} of {of} {what} ({opened} connected): {cause}"
        ))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.bytes).sum()
    }

    /// Returns the newest whole list as sent; an empty text if there is none.
    pub(crate) fn last_list(&self) -> String {
        let list = self.received.last_list.as_ref();
        list.map_or_else(String::new, |list| list.text())
    }

    fn has_sessions(&self) -> bool {
        self.watch.and_then(Watch::session).is_some() && !self.is_bare
    }

    /// Spreads the heartbeats of all members evenly over time.
    fn send_heartbeats(&mut self, net: &mut Net) {
        if self.heartbeats_paused || !self.has_sessions() || self.members.is_empty() {
            return;
        }
        let now = Instant::now();
        // A late member sends only one heartbeat, not all that it missed.
        let earliest = now.checked_sub(HEARTBEAT_INTERVAL).unwrap_or(now);
        self.heartbeat_due = self.heartbeat_due.max(earliest);
        for _ in 0..MAX_HEARTBEATS_AT_ONCE {
            if self.heartbeat_due > now {
                return;
            }
            self.heartbeat_due += HEARTBEAT_INTERVAL.div_f64(self.members.len() as f64);
            self.heartbeats_sent += 1;
            let number = self.heartbeats_sent % self.members.len();
            if number >= self.stuck
                && let Some(member) = self.members.get(number)
                && let Some(conn) = member.conn
            {
                let key = self.heartbeats_sent.to_string();
                net.send_with(conn, |out| write_heartbeat(out, &key, member.rev));
            }
        }
    }

    fn on_member_frame(&mut self, net: &mut Net, conn: ConnId, number: usize, frame: &[u8]) {
        let has_sessions = self.has_sessions();
        let Some(member) = self.members.get_mut(number) else {
            return;
        };
        self.received.greeted += usize::from(member.bytes == 0);
        member.bytes += (frame.len() + FRAME_END.len()) as u64;
        let frame = self.frames.read(frame);
        match &frame.kind {
            Kind::Success => {
                self.received.confirmed +=
                    usize::from(!mem::replace(&mut member.is_confirmed, true));
                self.received.reply.get_or_insert_with(|| Rc::clone(&frame));
            }
            Kind::Refused(refusal) => {
                self.received.refusal.get_or_insert_with(|| refusal.clone());
            }
            Kind::Other => {}
            Kind::List => {
                member.listed = Some(frame.members);
                member.rev = frame.rev.or(member.rev);
                if frame.joiners.is_empty() {
                    self.received.last_list = Some(Rc::clone(&frame));
                }
            }
            Kind::Delta { from } => {
                let follows = member.rev == Some(*from);
                self.received.gaps += u64::from(!follows);
                let before = if follows { member.listed } else { None };
                member.listed = before
                    .map(|before| (before + frame.members).saturating_sub(frame.members_left));
                member.rev = frame.rev;
            }
        }
        if frame.is_update() {
            member.updates += 1;
            self.received.updates += 1;
        }
        if frame.wants_ack && !self.is_bare {
            let rev = member.rev;
            net.send_with(conn, |out| write_heartbeat(out, "null", rev));
        }
        if !frame.joiners.is_empty() || frame.has_left {
            self.joins.record(number, &frame);
        }
        // A session must be confirmed, and have a list to apply deltas to.
        let is_ready = member.is_confirmed || !has_sessions;
        if is_ready && member.listed == Some(self.goal) && !member.has_reached_goal {
            member.has_reached_goal = true;
            self.times_to_goal.push(self.goal_since.elapsed());
        }
    }

    /// Reads the rejection of a joiner. The list that it receives first is longer, and is skipped.
    fn on_joiner_frame(&mut self, frame: &[u8]) {
        if frame.len() <= MAX_REFUSAL_BYTES
            && let Kind::Refused(refusal) = &self.frames.read(frame).kind
        {
            self.received.refusal.get_or_insert_with(|| refusal.clone());
        }
    }
}

impl Handler for Pool {
    fn on_open(&mut self, _: &mut Net, _: ConnId, _: Origin) {
        self.received.opened += 1;
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        match self.nodes.get(conn) {
            Some(Node::Member(number)) => self.on_member_frame(net, conn, *number, frame),
            Some(Node::Joiner(_)) => self.on_joiner_frame(frame),
            None => {}
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.add_next_members(net);
        self.send_heartbeats(net);
    }

    fn on_close(&mut self, _: &mut Net, conn: ConnId, reason: CloseReason) {
        let node = self.nodes.remove(conn);
        if reason == CloseReason::Local {
            return;
        }
        self.received.lost += 1;
        self.received.last_loss = Some(reason);
        if let Some(Node::Member(number)) = node
            && let Some(member) = self.members.get_mut(number)
        {
            member.conn = None;
        }
    }
}
