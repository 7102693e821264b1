//! Turning the reactor until something is reached, or it is too late, or somebody stops the run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::TcpOptions;
use crate::reactor::{Handler, Limits, Net, Reactor};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::failure::Failure;
use crate::cli::flood::usage::Process;

/// How long a turn may wait: then signals and deadlines are looked at.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

const LONGEST_KEEPALIVE: Duration = Duration::from_secs(3600);

/// How waiting ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    Done,
    TooLong,
    /// Somebody pressed Ctrl-C.
    Stopped,
}

/// This program's side of all connections.
pub(crate) struct Client {
    pub(crate) reactor: Reactor,
    stop: Arc<AtomicBool>,
}

impl Client {
    /// `timeout` is for everything, connecting included.
    pub(crate) fn new(connections: usize, timeout: Duration) -> io::Result<Client> {
        let limits = Limits {
            max_connections: connections,
            connect_timeout: timeout,
            write_timeout: timeout,
            frame_timeout: timeout,
            max_read_bytes_per_turn: 256 << 10,
            max_frames_per_turn: 4096,
            tcp: TcpOptions {
                // Watching whether the other side is there is the server's business: probes of
                // thousands of connections at once are more than the loopback device queues.
                keepalive_idle: LONGEST_KEEPALIVE,
                user_timeout: LONGEST_KEEPALIVE,
                ..TcpOptions::default()
            },
            ..Limits::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Client {
            reactor: Reactor::new(limits)?,
            stop,
        })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn net(&mut self) -> &mut Net {
        self.reactor.net()
    }

    /// One turn, for `wait` at most.
    pub(crate) fn turn(&mut self, wait: Duration, handler: &mut dyn Handler) -> io::Result<()> {
        self.reactor.turn(Some(wait.min(LONGEST_WAIT)), handler)
    }

    /// Turns until `done`, but not past `until`.
    pub(crate) fn run_until<H: Handler>(
        &mut self,
        handler: &mut H,
        until: Instant,
        mut done: impl FnMut(&mut H, &mut Net) -> bool,
    ) -> io::Result<Waited> {
        loop {
            if done(handler, self.reactor.net()) {
                return Ok(Waited::Done);
            }
            if self.is_stopped() {
                return Ok(Waited::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TooLong);
            }
            self.turn(left, handler)?;
        }
    }

    /// Turns for so long.
    pub(crate) fn pass<H: Handler>(&mut self, handler: &mut H, time: Duration) -> io::Result<()> {
        self.run_until(handler, Instant::now() + time, |_, _| false)?;
        Ok(())
    }

    /// What the server has used of the processors, once it has come to rest.
    pub(crate) fn settled_cpu<H: Handler>(
        &mut self,
        handler: &mut H,
        server: Option<Process>,
    ) -> Result<Option<Duration>, Failure> {
        let Some(server) = server else {
            return Ok(None);
        };
        let gone = |error: io::Error| {
            Failure::failed(format!(
                "the server (process {}) is gone: {error}",
                server.pid
            ))
        };
        let mut before = server.cpu().map_err(gone)?;
        // A server that never rests is measured all the same.
        for _ in 0..MOST_LOOKS {
            self.pass(handler, REST)?;
            let now = server.cpu().map_err(gone)?;
            if now == before {
                break;
            }
            before = now;
        }
        Ok(Some(before))
    }
}

/// A server that used nothing for so long has done its work.
const REST: Duration = Duration::from_millis(3);
const MOST_LOOKS: u32 = 100;

/// How long to wait after something that took so long, until a Distributor is calm: after a push it
/// lets some time pass before the next one, up to four times as long as that one took, and a second at
/// most.
pub(crate) fn pause_after(took: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(1200);
    (SHORTEST + took * 5).min(LONGEST)
}

/// Sleeping is counted in whole milliseconds: the last one is waited for awake, so that nothing is
/// late by it.
pub(crate) fn to_wait(next: Instant) -> Duration {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let left = next.saturating_duration_since(Instant::now());
    left.saturating_sub(MILLISECOND)
}
