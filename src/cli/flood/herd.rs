//! Many nodes on one reactor: they connect, register, and note what they are told.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::reactor::conn_map::ConnMap;
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Handler, Net, Origin};
use clap::ValueEnum;

use crate::cli::failure::Failure;
use crate::cli::flood::heartbeats::Heartbeats;
use crate::cli::flood::joins::Joins;
use crate::cli::flood::view::{Known, NUMBER_DIGITS, Names, News, View, Who};

/// Lists are this long at most.
const MAX_LIST_BYTES: usize = 16 << 20;
pub(crate) const FRAME_END: &[u8] = "¶".as_bytes();

/// Joiners are there to be told of, and not to be told.
const JOINER_WATCHES: &str = "none";

/// What is said against a registration is shorter, whatever the name it repeats.
const LONGEST_REFUSAL: usize = 1024;

/// How nodes register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Watch {
    /// As nodes of the book: whole lists, and nothing else
    Plain,
    /// With a session and whole lists
    List,
    /// With a session and what changed
    Delta,
}

/// What a node says once it is connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Says {
    Nothing,
    /// Who it is; it watches nothing.
    WhoItIs,
    /// Who it is and that it watches.
    ThatItWatches,
}

/// What the nodes of a herd have in common.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) watch: Watch,
    /// They register without a port, so that they are not in the list.
    pub(crate) unlisted: bool,
    pub(crate) says: Says,
    /// The server is bare: it answers no registration unless it was told to.
    pub(crate) bare: bool,
}

/// One node.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) conn: Option<ConnId>,
    /// The revision that it has, in a session.
    rev: Option<u64>,
    is_confirmed: bool,
    reached_goal: bool,
    /// How many watchers there are, as far as it was told.
    pub(crate) watchers: Option<usize>,
    pub(crate) lists: u64,
    pub(crate) bytes: u64,
    /// It does not read.
    pub(crate) is_stuck: bool,
}

/// All of them are to hold this many watchers.
#[derive(Debug)]
struct Goal {
    watchers: usize,
    since: Instant,
    times: Vec<Duration>,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
enum Role {
    Member(usize),
    Joiner(usize),
}

/// Nodes, and what becomes of them.
#[derive(Debug)]
pub(crate) struct Herd {
    to: SocketAddr,
    sources: Vec<Option<IpAddr>>,
    names: Names,
    manners: Manners,
    pub(crate) members: Vec<Member>,
    roles: ConnMap<Role>,
    view: View,
    goal: Option<Goal>,
    pub(crate) joins: Joins,
    pub(crate) opened: usize,
    /// Members whose registration was answered.
    pub(crate) confirmed: usize,
    /// Members that were sent something.
    pub(crate) heard: usize,
    /// Lists and deltas that members got, all together.
    pub(crate) updates: u64,
    /// Connections that ended though nobody here closed them, and how the last one did.
    pub(crate) lost: usize,
    pub(crate) last_loss: Option<CloseReason>,
    /// What the server said against something.
    pub(crate) refusal: Option<String>,
    /// The last whole list without joiners that somebody got.
    pub(crate) last_list: Option<Rc<Known>>,
    /// The first answer to a registration.
    pub(crate) reply: Option<Vec<u8>>,
    /// Deltas that don't follow from what their receiver had.
    pub(crate) gaps: u64,
    pub(crate) heartbeats: Heartbeats,
    heartbeat_key: u64,
    next_heartbeat: usize,
}

impl Herd {
    pub(crate) fn new(
        to: SocketAddr,
        sources: &[Option<IpAddr>],
        names: &Names,
        manners: &Manners,
    ) -> Herd {
        Herd {
            to,
            sources: sources.to_vec(),
            names: names.clone(),
            manners: manners.clone(),
            members: Vec::new(),
            roles: ConnMap::default(),
            view: View::new(names.clone()),
            goal: None,
            joins: Joins::default(),
            opened: 0,
            confirmed: 0,
            heard: 0,
            updates: 0,
            lost: 0,
            last_loss: None,
            refusal: None,
            last_list: None,
            reply: None,
            gaps: 0,
            heartbeats: Heartbeats::new(Instant::now()),
            heartbeat_key: 1,
            next_heartbeat: 0,
        }
    }

    /// Connections that are there or on their way.
    pub(crate) fn connections(&self) -> usize {
        self.roles.len()
    }

    /// How many of those who should hold all do.
    pub(crate) fn reached(&self) -> usize {
        self.goal.as_ref().map_or(0, |goal| goal.times.len())
    }

    /// When each came to hold all, since the goal was set.
    pub(crate) fn times_to_goal(&self) -> &[Duration] {
        self.goal.as_ref().map_or(&[], |goal| &goal.times)
    }

    /// From now on it is noted when members hold this many watchers.
    pub(crate) fn set_goal(&mut self, watchers: usize) {
        self.goal = Some(Goal {
            watchers,
            since: Instant::now(),
            times: Vec::new(),
        });
        for member in &mut self.members {
            member.reached_goal = false;
        }
    }

    /// One more node connects, and registers unless it is silent.
    pub(crate) fn add_member(&mut self, net: &mut Net) {
        let number = self.members.len();
        let conn = self.connect(net, number);
        if self.manners.says != Says::Nothing {
            let session = match (self.manners.says, self.manners.watch) {
                (Says::WhoItIs, _) => Some(JOINER_WATCHES),
                (_, Watch::Plain) => None,
                (_, Watch::List) => Some("list"),
                (_, Watch::Delta) => Some("delta"),
            };
            let listed = !self.manners.unlisted;
            self.register(net, conn, Who::Watcher(number), listed, session);
        }
        self.roles.insert(conn, Role::Member(number));
        self.members.push(Member {
            conn: Some(conn),
            ..Member::default()
        });
    }

    /// A node connects that is to join, and returns its number.
    pub(crate) fn add_joiner(&mut self, net: &mut Net) -> usize {
        let number = self.joins.add();
        let conn = self.connect(net, number);
        self.roles.insert(conn, Role::Joiner(number));
        self.joins.set_connection(number, conn);
        number
    }

    /// It joins: it registers, and watches nothing.
    pub(crate) fn join(&mut self, net: &mut Net, number: usize, due: Instant) {
        if let Some(conn) = self.joins.begin(number, due) {
            let who = Who::Joiner(number);
            self.register(net, conn, who, true, Some(JOINER_WATCHES));
        }
    }

    pub(crate) fn close_joiner(&mut self, net: &mut Net, number: usize) {
        if let Some(conn) = self.joins.take_connection(number) {
            net.close(conn, Close::Now);
        }
    }

    fn connect(&self, net: &mut Net, number: usize) -> ConnId {
        let source = self.sources.get(number % self.sources.len().max(1));
        let options = ConnectOptions {
            max_frame_bytes: Some(MAX_LIST_BYTES),
            source: source.copied().flatten(),
            ..ConnectOptions::default()
        };
        net.connect(self.to, options)
    }

    fn register(&self, net: &mut Net, conn: ConnId, who: Who, listed: bool, session: Option<&str>) {
        let name = self.names.of(who);
        if let Some(mut out) = net.send(conn) {
            // Writing to a queue does not fail.
            let _ = write_registration(&mut out, &name, listed, session);
            out.finish();
        }
    }

    /// A member reads no more.
    pub(crate) fn make_stuck(&mut self, net: &mut Net, number: usize) {
        if let Some(member) = self.members.get_mut(number)
            && let Some(conn) = member.conn
        {
            member.is_stuck = true;
            net.pause(conn);
        }
    }

    /// Those who did not read go on, and notice whether they still have a connection.
    pub(crate) fn resume_stuck(&mut self, net: &mut Net) {
        for member in self.members.iter().filter(|member| member.is_stuck) {
            if let Some(conn) = member.conn {
                net.resume(conn);
            }
        }
    }

    pub(crate) fn close(&mut self, net: &mut Net, number: usize) {
        let member = self.members.get_mut(number);
        if let Some(conn) = member.and_then(|member| member.conn.take()) {
            net.close(conn, Close::Now);
        }
    }

    pub(crate) fn close_all(&mut self, net: &mut Net) {
        for number in 0..self.members.len() {
            self.close(net, number);
        }
        for number in 0..self.joins.added() {
            self.close_joiner(net, number);
        }
    }

    /// Those of the next members that have a session. A bare server knows of none.
    fn send_heartbeats(&mut self, net: &mut Net) {
        let Manners {
            watch, says, bare, ..
        } = self.manners;
        let has_sessions = watch != Watch::Plain && says != Says::Nothing && !bare;
        if !has_sessions {
            return;
        }
        let count = self.heartbeats.due(self.members.len(), Instant::now());
        for _ in 0..count {
            self.next_heartbeat = (self.next_heartbeat + 1) % self.members.len();
            let key = self.heartbeat_key;
            self.heartbeat_key += 1;
            if let Some(member) = self.members.get(self.next_heartbeat)
                && let (Some(conn), false) = (member.conn, member.is_stuck)
            {
                heartbeat(net, conn, Some(key), member.rev);
            }
        }
    }

    /// A member asks for the list.
    pub(crate) fn ask(&mut self, net: &mut Net, number: usize) {
        let member = self.members.get(number);
        if let Some(conn) = member.and_then(|member| member.conn)
            && let Some(mut out) = net.send(conn)
        {
            // Writing to a queue does not fail.
            let _ = out.write_all(br#"{"uri":"/distributes","method":"GET","key":0}"#);
            out.finish();
        }
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.manners.bare
    }

    /// Bytes that members were sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.bytes).sum()
    }

    /// How many of those who did not read have no connection any more.
    pub(crate) fn stuck_and_cut(&self) -> usize {
        let stuck = self.members.iter().filter(|member| member.is_stuck);
        stuck.filter(|member| member.conn.is_none()).count()
    }

    /// Whether the last whole list has so many watchers.
    pub(crate) fn is_last_list_of(&self, watchers: usize) -> bool {
        let list = self.last_list.as_ref();
        list.is_some_and(|list| list.watchers == Some(watchers))
    }

    /// The last whole list as it was sent.
    pub(crate) fn last_list_frame(&self) -> Vec<u8> {
        let list = self.last_list.as_ref();
        let mut frame = list.map_or_else(Vec::new, |list| list.frame.clone());
        frame.extend_from_slice(FRAME_END);
        frame
    }

    /// Why not all are as they should be.
    pub(crate) fn failure(
        &self,
        what: &str,
        reached: usize,
        of: usize,
        timeout: Duration,
    ) -> Failure {
        let because = match (&self.refusal, self.last_loss) {
            (Some(refusal), _) => format!("the server refused one with {refusal}"),
            (None, Some(why)) => {
                format!("{} connections were lost, the last by {why:?}", self.lost)
            }
            (None, None) => format!("that was not so within {timeout:?} (--timeout)"),
        };
        Failure::failed(format!(
            "only {reached} of {of} {what} ({} connected): {because}",
            self.opened
        ))
    }

    fn member_frame(&mut self, net: &mut Net, conn: ConnId, number: usize, frame: &[u8]) {
        let Some(member) = self.members.get_mut(number) else {
            return;
        };
        self.heard += usize::from(member.bytes == 0);
        member.bytes += (frame.len() + FRAME_END.len()) as u64;
        let known = self.view.read(frame);
        match &known.news {
            News::Success => {
                if !std::mem::replace(&mut member.is_confirmed, true) {
                    self.confirmed += 1;
                    self.reply.get_or_insert_with(|| frame.to_vec());
                }
            }
            News::Refused(why) => {
                self.refusal.get_or_insert_with(|| why.clone());
                return;
            }
            News::Other => return,
            News::List => {
                member.lists += 1;
                self.updates += 1;
                member.watchers = known.watchers;
                member.rev = known.rev.or(member.rev);
                if known.joiners.is_empty() {
                    self.last_list = Some(Rc::clone(&known));
                }
            }
            News::Delta { from } => {
                member.lists += 1;
                self.updates += 1;
                if member.rev == Some(*from) {
                    member.watchers = known.watchers;
                } else {
                    self.gaps += 1;
                    member.watchers = None;
                }
                member.rev = known.rev;
            }
        }
        // A bare server would not know what to do with it.
        if known.ack && !self.manners.bare {
            heartbeat(net, conn, None, member.rev);
        }
        if !known.joiners.is_empty() || known.tells_of_leaving {
            self.joins.told(number, &known);
        }
        let Some(goal) = &mut self.goal else {
            return;
        };
        // A session is there when it is confirmed and has something to apply changes to.
        let is_there = match self.manners.watch {
            Watch::Plain => true,
            Watch::List | Watch::Delta => self.manners.bare || member.is_confirmed,
        };
        if is_there && member.watchers == Some(goal.watchers) && !member.reached_goal {
            member.reached_goal = true;
            goal.times.push(goal.since.elapsed());
        }
    }

    /// Joiners are there to be told of, but may be told why they cannot join. The list that they
    /// are sent when they connect is not worth a look.
    fn joiner_frame(&mut self, frame: &[u8]) {
        if frame.len() <= LONGEST_REFUSAL
            && self.refusal.is_none()
            && let News::Refused(why) = &self.view.read(frame).news
        {
            self.refusal = Some(why.clone());
        }
    }
}

/// Where in the registration of a joiner its number is.
pub(crate) fn number_in_registration(names: &Names) -> Option<usize> {
    let name = names.of(Who::Joiner(0));
    let mut registration = Vec::new();
    write_registration(&mut registration, &name, true, Some(JOINER_WATCHES)).ok()?;
    let name_at = memchr::memmem::find(&registration, name.as_bytes())?;
    Some(name_at + name.len() - NUMBER_DIGITS)
}

/// The registration of a node: of the same length for all nodes of a kind.
fn write_registration(
    mut out: impl Write,
    name: &str,
    listed: bool,
    session: Option<&str>,
) -> std::io::Result<()> {
    out.write_all(br#"{"uri":"/distributes","method":"POST","key":1,"params":{"#)?;
    if listed {
        out.write_all(br#""port":9010,"#)?;
    }
    write!(out, r#""name":"{name}","urls":["GET/{name}"]}}"#)?;
    if let Some(watch) = session {
        write!(out, r#","session":{{"version":1,"watch":"{watch}"}}"#)?;
    }
    out.write_all(b"}")
}

/// A heartbeat, or with no key the acknowledgement of an update.
fn heartbeat(net: &mut Net, conn: ConnId, key: Option<u64>, rev: Option<u64>) {
    if let Some(mut out) = net.send(conn) {
        let rev = rev.unwrap_or_default();
        // Writing to a queue does not fail.
        let _ = match key {
            Some(key) => write!(
                out,
                r#"{{"uri":"/distributes/heartbeat","method":"POST","key":{key},"session":{{"rev":{rev}}}}}"#
            ),
            None => write!(
                out,
                r#"{{"uri":"/distributes/heartbeat","method":"POST","key":null,"session":{{"rev":{rev}}}}}"#
            ),
        };
        out.finish();
    }
}

impl Handler for Herd {
    fn on_open(&mut self, _: &mut Net, _: ConnId, _: Origin) {
        self.opened += 1;
    }

    fn on_frame(&mut self, net: &mut Net, conn: ConnId, frame: &[u8]) {
        match self.roles.get(conn) {
            Some(Role::Member(number)) => {
                let number = *number;
                self.member_frame(net, conn, number, frame);
            }
            Some(Role::Joiner(_)) => self.joiner_frame(frame),
            None => {}
        }
    }

    fn on_turn_end(&mut self, net: &mut Net) {
        self.send_heartbeats(net);
    }

    fn on_close(&mut self, _: &mut Net, conn: ConnId, why: CloseReason) {
        let role = self.roles.remove(conn);
        if why == CloseReason::Local {
            return;
        }
        self.lost += 1;
        self.last_loss = Some(why);
        match role {
            Some(Role::Member(number)) => {
                if let Some(member) = self.members.get_mut(number) {
                    member.conn = None;
                }
            }
            Some(Role::Joiner(number)) => {
                self.joins.take_connection(number);
            }
            None => {}
        }
    }
}
