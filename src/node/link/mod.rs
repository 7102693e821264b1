//! The connection to the Distributor: finds it, registers, and follows the list. `phase.rs` has the
//! table of its states.

mod addresses;
mod drain;
mod log;
mod packets;
mod phase;
mod retry;
mod status;
mod subscription;
mod subscription_state;
mod updates;

use std::net::SocketAddr;
use std::time::Duration;

use tracing::debug;

use super::config::Config;
use super::event::{Event, LinkState};
use super::interest::Interest;
use super::roster::Roster;
use super::tag::Tag;
use crate::protocol::{ErrorCode, Registered, Reply, SessionRequest, Token, Update, Watch};
use crate::reactor::{Close, CloseReason, ConnId, ConnectOptions, Net, Owner, TimerId};
use addresses::{Addresses, Step};
use log::RegistrationLog;
use phase::{Drain, Phase};
use retry::{Retry, usual_pause};
use subscription_state::SubscriptionState;

pub(super) use addresses::LONGEST_LOOKUP;

#[derive(Debug)]
pub(super) struct DistributorLink {
    pub(super) owner: Owner,
    pub(super) config: Config,
    pub(super) roster: Roster,
    subscription: SubscriptionState,
    addresses: Addresses,
    phase: Phase,
    timer: Option<TimerId>,
    drain: Drain,
    drain_timer: Option<TimerId>,
    retry: Retry,
    was_registered: bool,
    is_stopped: bool,
    /// The node has disconnected in order to leave the list.
    is_parting: bool,
    log: RegistrationLog,
    /// Port to be listed.
    port: Option<u16>,
    /// 128 random bits in hex.
    instance: String,
    next_key: u64,
    pub(super) events: Vec<Event>,
    /// Set if the list has changed since this was last taken; `true` if its epoch is new.
    pub(super) listed: Option<bool>,
}

/// Number of heartbeat intervals without data after which a Distributor counts as gone.
const SILENT_HEARTBEATS: u32 = 3;

impl DistributorLink {
    pub(super) fn new(config: Config) -> DistributorLink {
        // Without a Distributor there is nothing to subscribe to.
        let interest = match &config.distributor {
            Some(_) => config.interest.clone(),
            None => Interest::All,
        };
        DistributorLink {
            owner: Owner::default(),
            addresses: Addresses::new(config.distributor.as_ref()),
            config,
            roster: Roster::new(interest),
            subscription: SubscriptionState::default(),
            phase: Phase::Apart,
            timer: None,
            drain: Drain::None,
            drain_timer: None,
            retry: Retry::default(),
            was_registered: false,
            is_stopped: false,
            is_parting: false,
            log: RegistrationLog::default(),
            port: None,
            instance: String::new(),
            next_key: 0,
            events: Vec::new(),
            listed: None,
        }
    }

    pub(super) fn start(&mut self, net: &mut Net, listening_port: Option<u16>) {
        self.port = self.config.advertised_port.or(listening_port);
        self.instance = format!("{:016x}{:016x}", net.random(), net.random());
        RegistrationLog::token(&self.config.name, self.config.token.as_ref());
        self.connect(net);
    }

    pub(super) fn set_token(&mut self, token: Option<Token<'static>>) {
        RegistrationLog::token(&self.config.name, token.as_ref());
        self.config.token = token;
    }

    pub(super) fn stop(&mut self, net: &mut Net) {
        self.is_stopped = true;
        if let Some(conn) = self.phase.conn() {
            net.close(conn, Close::AfterFlush);
        }
    }

    /// Returns whether this is the connection to the Distributor.
    pub(super) fn owns(&self, conn: ConnId) -> bool {
        self.phase.conn() == Some(conn)
    }

    /// Enters a phase without a timer.
    fn enter(&mut self, net: &mut Net, phase: Phase) {
        if let Some(timer) = self.timer.take() {
            net.disarm(timer);
        }
        let before = self.state();
        self.phase = phase;
        if self.state() == LinkState::Registered {
            self.was_registered = true;
            self.addresses.end_round();
            self.retry.registered();
        }
        let state = self.state();
        if state == before || self.is_stopped || self.is_parting {
            // A connection that the node itself ends is not lost.
            return;
        }
        self.events.push(Event::Link(state));
        let name = &self.config.name;
        match state {
            LinkState::Registered => {
                let distributor = self.phase.conn().and_then(|conn| net.peer_addr(conn));
                self.log.accepted(name, distributor);
            }
            LinkState::Lost => self.log.lost(name),
            LinkState::Searching => {}
        }
    }

    /// Arms the timer of the phase that was entered, or whose timer expired.
    fn arm(&mut self, net: &mut Net, wait: Duration) {
        self.timer = Some(net.arm(self.owner, net.now() + wait, Tag::Link.pack()));
    }

    fn take_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Makes the next attempt of the round, or of a new one.
    fn connect(&mut self, net: &mut Net) {
        if self.is_leaving() || self.addresses.is_empty() {
            return;
        }
        if !self.addresses.has_next() {
            self.addresses.begin_round();
        }
        let step = self.addresses.step(net);
        self.follow(net, step);
    }

    fn follow(&mut self, net: &mut Net, step: Step) {
        match step {
            Step::Connect(addr) => self.connect_to(net, addr),
            Step::LookUp { host } => {
                self.enter(net, Phase::LookingUp { host });
                self.arm(net, LONGEST_LOOKUP);
            }
            Step::Over => {
                self.enter(net, Phase::Apart);
                let wait = usual_pause(net, &self.config);
                self.arm(net, wait);
            }
        }
    }

    fn connect_to(&mut self, net: &mut Net, addr: SocketAddr) {
        let options = ConnectOptions {
            owner: self.owner,
            max_frame_bytes: Some(self.config.max_list_bytes),
            ..ConnectOptions::default()
        };
        let conn = net.connect(addr, options);
        self.enter(net, Phase::Connecting { conn });
        self.retry.tries += 1;
    }

    /// Disconnects from the Distributor. [`DistributorLink::closed`] follows, and then the next
    /// attempt.
    fn disconnect(&mut self, net: &mut Net) {
        if let Some(conn) = self.phase.conn() {
            net.close(conn, Close::Now);
        }
    }

    /// Continues if the lookup has ended.
    pub(super) fn woken(&mut self, net: &mut Net) {
        let Phase::LookingUp { host } = self.phase else {
            return;
        };
        if self.is_leaving() {
            return;
        }
        let step = self.addresses.step(net);
        // Other wake-ups must not prolong the lookup.
        if step != (Step::LookUp { host }) {
            self.follow(net, step);
        }
    }

    pub(super) fn opened(&mut self, net: &mut Net, conn: ConnId) {
        let key = self.take_key();
        // A view is resumed only under the subscription with which it was received.
        let resumes = self.is_viewed() && self.roster.position().is_some();
        let last = self.roster.interests().last();
        self.subscription.registering(last, resumes);
        self.send_registration(net, conn, key, resumes);
        let list = Vec::new();
        self.enter(net, Phase::Registering { conn, key, list });
        self.arm(net, self.config.registration_timeout);
    }

    fn send_registration(&self, net: &mut Net, conn: ConnId, key: u64, resumes: bool) {
        let known = if resumes {
            self.roster.position()
        } else {
            None
        };
        let only = self.roster.interests().wanted();
        let session = SessionRequest {
            version: 1,
            watch: Watch::Delta,
            instance: Some(self.instance.as_str().into()),
            epoch: known.map(|(epoch, _)| epoch.into()),
            rev: known.map(|(_, rev)| rev),
            token: self.config.token.clone(),
            only: only.as_deref().cloned(),
        };
        net.send_with(conn, |out| {
            packets::registration(out, key, &self.config, self.port, &session)
        });
    }

    pub(super) fn closed(&mut self, net: &mut Net, why: CloseReason) {
        if matches!(self.phase, Phase::Connecting { .. })
            && why != CloseReason::Local
            && !self.addresses.has_next()
            && let Some(address) = self.addresses.current()
        {
            self.log.unreachable(&self.config.name, address, why);
        }
        if matches!(self.phase, Phase::Registering { .. }) && why != CloseReason::Local {
            let (name, address) = (&self.config.name, self.addresses.current());
            self.log.unanswered(name, address, &why.to_string());
        }
        self.enter(net, Phase::Apart);
        self.subscription = SubscriptionState::default();
        if let Drain::Pending { until, .. } = self.drain {
            self.set_drain(net, Drain::Unproven, Some(until));
        }
        if !self.is_stopped {
            let has_next = self.addresses.has_next();
            let wait = self.retry.pause(net, &self.config, has_next);
            self.arm(net, wait);
        }
    }

    pub(super) fn timer_rang(&mut self, net: &mut Net, timer: TimerId) {
        if self.drain_timer == Some(timer) {
            self.set_drain(net, Drain::Over, None);
            return self.events.push(Event::DrainedUnproven);
        }
        if self.timer != Some(timer) {
            return;
        }
        self.timer = None;
        match &mut self.phase {
            Phase::Apart => self.connect(net),
            Phase::LookingUp { .. } => {
                if !self.is_leaving() {
                    self.addresses.lookup_timed_out();
                    let step = self.addresses.step(net);
                    self.follow(net, step);
                }
            }
            Phase::Connecting { .. } => {}
            Phase::Registering { conn, key, list } if !list.is_empty() => {
                // A plain Distributor sends lists without answering a registration.
                let had_view = self.was_registered;
                let plain = Phase::Plain {
                    conn: *conn,
                    key: *key,
                    list: std::mem::take(list),
                    merges_until: had_view.then(|| net.now() + self.config.merge),
                };
                self.roster.forget_position();
                self.enter(net, plain);
                if had_view {
                    self.arm(net, self.config.merge);
                }
                self.apply_plain_list(net.now());
            }
            Phase::Registering { .. } => {
                let (name, address) = (&self.config.name, self.addresses.current());
                self.log.unanswered(name, address, "no answer in time");
                self.disconnect(net);
            }
            Phase::Plain { merges_until, .. } => {
                *merges_until = None;
                self.apply_plain_list(net.now());
            }
            Phase::Session { .. } => self.beat(net),
        }
    }

    fn beat(&mut self, net: &mut Net) {
        let Phase::Session {
            conn,
            heartbeat,
            heard_at,
        } = self.phase
        else {
            return;
        };
        if net.now().saturating_since(heard_at) >= heartbeat * SILENT_HEARTBEATS {
            debug!("the Distributor fell silent, reconnecting");
            return self.disconnect(net);
        }
        let (key, rev) = (self.take_key(), self.roster.rev());
        net.send_with(conn, |out| packets::heartbeat(out, Some(key), rev, None));
        self.arm_heartbeat(net, heartbeat);
    }

    fn arm_heartbeat(&mut self, net: &mut Net, heartbeat: Duration) {
        let percent = 80 + u32::try_from(net.random() % 41).unwrap_or(20);
        self.arm(net, heartbeat * percent / 100);
    }

    pub(super) fn frame(&mut self, net: &mut Net, frame: &[u8]) {
        if let Phase::Session { heard_at, .. } = &mut self.phase {
            *heard_at = net.now();
        }
        if let Some(update) = Update::parse(frame) {
            return self.update(net, frame, &update);
        }
        let Some(reply) = Reply::parse(frame) else {
            return;
        };
        let is_of_registration = match self.phase {
            // The rejection of the connection itself has no key.
            Phase::Registering { key, .. } => {
                reply.key() == Some(key) || reply.errorcode != 0 && reply.key().is_none()
            }
            Phase::Plain { key, .. } => reply.key() == Some(key),
            _ => false,
        };
        if is_of_registration {
            return self.registration_answered(net, reply);
        }
        if let Some(change) = self.subscription.take_change(reply.key()) {
            return self.change_answered(net, change, reply);
        }
        if let Drain::Pending { key, until } = self.drain
            && reply.key() == Some(key)
        {
            self.drain_answered(net, &reply, until);
        }
    }

    fn registration_rejected(&mut self, net: &mut Net, reply: Reply<'_>) {
        self.log.rejected(&self.config.name, &reply);
        if reply.errorcode == ErrorCode::NotAllowed as i64 {
            self.retry.not_allowed = self.retry.not_allowed.saturating_add(1);
        }
        self.disconnect(net);
        let reply = reply.into_owned();
        self.events.push(Event::RegistrationRefused(reply));
    }

    fn registration_answered(&mut self, net: &mut Net, reply: Reply<'_>) {
        if reply.errorcode != 0 {
            return self.registration_rejected(net, reply);
        }
        let registered = serde_json::from_str::<Registered<'_>>(reply.raw_results());
        let (Ok(registered), Some(conn)) = (registered, self.phase.conn()) else {
            return;
        };
        let heartbeat = Duration::from_millis(registered.heartbeat_ms.max(1));
        self.roster.begin_session(&registered.epoch);
        self.subscription.registered(&registered);
        self.limit_view();
        let session = Phase::Session {
            conn,
            heartbeat,
            heard_at: net.now(),
        };
        self.enter(net, session);
        self.arm_heartbeat(net, heartbeat);
    }
}
