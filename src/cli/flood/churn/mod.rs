//! Nodes join and leave while others watch: how long it takes until each watcher hears of it.

mod round;
mod schedule;

use std::time::Duration;

use super::args::{ChurnArgs, LoadArgs, SlowArgs, name_of};
use super::bare::Task;
use super::child::Role;
use super::driver::{Driver, Round, Scenario, Subject};
use super::format::Unit;
use super::frames::{FRAME_END, Names, Node};
use super::pool::Pool;
use super::registration::{self, Profile};
use super::report::{Columns, Point, Report, Times};
use super::stop::{Halt, StopSignal};
use super::target::Target;
use schedule::Schedule;

/// Connections for joiners that have not left yet.
const SPARE: usize = 256;

pub(crate) fn run(args: &ChurnArgs, stop: StopSignal) -> Result<Report, Halt> {
    let load = &args.load;
    let target = Target::reach_with_http(&load.server, &args.http, load.nodes, SPARE)?;
    run_against(target, load, None, stop)
}

/// Runs churn while some watchers never read.
pub(crate) fn run_slow(args: &SlowArgs, stop: StopSignal) -> Result<Report, Halt> {
    let load = &args.load;
    let all = load.nodes + args.stuck;
    let target = Target::reach(Role::Distributor, &load.server, all, SPARE)?;
    run_against(target, load, Some(args.stuck), stop)
}

fn run_against(
    target: Target,
    load: &LoadArgs,
    stuck: Option<usize>,
    stop: StopSignal,
) -> Result<Report, Halt> {
    let connections = target.plan.connections;
    let mut driver = Driver::new(target, connections + SPARE, load.server.timeout, stop)?;
    let is_slow = stuck.is_some();
    let stuck = stuck.unwrap_or(0).min(connections - 1);
    let churn = Churn {
        load,
        is_slow,
        watchers: connections - stuck,
        stuck,
        schedule: Schedule {
            joins_per_second: load.rate,
            duration: load.duration / load.rounds,
        },
        names: driver.names(),
        profile: Profile {
            registration: load.watch.registration(),
            unlisted: load.unlisted,
        },
        sent: None,
    };
    driver.run(churn, load.rounds)
}

/// What the server sent, and the baseline sends after it.
struct Sent {
    /// The reply to a watcher's registration, and its first list.
    welcome: Vec<u8>,
    joined: Vec<u8>,
    left: Vec<u8>,
    /// Where in `joined` the joiner's number is.
    number_at: usize,
}

struct Churn<'a> {
    load: &'a LoadArgs,
    is_slow: bool,
    watchers: usize,
    /// Watchers beside them that do not read.
    stuck: usize,
    schedule: Schedule,
    names: Names,
    profile: Profile,
    sent: Option<Sent>,
}

/// What all rounds against one server came to.
#[derive(Default)]
struct Outcome {
    to_each: Times,
    to_last: Times,
    /// The least CPU time that one join and one leave took.
    join_cpu: Option<Duration>,
    leave_cpu: Option<Duration>,
    /// Times of single joins to the last watcher.
    alone: Vec<Duration>,
    /// Of the whole schedule.
    cpu: Duration,
    joins: usize,
    heard_by_all: usize,
    bytes: u64,
    updates: u64,
    time: Duration,
    resident_bytes: Option<u64>,
    /// Watchers that did not read and had no connection in the end.
    cut: usize,
    gaps: u64,
    /// Seconds into the schedule, and seconds to the last watcher.
    time_line: Vec<Point>,
}

impl Scenario for Churn<'_> {
    type Outcome = Outcome;

    fn name(&self) -> &'static str {
        if self.is_slow { "slow" } else { "churn" }
    }

    fn bare_name(&self) -> &'static str {
        "bare send loop"
    }

    fn relieved_name(&self) -> Option<&'static str> {
        self.is_slow.then_some("none stuck")
    }

    fn run(&mut self, round: &mut Round<'_>, outcome: &mut Outcome) -> Result<(), Halt> {
        let pool = Pool::new(round, &self.names, self.profile);
        let stuck = if round.subject == Subject::Relieved {
            0
        } else {
            self.stuck
        };
        round::run(self, pool, stuck, round, outcome)
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        let Some(sent) = &self.sent else {
            let what =
                "no change came alone, so the baseline has nothing to send; try a lower --rate";
            return Err(Halt::failed(what));
        };
        let text = |frame: &[u8]| String::from_utf8_lossy(frame).into_owned();
        Ok(Task::FanOut {
            count: self.watchers + self.stuck,
            reply: text(&sent.welcome),
            joined: text(&sent.joined),
            left: text(&sent.left),
            from: registration::number_at(&self.names).unwrap_or_default(),
            to: sent.number_at,
            width: Names::DIGITS,
        })
    }

    fn has_figures(outcome: &Outcome) -> bool {
        outcome.joins > 0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let duration = humantime::format_duration(self.load.duration);
        let mut settings = vec![("watchers", self.watchers.to_string())];
        settings.extend(self.is_slow.then(|| ("stuck", self.stuck.to_string())));
        settings.extend([
            ("watch", name_of(self.load.watch)),
            ("joins a second", self.load.rate.to_string()),
            ("for", duration.to_string()),
            ("rounds", self.load.rounds.to_string()),
        ]);
        settings
    }

    fn report(&self, columns: &mut Columns<'_, Outcome>) {
        columns.latencies("join to each watcher", |outcome| &outcome.to_each);
        columns.latencies("join to the last watcher", |outcome| &outcome.to_last);
        let alone = "one join alone to the last watcher";
        columns.time(&format!("{alone}, least"), |outcome| {
            outcome.alone.iter().min().copied()
        });
        columns.time(&format!("{alone}, median"), |outcome| {
            let mut times = outcome.alone.clone();
            times.sort_unstable();
            times.get(times.len() / 2).copied()
        });
        columns.time("server CPU for one join alone", |outcome| outcome.join_cpu);
        columns.time("server CPU for one leave alone", |outcome| {
            outcome.leave_cpu
        });
        // Each join is followed by a leave.
        let changes = |outcome: &Outcome| 2.0 * outcome.joins as f64;
        columns.figure(
            "server CPU for a change under churn",
            Unit::Seconds,
            |outcome| {
                let cpu = Some(outcome.cpu.as_secs_f64()).filter(|cpu| *cpu > 0.0);
                Some(cpu? / changes(outcome))
            },
        );
        let watchers = self.watchers as f64;
        columns.figure(
            "updates to a watcher for a change",
            Unit::Count,
            |outcome| Some(outcome.updates as f64 / watchers / changes(outcome)),
        );
        columns.figure("bytes to a watcher for a change", Unit::Bytes, |outcome| {
            Some(outcome.bytes as f64 / watchers / changes(outcome))
        });
        columns.count("joins all watchers were told of", |outcome| {
            outcome.heard_by_all as u64
        });
        columns.figure("joins a second", Unit::PerSecond, |outcome| {
            Some(outcome.joins as f64 / outcome.time.as_secs_f64())
        });
        if self.is_slow {
            columns.count("stuck watchers cut, all rounds", |outcome| {
                outcome.cut as u64
            });
        }
        columns.figure("server memory, resident", Unit::Bytes, |outcome| {
            outcome.resident_bytes.map(|bytes| bytes as f64)
        });
        if columns.measured.gaps > 0 {
            columns.report.notes.push(format!(
                "{} changes did not follow from what their watcher had: the server lost some",
                columns.measured.gaps
            ));
        }
        let what = "from a join to the last watcher";
        columns.time_line(what, Unit::Seconds, |outcome| outcome.time_line.clone());
    }
}

impl Sent {
    /// Takes from a pool what it received. Returns `None` if that is not enough.
    fn new(pool: &Pool, names: &Names) -> Option<Sent> {
        let (joined, number) = pool.joins.joined_frame.as_ref()?;
        let name = names.of(Node::Joiner(*number));
        // The name is unique; the urls repeat it.
        let head = format!("\"name\":\"{name}");
        let at = memchr::memmem::find(&joined.bytes, head.as_bytes())?;
        let list = pool.last_list.as_ref()?;
        let left = pool.joins.left_frame.as_ref().unwrap_or(list);
        let reply = pool.reply.as_ref().map(|reply| [reply, FRAME_END].concat());
        Some(Sent {
            welcome: [&*reply.unwrap_or_default(), &*list.bytes, FRAME_END].concat(),
            joined: [&joined.bytes, FRAME_END].concat(),
            left: [&left.bytes, FRAME_END].concat(),
            number_at: at + head.len() - Names::DIGITS,
        })
    }
}
