//! Connections that do nothing: what each costs the server.

use std::time::{Duration, Instant};

use super::args::IdleArgs;
use super::bare::Task;
use super::child::Role;
use super::driver::{Driver, Round, Scenario};
use super::event_loop::pause_after;
use super::format::Unit;
use super::frames::Names;
use super::pool::Pool;
use super::registration::{Profile, Registration};
use super::report::{Columns, Point, Report};
use super::stop::{Halt, StopSignal};
use super::target::Target;
use super::usage::{Memory, used};

/// How often memory is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &IdleArgs, stop: StopSignal) -> Result<Report, Halt> {
    args.check()?;
    let target = Target::reach(Role::Distributor, &args.server, args.connections, 0)?;
    let connections = target.plan.connections;
    let mut driver = Driver::new(target, connections, args.server.timeout, stop)?;
    let names = driver.names();
    let idle = Idle {
        args,
        connections,
        names,
        greeting: Vec::new(),
    };
    driver.run(idle, 1)
}

struct Idle<'a> {
    args: &'a IdleArgs,
    connections: usize,
    names: Names,
    /// What the server sends to each that connects.
    greeting: Vec<u8>,
}

#[derive(Default)]
struct Outcome {
    connecting: Duration,
    connecting_cpu: Option<Duration>,
    cpu: Option<Duration>,
    before: Option<Memory>,
    during: Option<Memory>,
    after: Option<Memory>,
    resident: Vec<Point>,
    lost: usize,
}

impl Scenario for Idle<'_> {
    type Outcome = Outcome;

    fn name(&self) -> &'static str {
        "idle"
    }

    fn bare_name(&self) -> &'static str {
        "bare acceptor"
    }

    fn run(&mut self, round: &mut Round<'_>, outcome: &mut Outcome) -> Result<(), Halt> {
        let registration = match self.args.registered {
            true => Registration::Session("none"),
            false => Registration::Silent,
        };
        let profile = Profile {
            registration,
            unlisted: self.args.unlisted,
        };
        let pool = &mut Pool::new(round, &self.names, profile);
        outcome.before = round.memory();
        let cpu = round.cpu(pool)?;
        let start = Instant::now();
        let all = self.connections;
        let are_confirmed = self.args.registered && !round.is_bare();
        pool.wait_for(round.events, "were sent a list", all, |pool, net| {
            pool.add_members_up_to(all, net);
            if are_confirmed {
                pool.confirmed
            } else {
                pool.greeted
            }
        })?;
        outcome.connecting = start.elapsed();
        outcome.connecting_cpu = used(cpu, round.cpu(pool)?);
        round.events.pass(pause_after(outcome.connecting), pool)?;

        let cpu = round.cpu(pool)?;
        let stopped = self.watch(pool, round, outcome);
        outcome.during = round.memory();
        outcome.lost = pool.lost;
        outcome.cpu = used(cpu, round.cpu(pool)?);
        self.greeting = pool.last_list_frame();
        stopped?;
        pool.close_all(round.events)?;
        round.events.pass(pause_after(outcome.connecting), pool)?;
        round.cpu(pool)?;
        outcome.after = round.memory();
        Ok(())
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        Ok(Task::Hold {
            greeting: String::from_utf8_lossy(&self.greeting).into_owned(),
        })
    }

    fn has_figures(outcome: &Outcome) -> bool {
        !outcome.connecting.is_zero()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let duration = humantime::format_duration(self.args.duration);
        vec![
            ("connections", self.connections.to_string()),
            ("registered", self.args.registered.to_string()),
            ("for", duration.to_string()),
        ]
    }

    fn report(&self, columns: &mut Columns<'_, Outcome>) {
        columns.time("until all are connected", |outcome| {
            Some(outcome.connecting)
        });
        columns.time("server CPU for it", |outcome| outcome.connecting_cpu);
        columns.time("server CPU while they are idle", |outcome| outcome.cpu);
        columns.count("connections lost", |outcome| outcome.lost as u64);
        if columns.measured.during.is_none() {
            let note = "the server's memory is unknown without --spawn or --pid";
            columns.report.notes.push(note.to_owned());
            return;
        }
        let each = |before: u64, during: u64| {
            Some(during.saturating_sub(before) as f64 / self.connections as f64)
        };
        let mut bytes = |name: &str, of: &dyn Fn(&Outcome) -> Option<f64>| {
            columns.figure(&format!("server memory {name}"), Unit::Bytes, of);
        };
        bytes("a connection, its own", &|outcome| {
            each(
                outcome.before?.anonymous_bytes,
                outcome.during?.anonymous_bytes,
            )
        });
        bytes("a connection, resident", &|outcome| {
            each(
                outcome.before?.resident_bytes,
                outcome.during?.resident_bytes,
            )
        });
        let resident = |memory: Option<Memory>| Some(memory?.resident_bytes as f64);
        bytes("before, resident", &|outcome| resident(outcome.before));
        bytes("while they are idle, resident", &|outcome| {
            resident(outcome.during)
        });
        bytes("when they have gone, resident", &|outcome| {
            resident(outcome.after)
        });
        let what = "server memory while connections are idle";
        columns.time_line(what, Unit::Bytes, |outcome| outcome.resident.clone());
    }
}

impl Idle<'_> {
    /// Samples the server's memory until the time is over.
    fn watch(
        &self,
        pool: &mut Pool,
        round: &mut Round<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Halt> {
        let start = Instant::now();
        while start.elapsed() < self.args.duration {
            let left = self.args.duration.saturating_sub(start.elapsed());
            round.events.pass(SAMPLE_INTERVAL.min(left), pool)?;
            let at = start.elapsed().as_secs_f64();
            let bytes = round.memory().map(|memory| memory.resident_bytes as f64);
            outcome.resident.extend(bytes.map(|bytes| (at, bytes)));
        }
        Ok(())
    }
}
