//! A pool of clients on one reactor, which connect, register, and record received data.

use std::collections::BTreeMap;
use std::io::Write;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frames::{
    FRAME_END, Frame, FrameReader, Kind, Node, Registration, Watch, write_heartbeat,
};
use super::joins::Joins;
use super::member::Member;
use super::received::{Received, refused, rejection};
use super::run::{Run, Subject};
use super::services::Services;
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

#[derive(Debug)]
pub(crate) struct Pool {
    to: SocketAddr,
    sources: Vec<Option<IpAddr>>,
    /// Registration of the members, if they register.
    watch: Option<Watch>,
    unlisted: bool,
    /// Services of the nodes, if they belong to some.
    services: Option<Services>,
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
    /// Number of listed members that each member is to receive, by subscription.
    goals: Vec<usize>,
    goal_since: Instant,
    /// Time that each member took to reach the goal.
    pub(crate) times_to_goal: Vec<Duration>,
    /// Set while a change is measured alone.
    pub(crate) heartbeats_paused: bool,
    heartbeat_due: Instant,
    heartbeats_sent: usize,
    pub(crate) received: Received,
}

impl Pool {
    pub(crate) fn new(
        run: &Run,
        watch: Option<Watch>,
        unlisted: bool,
        services: Option<Services>,
    ) -> Pool {
        let now = Instant::now();
        Pool {
            to: run.server().addr,
            sources: run.capacity.sources.clone(),
            watch,
            unlisted,
            services,
            is_bare: run.subject == Subject::Bare,
            members: Vec::new(),
            wanted: 0,
            stuck: 0,
            joins: Joins::default(),
            nodes: ConnMap::default(),
            frames: FrameReader::new(run.names.clone()),
            goals: Vec::new(),
            goal_since: now,
            times_to_goal: Vec::new(),
            heartbeats_paused: false,
            heartbeat_due: now,
            heartbeats_sent: 0,
            received: Received::default(),
        }
    }

    /// Returns the number of different subscriptions; 1 if all members receive everything.
    pub(crate) fn subscriptions(&self) -> usize {
        self.services.map_or(1, Services::subscriptions)
    }

    /// Returns the subscription of a member.
    fn subscription_of(&self, member: usize) -> usize {
        member % self.subscriptions()
    }

    /// Returns the subscription of a member as its registration has it, empty for everything.
    pub(crate) fn only_of(&self, member: usize) -> String {
        let urls = self.urls_of(member);
        urls.map_or_else(String::new, |urls| format!("\"{}\"", urls.join("\",\"")))
    }

    fn urls_of(&self, member: usize) -> Option<Vec<String>> {
        let services = self.services?.subscribed(self.subscription_of(member))?;
        let url = |service| self.frames.names.service_url(service);
        Some(services.map(url).collect())
    }

    /// Returns the url of a node.
    pub(crate) fn url_of(&self, node: Node) -> String {
        let (Node::Member(number) | Node::Joiner(number)) = node;
        let names = &self.frames.names;
        self.services.map_or_else(
            || format!("GET/{}", names.of(node)),
            |services| names.service_url(services.of(number)),
        )
    }

    /// Begins to record the time at which each member has received the first `listed` members, as
    /// far as it subscribes to them.
    pub(crate) fn set_goal(&mut self, listed: usize) {
        let goal = |subscription| {
            let matching = |services: Services| services.matching(subscription, listed);
            self.services.map_or(listed, matching)
        };
        self.goals = (0..self.subscriptions()).map(goal).collect();
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
        let service = self
            .services
            .map(|one| one.watching(one.of(self.joins.len()), self.members.len()));
        let concerned = service.unwrap_or(self.joins.watchers);
        let number = self.joins.add(self.members.len(), concerned, due);
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
        let registration = Registration {
            name: &self.frames.names.of(node),
            url: &self.url_of(node),
            watch,
            unlisted,
            only: match node {
                Node::Member(number) => self.urls_of(number),
                Node::Joiner(_) => None,
            },
        };
        net.send_with(conn, |out| registration.write(out));
    }

    /// Returns the connections that stuck members still have.
    pub(crate) fn stuck_connections(&self) -> impl Iterator<Item = ConnId> {
        let stuck = self.members.iter().take(self.stuck);
        stuck.filter_map(|member| member.conn)
    }

    /// Requests the list from the first members. Each subscription has one of them.
    pub(crate) fn request_lists(&mut self, net: &mut Net, members: usize) {
        let first = self.members.iter().take(members);
        for conn in first.filter_map(|member| member.conn) {
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
        self.received.lost > 0 || self.received.fault.is_some()
    }

    pub(crate) fn failure(&self, run: &Run, what: &str, reached: usize, of: usize) -> Failure {
        let Received { lost, opened, .. } = &self.received;
        let timeout = run.timeout;
        let cause = match (&self.received.fault, self.received.last_loss) {
            (Some(fault), _) => fault.clone(),
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

    /// Returns the newest whole list of the first subscription as sent; an empty text if there is
    /// none.
    pub(crate) fn last_list(&self) -> String {
        let list = self.received.last_lists.get(&0);
        list.map_or_else(String::new, |list| list.text())
    }

    /// Returns the newest whole list of each subscription as sent, by the `only` of its members.
    pub(crate) fn last_lists(&self) -> BTreeMap<String, String> {
        let lists = self.received.last_lists.iter();
        lists
            .map(|(subscription, list)| (self.only_of(*subscription), list.text()))
            .collect()
    }

    /// Returns the number of subscriptions whose members have received a list with all members
    /// that match.
    pub(crate) fn complete_lists(&self) -> usize {
        let lists = self.received.last_lists.iter();
        let is_complete = |(subscription, list): &(&usize, &Rc<Frame>)| {
            self.goals.get(**subscription) == Some(&list.members)
        };
        lists.filter(is_complete).count()
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
        let subscription = self.subscription_of(number);
        let is_subscribed = self.services.is_some_and(Services::are_subscribed_to);
        let Some(member) = self.members.get_mut(number) else {
            return;
        };
        self.received.greeted += usize::from(member.bytes == 0);
        member.bytes += (frame.len() + FRAME_END.len()) as u64;
        let frame = self.frames.read(frame);
        match &frame.kind {
            Kind::Success => {
                let is_first = !mem::replace(&mut member.is_confirmed, true);
                self.received.confirmed += usize::from(is_first);
                if is_first
                    && is_subscribed
                    && let Some(why) = rejection(frame.offer)
                {
                    self.received.fault.get_or_insert_with(|| why.to_owned());
                }
                self.received.reply.get_or_insert_with(|| Rc::clone(&frame));
            }
            Kind::Refused(refusal) => {
                self.received.fault.get_or_insert_with(|| refused(refusal));
            }
            Kind::Other => {}
            // The list at connect is not that of the subscription.
            Kind::List if is_subscribed && frame.rev.is_none() => {}
            Kind::List => {
                member.listed = Some(frame.members);
                if is_subscribed {
                    member.ids = frame.ids.iter().copied().collect();
                }
                member.rev = frame.rev.or(member.rev);
                if frame.joiners.is_empty() {
                    let lists = &mut self.received.last_lists;
                    lists.insert(subscription, Rc::clone(&frame));
                }
            }
            Kind::Delta { from } => {
                let follows = member.apply(&frame, *from, is_subscribed);
                self.received.gaps += u64::from(!follows);
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
        let has_all = member.listed.as_ref() == self.goals.get(subscription);
        if is_ready && member.listed.is_some() && has_all && !member.has_reached_goal {
            member.has_reached_goal = true;
            self.times_to_goal.push(self.goal_since.elapsed());
        }
    }

    /// Reads the rejection of a joiner. The list that it receives first is longer, and is skipped.
    fn on_joiner_frame(&mut self, frame: &[u8]) {
        if frame.len() <= MAX_REFUSAL_BYTES
            && let Kind::Refused(refusal) = &self.frames.read(frame).kind
        {
            self.received.fault.get_or_insert_with(|| refused(refusal));
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
