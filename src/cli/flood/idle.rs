//! Connections that do nothing: what each costs the server.

use std::time::{Duration, Instant};

use super::args::IdleArgs;
use super::bare::Task;
use super::child::Role;
use super::driver::{self, Description, Scenario};
use super::format::Unit;
use super::nodes::{Profile, Watch};
use super::pool::Pool;
use super::record::Record;
use super::report::Report;
use super::round::{Round, Subject, pause_after};
use super::stop::Halt;
use super::target::Target;
use super::usage::{Memory, used};

const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &IdleArgs) -> Result<Report, Halt> {
    args.check()?;
    let target = Target::reach(Role::Distributor, &args.server, None, args.connections, 0)?;
    let connections = target.plan.connections;
    let idle = Idle {
        args,
        connections,
        greeting: String::new(),
        knows_memory: target.process.is_some(),
    };
    driver::run(idle, target, connections, 1)
}

struct Idle<'a> {
    args: &'a IdleArgs,
    connections: usize,
    /// What the server sends to each that connects.
    greeting: String,
    knows_memory: bool,
}

impl Scenario for Idle<'_> {
    fn describe(&self) -> Description {
        let duration = humantime::format_duration(self.args.duration);
        Description {
            name: "idle",
            bare: "bare acceptor",
            relieved: None,
            time_line: ("server memory while connections are idle", Unit::Bytes),
            settings: vec![
                ("connections", self.connections.to_string()),
                ("registered", self.args.registered.to_string()),
                ("for", duration.to_string()),
            ],
        }
    }

    fn run(&mut self, round: &mut Round, record: &mut Record) -> Result<(), Halt> {
        let profile = Profile {
            watch: self.args.registered.then_some(Watch::Nothing),
            unlisted: self.args.unlisted,
        };
        let pool = &mut Pool::new(round, profile);
        let before = round.memory();
        let cpu = round.cpu(pool)?;
        let start = Instant::now();
        let all = self.connections;
        let are_confirmed = self.args.registered && round.subject != Subject::Bare;
        pool.wait_for(round, "were sent a list", all, |pool, net| {
            pool.add_members_up_to(all, net);
            if are_confirmed {
                pool.seen.confirmed
            } else {
                pool.seen.greeted
            }
        })?;
        let connecting = start.elapsed();
        record.least("until all are connected", Some(connecting));
        record.least("server CPU for it", used(cpu, round.cpu(pool)?));
        round.pass(pause_after(connecting), pool)?;

        let cpu = round.cpu(pool)?;
        let stopped = self.sample_memory(pool, round, record);
        let during = round.memory();
        let cpu = used(cpu, round.cpu(pool)?);
        record.least("server CPU while they are idle", cpu);
        record.count("connections lost", pool.seen.lost as u64);
        self.greeting = pool.last_list();
        let mut bytes = |name, value: Option<f64>| {
            let value = value.filter(|_| self.knows_memory);
            record.most(name, Unit::Bytes, value);
        };
        let resident = |memory: Option<Memory>| Some(memory?.resident_bytes);
        let anonymous = |memory: Option<Memory>| Some(memory?.anonymous_bytes);
        let each = |of: fn(Option<Memory>) -> Option<f64>| {
            Some((of(during)? - of(before)?).max(0.0) / all as f64)
        };
        bytes("server memory a connection, its own", each(anonymous));
        bytes("server memory a connection, resident", each(resident));
        bytes("server memory before, resident", resident(before));
        bytes(
            "server memory while they are idle, resident",
            resident(during),
        );
        stopped?;
        pool.close_all(round)?;
        round.pass(pause_after(connecting), pool)?;
        round.cpu(pool)?;
        bytes(
            "server memory when they have gone, resident",
            resident(round.memory()),
        );
        Ok(())
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        let greeting = self.greeting.clone();
        Ok(Task::Hold { greeting })
    }

    fn notes(&self) -> Vec<String> {
        let note = "the server's memory is unknown without --spawn or --pid".to_owned();
        Vec::from_iter((!self.knows_memory).then_some(note))
    }
}

impl Idle<'_> {
    fn sample_memory(
        &self,
        pool: &mut Pool,
        round: &mut Round,
        record: &mut Record,
    ) -> Result<(), Halt> {
        let start = Instant::now();
        while start.elapsed() < self.args.duration {
            let left = self.args.duration.saturating_sub(start.elapsed());
            round.pass(SAMPLE_INTERVAL.min(left), pool)?;
            let at = start.elapsed().as_secs_f64();
            let bytes = round.memory().map(|memory| memory.resident_bytes);
            record.time_line.extend(bytes.map(|bytes| (at, bytes)));
        }
        Ok(())
    }
}
