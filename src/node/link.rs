//! The connection to the Distributor: looking for it, registering, following the list.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tracing::{debug, warn};

use super::address::{Addresses, LONGEST_LOOKUP, Round};
use super::roster::Changes;
use super::{Core, DistributorAddress, News, Role, Tag};
use crate::protocol::{
    Drained, ErrorCode, Registered, Reply, SessionRequest, Update, UpdateSession, Watch,
};
use crate::reactor::{Close, ConnId, ConnectOptions, Net, Owner, TimerId};
use crate::time::Time;

/// How it stands with the Distributor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// None was found yet. It is looked for all the time.
    Searching,
    /// The node is registered, and the view is kept up to date.
    Registered,
    /// It was lost. The last view and the connections between nodes stay in use, and it is looked
    /// for all the time.
    Lost,
}

#[derive(Debug)]
pub(super) struct DistributorLink {
    owner: Owner,
    state: LinkState,
    addresses: Addresses,
    conn: Option<ConnId>,
    phase: Phase,
    /// The port that others are told.
    port: Option<u16>,
    /// 128 random bits in hex, drawn at the start.
    instance: String,
    /// The list that the view follows. Empty: none with a session.
    epoch: String,
    rev: u64,
    next_key: u64,
    registration_key: u64,
    drain_key: Option<u64>,
    drain_until: Option<Time>,
    /// Tries since it was last registered.
    tries: u32,
    /// Times that it was not allowed to register, since it last was.
    not_allowed: u32,
    /// When it was last tried again without a pause.
    hurried_at: Option<Time>,
    retry_after: Option<Duration>,
    heartbeat: Duration,
    heard_at: Time,
    /// Until when lists of a Distributor without sessions are merged.
    merges_until: Time,
    /// The last list without a session.
    held_list: Vec<u8>,
    /// One timer, for what the phase waits for.
    timer: Option<TimerId>,
    drain_timer: Option<TimerId>,
    is_stopped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not connected. The timer is for the next try.
    Apart,
    /// The name of the Distributor is looked up. The timer is for that.
    LookingUp,
    /// The timer is the connect's own.
    Connecting,
    /// Connected and registered, and nothing is known yet of who is there. The timer is for that.
    Waiting,
    /// It has no sessions: there are only lists. The timer is for the end of merging.
    Plain,
    /// The timer is for the next heartbeat.
    Session,
}

/// How much later than usual a node tries again that is not allowed to register.
const MAX_TIMES_AS_LATE: u32 = 10;

/// A Distributor that says nothing for this many heartbeats is gone.
const SILENT_HEARTBEATS: u32 = 3;

/// What a Distributor that stops may tell to wait. One that says less is not hammered, and one that
/// says more is not lost for ever.
const SHORTEST_TOLD_RETRY: Duration = Duration::from_millis(100);
const LONGEST_TOLD_RETRY: Duration = Duration::from_secs(60);

impl DistributorLink {
    pub(super) fn new(address: Option<DistributorAddress>) -> DistributorLink {
        DistributorLink {
            owner: Owner::default(),
            state: LinkState::Searching,
            addresses: Addresses::new(address),
            conn: None,
            phase: Phase::Apart,
            port: None,
            instance: String::new(),
            epoch: String::new(),
            rev: 0,
            next_key: 0,
            registration_key: 0,
            drain_key: None,
            drain_until: None,
            tries: 0,
            not_allowed: 0,
            hurried_at: None,
            retry_after: None,
            heartbeat: Duration::from_secs(5),
            heard_at: Time::ZERO,
            merges_until: Time::ZERO,
            held_list: Vec::new(),
            timer: None,
            drain_timer: None,
            is_stopped: false,
        }
    }

    pub(super) fn state(&self) -> LinkState {
        self.state
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    fn take_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn arm(&mut self, net: &mut Net, wait: Duration) {
        if let Some(timer) = self.timer.take() {
            net.disarm(timer);
        }
        self.timer = Some(net.arm(self.owner, net.now() + wait, Tag::Link.pack()));
    }

    fn arm_drain(&mut self, net: &mut Net, until: Time) {
        if let Some(timer) = self.drain_timer.take() {
            net.disarm(timer);
        }
        self.drain_timer = Some(net.arm(self.owner, until, Tag::Link.pack()));
    }
}

impl Core {
    pub(super) fn start_link(&mut self, net: &mut Net, listening_port: Option<u16>) {
        self.link.owner = self.claim_owner(net);
        self.link.port = self.config.advertised_port.or(listening_port);
        self.link.instance = format!("{:016x}{:016x}", net.random(), net.random());
        self.connect_link(net);
    }

    fn connect_link(&mut self, net: &mut Net) {
        if self.is_leaving() {
            return;
        }
        if !self.link.addresses.has_next() {
            match self.link.addresses.start_round() {
                Round::Ready => {}
                Round::LookingUp => {
                    self.link.phase = Phase::LookingUp;
                    self.link.arm(net, LONGEST_LOOKUP);
                    return;
                }
                Round::Nowhere => return,
            }
        }
        self.connect_to_next(net);
    }

    fn is_leaving(&self) -> bool {
        self.link.is_stopped || self.link.drain_until.is_some()
    }

    /// Connects if the lookup of the name has ended.
    pub(super) fn link_woken(&mut self, net: &mut Net) {
        let is_looking_up = self.link.phase == Phase::LookingUp && !self.is_leaving();
        if is_looking_up && self.link.addresses.take_lookup() {
            self.connect_to_next(net);
        }
    }

    fn connect_to_next(&mut self, net: &mut Net) {
        if let Some(timer) = self.link.timer.take() {
            net.disarm(timer);
        }
        let Some(addr) = self.link.addresses.next() else {
            self.link.phase = Phase::Apart;
            let wait = self.spread_retry(net);
            self.link.arm(net, wait);
            return;
        };
        let options = ConnectOptions {
            owner: self.link.owner,
            max_frame_bytes: Some(self.config.max_list_bytes),
            ..ConnectOptions::default()
        };
        let conn = net.connect(addr, options);
        self.roles.insert(conn, Role::Distributor);
        self.link.conn = Some(conn);
        self.link.phase = Phase::Connecting;
        self.link.tries += 1;
    }

    pub(super) fn link_opened(&mut self, net: &mut Net, conn: ConnId) {
        let link = &mut self.link;
        link.phase = Phase::Waiting;
        link.heard_at = net.now();
        link.held_list.clear();
        link.registration_key = link.take_key();
        #[derive(Serialize)]
        struct Params<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            port: Option<u16>,
            name: &'a str,
            urls: &'a [String],
        }
        let params = Params {
            port: link.port,
            name: &self.config.name,
            urls: &self.config.urls,
        };
        // What was merged may hold some who are gone: no change tells so, only a complete list.
        let knows_list = !link.epoch.is_empty() && self.roster.is_complete();
        let session = SessionRequest {
            version: 1,
            watch: Watch::Delta,
            instance: Some(link.instance.as_str().into()),
            epoch: knows_list.then(|| link.epoch.as_str().into()),
            rev: knows_list.then_some(link.rev),
            token: self.config.token.clone(),
        };
        // As it stands here: others see the fields in this order, the book's.
        #[derive(Serialize)]
        struct Packet<'a> {
            uri: &'a str,
            method: &'a str,
            key: u64,
            params: Params<'a>,
            session: SessionRequest<'a>,
        }
        let packet = Packet {
            uri: crate::protocol::DISTRIBUTES,
            method: "POST",
            key: link.registration_key,
            params,
            session,
        };
        send(net, conn, &packet);
        link.arm(net, self.config.registration_timeout);
    }

    pub(super) fn link_closed(&mut self, net: &mut Net, conn: ConnId) {
        if self.link.conn != Some(conn) {
            return;
        }
        self.link.conn = None;
        self.link.phase = Phase::Apart;
        if self.link.drain_key.take().is_some() {
            // Whether others know is not known: serve on until the time to wait is over.
            let until = self.link.drain_until.unwrap_or(net.now());
            self.link.arm_drain(net, until);
        }
        if self.link.state == LinkState::Registered {
            self.set_link_state(net, LinkState::Lost);
        }
        if self.link.is_stopped {
            return;
        }
        let (now, retry) = (net.now(), self.config.retry);
        // One that takes the node in and ends the connection at once would else be tried as fast as
        // the network goes, and all others would be told of each time.
        let mut may_hurry = || {
            let may = (self.link.hurried_at).is_none_or(|last| now.saturating_since(last) >= retry);
            if may {
                self.link.hurried_at = Some(now);
            }
            may
        };
        let wait = match self.link.retry_after.take() {
            Some(told) => told.clamp(SHORTEST_TOLD_RETRY, LONGEST_TOLD_RETRY),
            None if self.link.addresses.has_next() => Duration::ZERO,
            None if self.link.tries == 0 && may_hurry() => Duration::ZERO,
            None => {
                // Who is not allowed in is not soon: that takes somebody who changes it.
                let times = 2u32.saturating_pow(self.link.not_allowed);
                self.spread_retry(net) * times.min(MAX_TIMES_AS_LATE)
            }
        };
        self.link.arm(net, wait);
    }

    /// Between half of [`Config::retry`](super::Config::retry) and one and a half of it.
    fn spread_retry(&self, net: &mut Net) -> Duration {
        let percent = 50 + u32::try_from(net.random() % 101).unwrap_or(50);
        self.config.retry * percent / 100
    }

    fn set_link_state(&mut self, net: &mut Net, state: LinkState) {
        if self.link.state != state {
            self.link.state = state;
            self.tell_later(net, News::Link(state));
        }
        if state == LinkState::Registered {
            self.link.addresses.end_round();
            self.link.tries = 0;
            self.link.not_allowed = 0;
        }
    }

    pub(super) fn link_timer_rang(&mut self, net: &mut Net, timer: TimerId) {
        if self.link.drain_timer == Some(timer) {
            self.link.drain_timer = None;
            self.link.drain_key = None;
            self.tell_later(net, News::DrainedUnproven);
            return;
        }
        if self.link.timer != Some(timer) {
            return;
        }
        self.link.timer = None;
        match self.link.phase {
            Phase::Apart => self.connect_link(net),
            Phase::LookingUp if self.is_leaving() => {}
            Phase::LookingUp => {
                let error = std::io::ErrorKind::TimedOut.into();
                self.link.addresses.lookup_failed(&error);
                self.connect_to_next(net);
            }
            Phase::Connecting => {}
            Phase::Waiting if self.link.held_list.is_empty() => {
                debug!("the Distributor is connected but says nothing: trying anew");
                self.reconnect(net);
            }
            Phase::Waiting => self.follow_plain_lists(net),
            Phase::Plain => self.apply_held_list(net, false),
            Phase::Session => self.beat(net),
        }
    }

    /// Leaves the Distributor, and looks for it anew if the node goes on.
    fn reconnect(&mut self, net: &mut Net) {
        if let Some(conn) = self.link.conn {
            net.close(conn, Close::Now);
        }
    }

    /// The Distributor is one of the book's: it sends lists, but does not answer.
    fn follow_plain_lists(&mut self, net: &mut Net) {
        self.link.phase = Phase::Plain;
        self.link.epoch.clear();
        let had_a_view = self.link.state == LinkState::Lost;
        self.set_link_state(net, LinkState::Registered);
        if had_a_view {
            self.link.merges_until = net.now() + self.config.merge;
            self.link.arm(net, self.config.merge);
        }
        self.apply_held_list(net, had_a_view);
    }

    fn apply_held_list(&mut self, net: &mut Net, merges: bool) {
        let held = std::mem::take(&mut self.link.held_list);
        if let Some(Update::List { entries, .. }) = Update::parse(&held) {
            let changes = self.roster.apply_list(&entries, &[], merges, net.now());
            self.roster_changed(net, changes);
        }
        self.link.held_list = held;
    }

    fn beat(&mut self, net: &mut Net) {
        let silence = self.link.heartbeat * SILENT_HEARTBEATS;
        if net.now().saturating_since(self.link.heard_at) >= silence {
            debug!("nothing was heard of the Distributor: trying anew");
            self.reconnect(net);
            return;
        }
        let key = self.link.take_key();
        self.say_applied(net, Some(key));
        self.arm_heartbeat(net);
    }

    fn arm_heartbeat(&mut self, net: &mut Net) {
        let percent = 80 + u32::try_from(net.random() % 41).unwrap_or(20);
        let wait = self.link.heartbeat * percent / 100;
        self.link.arm(net, wait);
    }

    /// A heartbeat, which is also the acknowledgement of what was applied.
    fn say_applied(&mut self, net: &mut Net, key: Option<u64>) {
        let Some(mut packet) = self.link.conn.and_then(|conn| net.send(conn)) else {
            return;
        };
        // Writing to a queue does not fail.
        let _ = write!(
            packet,
            "{{\"uri\":\"{}\",\"method\":\"POST\"",
            crate::protocol::HEARTBEAT
        );
        let _ = match key {
            Some(key) => write!(packet, ",\"key\":{key}"),
            None => write!(packet, ",\"key\":null"),
        };
        let _ = write!(packet, ",\"session\":{{\"rev\":{}}}}}", self.link.rev);
        packet.finish();
    }

    /// Serves a frame of the Distributor. Returns the reply if it refuses the registration.
    pub(super) fn link_frame<'a>(&mut self, net: &mut Net, frame: &'a [u8]) -> Option<Reply<'a>> {
        self.link.heard_at = net.now();
        if let Some(update) = Update::parse(frame) {
            self.link_update(net, frame, update);
            return None;
        }
        let reply = Reply::parse(frame)?;
        // Who is refused as a connection is told without a key.
        let is_turned_away =
            reply.errorcode != 0 && reply.key().is_none() && self.link.phase == Phase::Waiting;
        if is_turned_away
            || reply.key() == Some(self.link.registration_key)
                && matches!(self.link.phase, Phase::Waiting | Phase::Plain)
        {
            if reply.errorcode != 0 {
                warn!(errorcode = reply.errorcode, message = %reply.message(), "the Distributor refused the registration");
                if reply.errorcode == ErrorCode::NotAllowed as i64 {
                    self.link.not_allowed = self.link.not_allowed.saturating_add(1);
                }
                self.reconnect(net);
                return Some(reply);
            }
            if let Ok(registered) = serde_json::from_str::<Registered<'_>>(reply.results()) {
                self.begin_session(net, &registered);
            }
        } else if reply.key().is_some() && reply.key() == self.link.drain_key {
            self.link.drain_key = None;
            if let Some(timer) = self.link.drain_timer.take() {
                net.disarm(timer);
            }
            match serde_json::from_str::<Drained>(reply.results()) {
                Ok(drained) if reply.errorcode == 0 => self.tell_later(net, News::Drained(drained)),
                // It may still be listed: leaving the Distributor takes it out, and who knows of
                // that is not known.
                _ => {
                    let until = self.link.drain_until.unwrap_or(net.now());
                    self.link.arm_drain(net, until);
                    self.reconnect(net);
                }
            }
        }
        None
    }

    fn begin_session(&mut self, net: &mut Net, registered: &Registered<'_>) {
        self.link.phase = Phase::Session;
        // A session has lists of its own.
        self.link.held_list = Vec::new();
        self.link.heartbeat = Duration::from_millis(registered.heartbeat_ms.max(1));
        if self.link.epoch != registered.epoch {
            // Its first list follows: what was known of another epoch can't be led on from, and to
            // acknowledge it would be to acknowledge what was never applied.
            self.link.epoch.clear();
            self.link.rev = 0;
        }
        self.set_link_state(net, LinkState::Registered);
        self.arm_heartbeat(net);
    }

    fn link_update(&mut self, net: &mut Net, frame: &[u8], update: Update<'_>) {
        match update {
            Update::Draining { retry_after_ms } => {
                self.link.retry_after = retry_after_ms.map(Duration::from_millis);
            }
            Update::List {
                entries,
                session: Some(session),
            } => {
                let merges = session.complete == Some(false);
                let changes = self
                    .roster
                    .apply_list(&entries, &session.ids, merges, net.now());
                self.followed(net, &session, changes);
            }
            Update::List { session: None, .. } => self.plain_list(net, frame),
            Update::Delta {
                joined,
                left,
                session,
            } => {
                if session.epoch != *self.link.epoch || session.from != Some(self.link.rev) {
                    self.ask_for_list(net);
                    return;
                }
                let changes = self
                    .roster
                    .apply_delta(&joined, &session.ids, &left, net.now());
                self.followed(net, &session, changes);
            }
        }
    }

    fn followed(&mut self, net: &mut Net, session: &UpdateSession<'_>, changes: Changes) {
        if self.link.epoch != session.epoch {
            self.link.epoch.clear();
            self.link.epoch.push_str(&session.epoch);
        }
        self.link.rev = session.rev;
        self.roster_changed(net, changes);
        if session.ack {
            self.say_applied(net, None);
        }
    }

    fn plain_list(&mut self, net: &mut Net, frame: &[u8]) {
        self.link.held_list.clear();
        self.link.held_list.extend_from_slice(frame);
        match self.link.phase {
            // Who sent it is not known yet. To know somebody is better than nobody.
            Phase::Waiting if self.link.state == LinkState::Searching => {
                self.apply_held_list(net, true);
            }
            Phase::Plain => {
                let merges = net.now() < self.link.merges_until;
                self.apply_held_list(net, merges);
            }
            _ => {}
        }
    }

    fn ask_for_list(&mut self, net: &mut Net) {
        let key = self.link.take_key();
        if let Some(conn) = self.link.conn {
            let packet =
                json!({ "uri": crate::protocol::DISTRIBUTES, "method": "GET", "key": key });
            send(net, conn, &packet);
        }
    }

    fn roster_changed(&mut self, net: &mut Net, changes: Changes) {
        let addrs: Vec<_> = self
            .roster
            .members()
            .iter()
            .filter_map(|member| member.addr)
            .collect();
        for idle in self.peers.list(addrs.into_iter()) {
            net.close(idle, Close::AfterFlush);
        }
        for member in changes.left {
            self.tell_later(net, News::Left(member));
        }
        for member in changes.joined {
            self.tell_later(net, News::Joined(member));
        }
        self.look_at_waits(net);
    }

    pub(super) fn drain_link(&mut self, net: &mut Net, wait: Duration) {
        // A second request would be refused, and so end as unproven before the first is answered.
        if self.link.drain_timer.is_some() {
            return;
        }
        let until = net.now() + wait;
        self.link.drain_until = Some(until);
        let conn = self.link.conn.filter(|_| self.link.phase == Phase::Session);
        let Some(conn) = conn else {
            // Nobody can be asked who knows. Leaving the Distributor takes the node out of the list.
            self.link.arm_drain(net, until);
            self.reconnect(net);
            return;
        };
        // It answers when the time is over at the latest, if it is not standing still.
        self.link
            .arm_drain(net, until + self.config.registration_timeout);
        let key = self.link.take_key();
        self.link.drain_key = Some(key);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let packet = json!({
            "uri": crate::protocol::DISTRIBUTES,
            "method": "DELETE",
            "key": key,
            "params": { "wait_ms": wait_ms },
        });
        send(net, conn, &packet);
    }
}

fn send(net: &mut Net, conn: ConnId, packet: &impl Serialize) {
    if let Some(mut frame) = net.send(conn) {
        // Writing to a queue does not fail.
        let _ = serde_json::to_writer(&mut frame, packet);
        frame.finish();
    }
}
