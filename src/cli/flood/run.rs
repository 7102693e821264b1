//! A run: the servers that it loads in turn, the reactor that loads them, and its rounds.

use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::{HttpArgs, Role, ServerArgs};
use super::capacity::{Capacity, Machine};
use super::frames::Names;
use super::group::Group;
use super::http_readers::HttpReaders;
use super::loop_work::LoopWork;
use super::record::Record;
use super::record::Unit::{self, Bytes, Seconds};
use super::report::{Line, Report, TimeLine};
use super::server::{PEAK, RESIDENT, Server, first_reachable};
use crate::cli::failure::{Failure, failed};
use crate::cli::text_file::check_folder;
use crate::cli::value::shown_path;
use crate::reactor::TcpOptions;
use crate::reactor::{Handler, Limits, Net, Reactor};

/// Maximum time between checks of signals and deadlines.
const MAX_TURN: Duration = Duration::from_millis(20);
/// Keepalive interval of the connections of the load, so long that only the server sends probes.
/// Probes on thousands of connections at once overflow the queue of the loopback device.
const NO_PROBES: Duration = Duration::from_secs(3600);
const MAX_LIST_BYTES: usize = 16 << 20;
/// Time without CPU usage after which a server is idle.
const IDLE_TIME: Duration = Duration::from_millis(3);
/// Number of checks after which a server is measured even if it is not idle.
const MAX_IDLE_CHECKS: u32 = 100;

/// Server that a round loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Server,
    /// The same server without its HTTP readers.
    WithoutReaders,
    /// The same server under a lighter load, for comparison.
    Relieved,
    Bare,
}

/// Description of a scenario in the report.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) rounds: u32,
    /// Heading of the figures of the bare server.
    pub(crate) bare: &'static str,
    /// Heading of the figures of a relieved server. `None` if that comparison is not made.
    pub(crate) relieved: Option<&'static str>,
    pub(crate) time_line: (&'static str, Unit),
}

pub(crate) struct Run {
    reactor: Reactor,
    is_stopped: Arc<AtomicBool>,
    server: Server,
    bare: Option<Server>,
    http: Option<HttpReaders>,
    pub(crate) capacity: Capacity,
    pub(crate) names: Names,
    pub(crate) subject: Subject,
    /// Maximum time of each step.
    pub(crate) timeout: Duration,
    /// CPU time of the server when it was last measured.
    last_cpu: Duration,
}

impl Run {
    /// Spawns or finds the servers, for `connections` of the load and `others` in addition.
    pub(crate) fn start(
        role: Role,
        args: &ServerArgs,
        http: Option<&HttpArgs>,
        connections: usize,
        others: usize,
    ) -> Result<Run, Failure> {
        if let Some(file) = &args.html {
            if file.is_dir() {
                let file = shown_path(file);
                let why = "this is a folder; give the path of a file in it";
                return Err(Failure::usage(format!("--html {file}: {why}")));
            }
            check_folder("--html", file)?;
        }
        // Done early: if SIGINT is ignored, as in background jobs of scripts, one that arrives
        // without a handler is lost.
        let is_stopped = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&is_stopped))
                .map_err(failed("cannot handle signals"))?;
        }
        let readers = http.and_then(|http| http.http_readers);
        let others = others + readers.unwrap_or(0);
        let total = connections + others;
        let spawn = |role| {
            let spawned = Server::spawn(role, total, readers.is_some());
            spawned.map_err(failed("cannot start a server"))
        };
        let spawned = args.spawn.then(|| spawn(role));
        let server = spawned.unwrap_or_else(|| Server::find(args))?;
        let http = match http.and_then(|http| http.http.as_ref()) {
            Some(http) => Some(first_reachable("--http", http)?),
            None => server.http,
        };
        let capacity =
            Machine::here().plan(server.addr, connections, others, args.source_addresses);
        if capacity.connections < connections.min(2) {
            let limits = capacity.capped_by.join("; ");
            return Err(Failure::failed(format!("{limits}: too few for a run")));
        }
        for cap in &capacity.capped_by {
            // A closed or full standard error must not change the exit code.
            let _ = writeln!(io::stderr(), "flood: {cap}");
        }
        let limits = Limits {
            max_connections: total,
            max_frame_bytes: MAX_LIST_BYTES,
            connect_timeout: args.timeout,
            write_timeout: args.timeout,
            frame_timeout: args.timeout,
            max_read_bytes_per_turn: 256 << 10,
            max_frames_per_turn: 4096,
            tcp: TcpOptions {
                keepalive_idle: NO_PROBES,
                user_timeout: NO_PROBES,
                ..TcpOptions::default()
            },
            ..Limits::default()
        };
        Ok(Run {
            reactor: Reactor::new(limits).map_err(failed("cannot start a reactor"))?,
            is_stopped,
            server,
            bare: args.baseline.then(|| spawn(Role::Bare)).transpose()?,
            http: http.zip(readers).map(HttpReaders::new),
            capacity,
            names: Names::new(),
            subject: Subject::Server,
            timeout: args.timeout,
            last_cpu: Duration::ZERO,
        })
    }

    /// Runs a round against one server, outside the report. A bare server repeats a `measured`
    /// round.
    pub(crate) fn rehearse(
        &mut self,
        measured: Option<&Record>,
        round: impl FnOnce(&mut Run, &mut Record) -> Result<(), Failure>,
    ) -> Result<Record, Failure> {
        self.subject = measured.map_or(Subject::Server, |_| Subject::Bare);
        if let Some(measured) = measured {
            self.set_bare_task(measured)?;
        }
        let mut record = Record::default();
        round(self, &mut record)?;
        Ok(record)
    }

    /// Sets the task of the bare server, if there is one.
    fn set_bare_task(&mut self, measured: &Record) -> Result<(), Failure> {
        if let Some(bare) = &mut self.bare {
            let what = "nothing for the baseline to repeat: no change was sent alone";
            let what = || Failure::failed(format!("{what}; try a lower --rate"));
            let task = measured.bare_task.as_ref().ok_or_else(what)?;
            bare.set_task(task)
                .map_err(failed("the bare server has ended"))?;
        }
        Ok(())
    }

    /// Runs all rounds and reports. If the run is stopped, its last round fails, and the report has
    /// what was recorded until then.
    pub(crate) fn drive(
        mut self,
        scenario: Scenario,
        mut round: impl FnMut(&mut Run, &mut Record) -> Result<(), Failure>,
    ) -> Result<Report, Failure> {
        let Scenario { name, rounds, .. } = scenario;
        let mut http = self.http.take();
        let (other, heading) = match (&self.bare, &http) {
            (Some(_), _) => (Subject::Bare, Some(scenario.bare)),
            (None, Some(_)) => (Subject::WithoutReaders, Some("no readers")),
            (None, None) => (Subject::Relieved, scenario.relieved),
        };
        let mut measured = Record::default();
        let mut baseline = Record::default();
        let mut complete = 0;
        let result = (0..rounds).try_for_each(|number| {
            show_progress(name, number + 1, rounds);
            // In the first round the server is first, since the bare one repeats its actions. Later
            // the order is random, since each may be affected by the previous one.
            let mut subjects = vec![Subject::Server];
            subjects.extend(heading.map(|_| other));
            if number > 0 && self.net().random().is_multiple_of(2) {
                subjects.reverse();
            }
            for subject in subjects {
                self.subject = subject;
                match (subject, &mut http) {
                    (Subject::Server, Some(readers)) => {
                        readers.read_during(|| round(&mut self, &mut measured))??;
                    }
                    (Subject::Server, None) => round(&mut self, &mut measured)?,
                    _ => {
                        self.set_bare_task(&measured)?;
                        round(&mut self, &mut baseline)?;
                    }
                }
            }
            complete += 1;
            Ok(())
        });
        hide_progress();
        if !self.is_stopped() || measured.rows.is_empty() {
            result?;
        }
        let baseline = Some(baseline).filter(|baseline| !baseline.rows.is_empty());
        let mut report = Report {
            command: name,
            settings: scenario.settings,
            baseline: baseline.as_ref().and(heading),
            notes: mem::take(&mut measured.notes),
            ..Report::default()
        };
        report.add(&measured, baseline.as_ref());
        if let Some(readers) = &http {
            readers.report(&mut report);
        }
        let records = [Some(("measured", measured)), heading.zip(baseline)];
        let lines = records.into_iter().flatten().map(|(name, record)| Line {
            name,
            points: record.time_line,
        });
        let lines = lines.collect();
        let (what, unit) = scenario.time_line;
        report.time_line = Some(TimeLine { what, unit, lines });
        if complete < u64::from(rounds) {
            report.notes.push(format!(
                "stopped after {complete} of {rounds} rounds: totals are lower than those of a full \
                 run, and the columns may count different numbers of rounds"
            ));
        }
        self.report(&mut report);
        Ok(report)
    }

    /// Reports the total resource usage of the servers, and the limits that capped the run.
    fn report(&self, report: &mut Report) {
        let peak = |server: &Server| {
            let kinds = [PEAK, RESIDENT].into_iter();
            let bytes = kinds.filter_map(|kind| server.process?.memory(kind));
            bytes.reduce(f64::max)
        };
        let cpu = |server: &Server| {
            let cpu = server.process?.cpu()?.saturating_sub(server.cpu_before);
            Some(cpu.as_secs_f64())
        };
        let bare = self.bare.as_ref();
        let name = "server memory at its peak, resident";
        let values = [peak(&self.server), bare.and_then(peak)];
        report.figure(Group::Memory, name, Bytes, values);
        let name = "server CPU in all";
        let values = [cpu(&self.server), bare.and_then(cpu)];
        report.figure(Group::Cpu, name, Seconds, values);
        report.notes.extend(self.capacity.capped_by.iter().cloned());
    }

    /// Returns the server of the current round.
    pub(crate) fn server(&self) -> &Server {
        match &self.bare {
            Some(bare) if self.subject == Subject::Bare => bare,
            _ => &self.server,
        }
    }

    pub(crate) fn net(&mut self) -> &mut Net {
        self.reactor.net()
    }

    /// Returns whether a signal arrived. All waits fail then.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn turn(
        &mut self,
        wait: Duration,
        handler: &mut dyn Handler,
    ) -> Result<(), Failure> {
        if self.is_stopped() {
            return Err(Failure::failed("stopped before there were any figures"));
        }
        let turn = self.reactor.turn(Some(wait.min(MAX_TURN)), handler);
        turn.map(drop).map_err(failed("cannot poll"))
    }

    /// Turns for `time`, or until `done`. Returns whether it is done.
    pub(crate) fn run_for<H: Handler>(
        &mut self,
        time: Duration,
        handler: &mut H,
        done: impl Fn(&H, &Net) -> bool,
    ) -> Result<bool, Failure> {
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

    pub(crate) fn pause(
        &mut self,
        time: Duration,
        handler: &mut impl Handler,
    ) -> Result<(), Failure> {
        self.run_for(time, handler, |_, _| false).map(drop)
    }

    /// Waits until the server is idle, unless the run is stopped. Returns the CPU time that it used
    /// since the last call, if its process is known.
    pub(crate) fn cpu_used(
        &mut self,
        handler: &mut impl Handler,
    ) -> Result<Option<Duration>, Failure> {
        let Some(process) = self.server().process else {
            return Ok(None);
        };
        let ended = || Failure::failed("the process of the server has ended");
        let cpu = || process.cpu().ok_or_else(ended);
        let mut now = cpu()?;
        for _ in 1..MAX_IDLE_CHECKS {
            match self.pause(IDLE_TIME, handler) {
                Err(_) if self.is_stopped() => break,
                paused => paused?,
            }
            if mem::replace(&mut now, cpu()?) == now {
                break;
            }
        }
        let before = mem::replace(&mut self.last_cpu, now);
        Ok(Some(now.saturating_sub(before)))
    }

    /// Returns how the loop of the server has spent its time, if it is known.
    pub(crate) fn loop_work(&mut self) -> Result<Option<LoopWork>, Failure> {
        if self.subject == Subject::Bare {
            return Ok(None);
        }
        let work = self.server.loop_work();
        work.map_err(failed("the server has ended"))
    }

    /// Closes all connections, by replacing the reactor.
    pub(crate) fn close_all(&mut self) -> Result<(), Failure> {
        let limits = self.net().limits().clone();
        self.reactor = Reactor::new(limits).map_err(failed("cannot start a reactor"))?;
        Ok(())
    }

    /// Returns the bytes of one kind of memory. They are unknown for a server without its HTTP
    /// readers: it keeps the memory that it used for them.
    pub(crate) fn memory(&self, kind: &str) -> Option<f64> {
        if self.subject == Subject::WithoutReaders {
            return None;
        }
        self.server().process?.memory(kind)
    }
}

/// Shows which round runs, on standard error if that is a terminal. Nothing is written while a
/// round is measured.
fn show_progress(scenario: &str, round: u32, rounds: u32) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // "\x1b[K" erases the rest of the line.
        let _ = write!(stderr, "\r{scenario}: round {round} of {rounds}\x1b[K");
        let _ = stderr.flush();
    }
}

/// Erases the line of [`show_progress`].
fn hide_progress() {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K");
    }
}

/// Returns the pause after which a Distributor pushes the next change at once: after a push it
/// waits for up to four times as long, at most a second.
pub(crate) fn pause_after(push: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(1200);
    (SHORTEST + push * 5).min(LONGEST)
}

/// Returns the time of an event of a schedule: the first at the start, and `rate` per second.
pub(crate) fn due_at(start: Instant, number: u32, rate: f64) -> Instant {
    start + Duration::from_secs_f64(f64::from(number) / rate)
}

/// Returns the time to sleep until `next`. The reactor counts whole milliseconds: the last one is
/// spent polling, to be on time.
pub(crate) fn time_until(next: Instant) -> Duration {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let left = next.saturating_duration_since(Instant::now());
    left.saturating_sub(MILLISECOND)
}
