//! Turns the reactor until a condition holds, a deadline passes, or the run is stopped.

use std::io;
use std::time::{Duration, Instant};

use super::stop::{Halt, StopSignal};
use crate::TcpOptions;
use crate::reactor::{Handler, Limits, Net, Reactor};

/// Signals and deadlines are checked at least this often.
const LONGEST_TURN: Duration = Duration::from_millis(20);
/// Probing peers is the server's business: probes of thousands of connections at once overflow the
/// queue of the loopback device.
const NO_PROBES: Duration = Duration::from_secs(3600);

/// This program's side of all connections.
pub(crate) struct EventLoop {
    reactor: Reactor,
    stop: StopSignal,
    /// For each step of a run, `--timeout`.
    pub(crate) timeout: Duration,
}

impl EventLoop {
    pub(crate) fn new(connections: usize, timeout: Duration, stop: StopSignal) -> io::Result<Self> {
        let reactor = Reactor::new(Limits {
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
        })?;
        Ok(EventLoop {
            reactor,
            stop,
            timeout,
        })
    }

    pub(crate) fn net(&mut self) -> &mut Net {
        self.reactor.net()
    }

    /// One turn that waits for at most `wait`.
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
