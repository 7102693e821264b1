//! A pool of clients on one reactor: they connect, register, and record what they are sent.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frames::{FRAME_END, Frame, FrameReader, Kind, text_of};
use super::joins::Joins;
use super::nodes::{JOINER, Node, Profile, write_heartbeat};
use super::round::{Round, Subject};
use super::stop::Halt;
use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};

const MAX_LIST_BYTES: usize = 16 << 20;
/// Where arriving is not what is measured, this many connect at a time.
const CONNECTING_AT_ONCE: usize = 512;
/// The interval of a session, by default.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// After a pause members catch up in steps.
const MAX_HEARTBEATS_AT_ONCE: u32 = 512;
/// A refusal of a registration is shorter, whatever the name in it.
const MAX_REFUSAL_BYTES: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Member {
    conn: Option<ConnId>,
    rev: Option<u64>,
    is_confirmed: bool,
    has_reached_goal: bool,
    /// How many members are listed, as far as it knows.
    members: Option<usize>,
    pub(crate) updates: u64,
    pub(crate) bytes: u64,
    is_stuck: bool,
}

#[derive(Debug)]
pub(crate) struct Pool {
    to: SocketAddr,
    sources: Vec<Option<IpAddr>>,
    profile: Profile,
    /// The server sends what it was told to, and does not know of sessions.
    is_bare: bool,
    pub(crate) members: Vec<Member>,
    pub(crate) joins: Joins,
    nodes: ConnMap<Node>,
    frames: FrameReader,
    /// All are to know of this many members, since then.
    goal: usize,
    goal_since: Instant,
    /// When each member reached the goal, since it was set.
    pub(crate) times_to_goal: Vec<Duration>,
    /// None is sent, so that a change can be measured alone.
    pub(crate) heartbeats_paused: bool,
    /// When the next one is due.
    heartbeat_due: Instant,
    heartbeats_sent: usize,
    pub(crate) seen: Seen,
}

/// What came from the server.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    opened: usize,
    pub(crate) confirmed: usize,
    /// Members that received something.
    pub(crate) greeted: usize,
    /// Lists and deltas that members received.
    pub(crate) updates: u64,
    /// Deltas that do not follow from what their receiver had.
    pub(crate) gaps: u64,
    /// Connections that the other side ended, and how the last one ended.
    pub(crate) lost: usize,
    last_loss: Option<CloseReason>,
    refusal: Option<String>,
    /// The newest whole list without joiners.
    pub(crate) last_list: Option<Rc<Frame>>,
    pub(crate) reply: Option<Vec<u8>>,
}

impl Pool {
    pub(crate) fn new(round: &Round, profile: Profile) -> Pool {
        let now = Instant::now();
        Pool {
            to: round.to,
            sources: round.sources.to_vec(),
            profile,
            is_bare: round.subject == Subject::Bare,
            members: Vec::new(),
            joins: Joins::default(),
            nodes: ConnMap::default(),
            frames: FrameReader::new(round.names.clone()),
            goal: 0,
            goal_since: now,
            times_to_goal: Vec::new(),
            heartbeats_paused: false,
            heartbeat_due: now,
            heartbeats_sent: 0,
            seen: Seen::default(),
        }
    }

    /// From now on it is recorded when each member knows of this many.
    pub(crate) fn set_goal(&mut self, members: usize) {
        self.goal = members;
        self.goal_since = Instant::now();
        self.times_to_goal.clear();
        for member in &mut self.members {
            member.has_reached_goal = false;
        }
    }

    pub(crate) fn reached(&self) -> usize {
        self.times_to_goal.len()
    }

    pub(crate) fn add_member(&mut self, net: &mut Net) {
        let node = Node::Member(self.members.len());
        let conn = self.connect(net, node);
        self.register(net, conn, node, self.profile);
        self.members.push(Member {
            conn: Some(conn),
            ..Member::default()
        });
    }

    /// Connects as many of `all` members as may be on their way.
    pub(crate) fn add_members_up_to(&mut self, all: usize, net: &mut Net) {
        while self.members.len() < all.min(self.seen.greeted + CONNECTING_AT_ONCE) {
            self.add_member(net);
        }
    }

    pub(crate) fn add_joiner(&mut self, net: &mut Net) -> (usize, ConnId) {
        let number = self.joins.add(self.members.len());
        (number, self.connect(net, Node::Joiner(number)))
    }

    pub(crate) fn join(&mut self, net: &mut Net, (number, conn): (usize, ConnId), due: Instant) {
        self.joins.begin(number, due);
        self.register(net, conn, Node::Joiner(number), JOINER);
    }

    fn connect(&mut self, net: &mut Net, node: Node) -> ConnId {
        let (Node::Member(number) | Node::Joiner(number)) = node;
        let source = self.sources.get(number % self.sources.len().max(1));
        let options = ConnectOptions {
            max_frame_bytes: Some(MAX_LIST_BYTES),
            source: source.copied().flatten(),
            ..ConnectOptions::default()
        };
        let conn = net.connect(self.to, options);
        self.nodes.insert(conn, node);
        conn
    }

    fn register(&self, net: &mut Net, conn: ConnId, node: Node, profile: Profile) {
        if profile.watch.is_some() {
            let name = self.frames.names.of(node);
            net.send_with(conn, |out| profile.write_registration(out, &name));
        }
    }

    pub(crate) fn pause_reading(&mut self, net: &mut Net, members: usize) {
        for member in self.members.iter_mut().take(members) {
            member.is_stuck = true;
            member.conn.inspect(|conn| net.pause(*conn));
        }
    }

    /// Makes them read again, and notice whether they still have a connection.
    pub(crate) fn resume_reading(&mut self, net: &mut Net) {
        for member in self.members.iter().filter(|member| member.is_stuck) {
            member.conn.inspect(|conn| net.resume(*conn));
        }
    }

    /// How many of those that did not read have lost their connection.
    pub(crate) fn stuck_and_cut(&self) -> usize {
        let stuck = self.members.iter().filter(|member| member.is_stuck);
        stuck.filter(|member| member.conn.is_none()).count()
    }

    pub(crate) fn close_member(&mut self, net: &mut Net, number: usize) {
        let member = self.members.get_mut(number);
        if let Some(conn) = member.and_then(|member| member.conn.take()) {
            net.close(conn, Close::Now);
        }
    }

    pub(crate) fn close_all(&mut self, round: &mut Round) -> Result<(), Halt> {
        for (conn, _) in self.nodes.iter() {
            round.net().close(conn, Close::Now);
        }
        round.run_for(round.timeout, self, |pool, _| pool.nodes.is_empty())?;
        Ok(())
    }

    pub(crate) fn ask_for_list(&mut self, net: &mut Net) {
        if let Some(conn) = self.members.first().and_then(|member| member.conn) {
            let request = br#"{"uri":"/distributes","method":"GET","key":0}"#;
            net.send_with(conn, |out| std::io::Write::write_all(out, request));
        }
    }

    /// Turns until `count` is `of`. Fails when that takes too long, when a connection is lost, and
    /// when the server refuses something.
    pub(crate) fn wait_for(
        &mut self,
        round: &mut Round,
        what: &str,
        of: usize,
        mut count: impl FnMut(&mut Pool, &mut Net) -> usize,
    ) -> Result<(), Halt> {
        let mut reached = 0;
        round.run_for(round.timeout, self, |pool, net| {
            reached = count(pool, net);
            reached >= of || pool.has_trouble()
        })?;
        if reached >= of {
            return Ok(());
        }
        Err(self.failure(what, reached, of, round.timeout))
    }

    pub(crate) fn has_trouble(&self) -> bool {
        self.seen.lost > 0 || self.seen.refusal.is_some()
    }

    pub(crate) fn failure(&self, what: &str, reached: usize, of: usize, timeout: Duration) -> Halt {
        let because = match (&self.seen.refusal, self.seen.last_loss) {
            (Some(refusal), _) => format!("the server refused one with {refusal}"),
            (None, Some(why)) => {
                format!(
                    "{} connections were lost, the last by {why:?}",
                    self.seen.lost
                )
            }
            (None, None) => format!("not reached within {timeout:?} (--timeout)"),
        };
        let opened = self.seen.opened;
        Halt::failed(format!(
            "only {reached} of {of} {what} ({opened} connected): {because}"
        ))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.bytes).sum()
    }

    pub(crate) fn is_last_list_of(&self, members: usize) -> bool {
        let list = self.seen.last_list.as_ref();
        list.is_some_and(|list| list.members == members)
    }

    /// The newest whole list as it was sent; empty if there is none.
    pub(crate) fn last_list(&self) -> String {
        let list = self.seen.last_list.as_ref();
        list.map_or_else(String::new, |list| text_of(&list.bytes))
    }

    fn has_sessions(&self) -> bool {
        self.profile.session().is_some() && !self.is_bare
    }

    /// Spreads the heartbeats of all members evenly over time.
    fn send_heartbeats(&mut self, net: &mut Net) {
        if self.heartbeats_paused || !self.has_sessions() || self.members.is_empty() {
            return;
        }
        let now = Instant::now();
        // A member that is late sends one, and not all that it missed.
        let earliest = now.checked_sub(HEARTBEAT_INTERVAL).unwrap_or(now);
        self.heartbeat_due = self.heartbeat_due.max(earliest);
        for _ in 0..MAX_HEARTBEATS_AT_ONCE {
            if self.heartbeat_due > now {
                return;
            }
            self.heartbeat_due += HEARTBEAT_INTERVAL.div_f64(self.members.len() as f64);
            self.heartbeats_sent += 1;
            let member = self.members.get(self.heartbeats_sent % self.members.len());
            if let Some(member) = member.filter(|member| !member.is_stuck)
                && let Some(conn) = member.conn
            {
                let key = self.heartbeats_sent.to_string();
                let rev = member.rev;
                net.send_with(conn, |out| write_heartbeat(out, &key, rev));
            }
        }
    }

    fn on_member_frame(&mut self, net: &mut Net, conn: ConnId, number: usize, frame: &[u8]) {
        let has_sessions = self.has_sessions();
        let Some(member) = self.members.get_mut(number) else {
            return;
        };
        self.seen.greeted += usize::from(member.bytes == 0);
        member.bytes += (frame.len() + FRAME_END.len()) as u64;
        let frame = self.frames.read(frame);
        match &frame.kind {
            Kind::Success => {
                if !std::mem::replace(&mut member.is_confirmed, true) {
                    self.seen.confirmed += 1;
                    self.seen.reply.get_or_insert_with(|| frame.bytes.clone());
                }
            }
            Kind::Refused(why) => {
                self.seen.refusal.get_or_insert_with(|| why.clone());
            }
            Kind::Other => {}
            Kind::List => {
                member.members = Some(frame.members);
                member.rev = frame.rev.or(member.rev);
                if frame.joiners.is_empty() {
                    self.seen.last_list = Some(Rc::clone(&frame));
                }
            }
            Kind::Delta { from } => {
                let follows = member.rev == Some(*from);
                self.seen.gaps += u64::from(!follows);
                let before = member.members.filter(|_| follows);
                member.members = before
                    .map(|before| (before + frame.members).saturating_sub(frame.members_left));
                member.rev = frame.rev;
            }
        }
        if matches!(frame.kind, Kind::List | Kind::Delta { .. }) {
            member.updates += 1;
            self.seen.updates += 1;
        }
        if frame.wants_ack && !self.is_bare {
            let rev = member.rev;
            net.send_with(conn, |out| write_heartbeat(out, "null", rev));
        }
        if !frame.joiners.is_empty() || frame.has_left {
            self.joins.record(number, &frame);
        }
        // A session is there when it is confirmed and has something to apply deltas to.
        let is_there = member.is_confirmed || !has_sessions;
        if is_there && member.members == Some(self.goal) && !member.has_reached_goal {
            member.has_reached_goal = true;
            self.times_to_goal.push(self.goal_since.elapsed());
        }
    }

    /// A joiner may be refused. The list that it is sent first is too long to be that.
    fn on_joiner_frame(&mut self, frame: &[u8]) {
        if frame.len() <= MAX_REFUSAL_BYTES
            && let Kind::Refused(why) = &self.frames.read(frame).kind
        {
            self.seen.refusal.get_or_insert_with(|| why.clone());
        }
    }
}

impl Handler for Pool {
    fn on_open(&mut self, _: &mut Net, _: ConnId, _: Origin) {
        self.seen.opened += 1;
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        match self.nodes.get(conn) {
            Some(Node::Member(number)) => self.on_member_frame(net, conn, *number, frame),
            Some(Node::Joiner(_)) => self.on_joiner_frame(frame),
            None => {}
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.send_heartbeats(net);
    }

    fn on_close(&mut self, _: &mut Net, conn: ConnId, why: CloseReason) {
        let node = self.nodes.remove(conn);
        if why == CloseReason::Local {
            return;
        }
        self.seen.lost += 1;
        self.seen.last_loss = Some(why);
        if let Some(Node::Member(number)) = node
            && let Some(member) = self.members.get_mut(number)
        {
            member.conn = None;
        }
    }
}
