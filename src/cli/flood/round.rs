//! The connections of a run, and the server that the present round is against.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::nodes::Names;
use super::stop::{Halt, StopSignal};
use super::target::Target;
use super::usage::{Memory, Process};
use crate::TcpOptions;
use crate::reactor::{Handler, Limits, Net, Reactor};

/// Signals and deadlines are checked at least this often.
const LONGEST_TURN: Duration = Duration::from_millis(20);
/// Probing peers is the server's business: probes of thousands of connections at once overflow the
/// queue of the loopback device.
const NO_PROBES: Duration = Duration::from_secs(3600);
/// A server that used no CPU for this long is at rest.
const REST: Duration = Duration::from_millis(3);
/// A server that never rests is measured all the same.
const MAX_LOOKS: u32 = 100;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Server,
    /// The same server without its HTTP readers.
    WithoutReaders,
    /// The same server without the part of the load that the scenario leaves out.
    Relieved,
    Bare,
}

/// Turns the reactor until a condition holds, a deadline passes, or the run is stopped.
pub(crate) struct Round {
    reactor: Reactor,
    stop: StopSignal,
    /// For each step, `--timeout`.
    pub(crate) timeout: Duration,
    pub(crate) sources: Vec<Option<IpAddr>>,
    pub(crate) names: Names,
    pub(crate) subject: Subject,
    pub(crate) to: SocketAddr,
    pub(crate) process: Option<Process>,
}

impl Round {
    pub(crate) fn new(target: &Target, connections: usize) -> Result<Round, Halt> {
        let timeout = target.timeout;
        let limits = Limits {
            max_connections: connections,
            connect_timeout: timeout,
            write_timeout: timeout,
            frame_timeout: timeout,
            max_read_bytes_per_turn: 256 << 10,
            max_frames_per_turn: 4096,
            tcp: TcpOptions {
                keepalive_idle: NO_PROBES,
                user_timeout: NO_PROBES,
                ..TcpOptions::default()
            },
            ..Limits::default()
        };
        Ok(Round {
            reactor: Reactor::new(limits)?,
            stop: target.stop.clone(),
            timeout,
            sources: target.plan.sources.clone(),
            names: Names::new(),
            subject: Subject::Server,
            to: target.addr,
            process: target.process,
        })
    }

    pub(crate) fn net(&mut self) -> &mut Net {
        self.reactor.net()
    }

    pub(crate) fn turn(&mut self, wait: Duration, handler: &mut dyn Handler) -> Result<(), Halt> {
        if self.stop.is_set() {
            return Err(Halt::Stopped);
        }
        Ok(self.reactor.turn(Some(wait.min(LONGEST_TURN)), handler)?)
    }

    /// Turns for `time`, or until `done`. Returns whether it is done.
    pub(crate) fn run_for<H: Handler>(
        &mut self,
        time: Duration,
        handler: &mut H,
        mut done: impl FnMut(&mut H, &mut Net) -> bool,
    ) -> Result<bool, Halt> {
        let until = Instant::now() + time;
        loop {
            if done(handler, self.reactor.net()) {
                return Ok(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.turn(left, handler)?;
        }
    }

    pub(crate) fn pass<H: Handler>(&mut self, time: Duration, handler: &mut H) -> Result<(), Halt> {
        self.run_for(time, handler, |_, _| false).map(drop)
    }

    /// CPU time of the server once it is at rest, if its process is known. A stopped run does not
    /// wait for that.
    pub(crate) fn cpu<H: Handler>(&mut self, handler: &mut H) -> Result<Option<Duration>, Halt> {
        let Some(process) = self.process else {
            return Ok(None);
        };
        let pid = process.pid;
        let gone = |error| Halt::failed(format!("the server (process {pid}) is gone: {error}"));
        let mut before = None;
        for _ in 0..MAX_LOOKS {
            let now = Some(process.cpu().map_err(gone)?);
            if std::mem::replace(&mut before, now) == now {
                break;
            }
            match self.pass(REST, handler) {
                Err(Halt::Stopped) => break,
                other => other?,
            }
        }
        Ok(before)
    }

    /// Without its readers, a server keeps the memory that it had for them: then there is none.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let is_known = self.subject != Subject::WithoutReaders;
        self.process.filter(|_| is_known)?.memory().ok()
    }
}

/// Returns the pause after which a Distributor is calm again: after a push it lets up to four times
/// as long pass before the next one, at most a second.
pub(crate) fn pause_after(push: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(1200);
    (SHORTEST + push * 5).min(LONGEST)
}

/// Returns how long to sleep until `next`. The reactor counts whole milliseconds: the last one is
/// waited for awake, so that nothing is late by it.
pub(crate) fn time_until(next: Instant) -> Duration {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let left = next.saturating_duration_since(Instant::now());
    left.saturating_sub(MILLISECOND)
}
