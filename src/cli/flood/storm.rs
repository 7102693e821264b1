//! All nodes connect and register at once; when each holds all, all but one leave at once.

use std::time::Duration;

use super::args::{StormArgs, Watch, name_of};
use super::bare::Task;
use super::driver::{Driver, Round, Scenario, Subject};
use super::event_loop::pause_after;
use super::format::Unit;
use super::frames::Names;
use super::pool::Pool;
use super::registration::Profile;
use super::report::{Columns, Point, Report, Times};
use super::stop::{Halt, StopSignal};
use super::target::Target;
use super::usage::used;

pub(crate) fn run(args: &StormArgs, stop: StopSignal) -> Result<Report, Halt> {
    if args.nodes < 2 {
        return Err(Halt::usage(
            "--nodes: 1 is too few; a storm needs at least 2",
        ));
    }
    let target = Target::reach_with_http(&args.server, &args.http, args.nodes, 0)?;
    let nodes = target.plan.connections;
    if nodes < 2 {
        return Err(Halt::failed("a storm needs at least 2 connections"));
    }
    let mut driver = Driver::new(target, nodes, args.server.timeout, stop)?;
    let names = driver.names();
    let storm = Storm {
        args,
        nodes,
        names,
        lists: None,
    };
    driver.run(storm, args.rounds)
}

struct Storm<'a> {
    args: &'a StormArgs,
    nodes: usize,
    names: Names,
    /// What the baseline sends: the lists of all and of the last one.
    lists: Option<[Vec<u8>; 2]>,
}

/// What one round came to.
#[derive(Default)]
struct Measured {
    converged: Duration,
    updates: u64,
    most_updates: u64,
    bytes: u64,
    joining_cpu: Option<Duration>,
    left: Duration,
    leaving_cpu: Option<Duration>,
    resident_bytes: Option<u64>,
    times: Vec<Duration>,
}

#[derive(Default)]
struct Outcome {
    rounds: Vec<Measured>,
    times: Times,
}

impl Scenario for Storm<'_> {
    type Outcome = Outcome;

    fn name(&self) -> &'static str {
        "storm"
    }

    fn bare_name(&self) -> &'static str {
        "bare acceptor"
    }

    fn run(&mut self, round: &mut Round<'_>, outcome: &mut Outcome) -> Result<(), Halt> {
        let profile = Profile {
            registration: self.args.watch.registration(),
            unlisted: false,
        };
        let pool = &mut Pool::new(round, &self.names, profile);
        let nodes = self.nodes;
        let before = round.cpu(pool)?;
        pool.set_goal(nodes);
        for _ in 0..nodes {
            pool.add_member(round.events.net());
        }
        pool.wait_for(round.events, "hold all", nodes, |pool, _| pool.reached())?;
        let joined = round.cpu(pool)?;
        let memory = round.memory();
        // Without its readers, a server keeps the memory that it had for them.
        let memory = memory.filter(|_| round.subject != Subject::Relieved);
        let updates = pool.members.iter().map(|member| member.updates);
        let mut measured = Measured {
            times: pool.times_to_goal().to_vec(),
            converged: pool
                .times_to_goal()
                .iter()
                .max()
                .copied()
                .unwrap_or_default(),
            updates: pool.updates,
            most_updates: updates.max().unwrap_or(0),
            bytes: pool.bytes(),
            joining_cpu: used(before, joined),
            resident_bytes: memory.map(|memory| memory.resident_bytes),
            ..Measured::default()
        };
        let list_of_all = self.whole_list(pool, round)?;

        round.events.pass(pause_after(measured.converged), pool)?;
        let before = round.cpu(pool)?;
        pool.set_goal(1);
        for number in 1..nodes {
            pool.close_member(round.events.net(), number);
        }
        let what = "heard that all others left";
        pool.wait_for(round.events, what, 1, |pool, _| pool.reached())?;
        measured.leaving_cpu = used(before, round.cpu(pool)?);
        measured.left = pool.times_to_goal().first().copied().unwrap_or_default();
        let list_of_one = self.whole_list(pool, round)?;
        self.lists.get_or_insert([list_of_all, list_of_one]);
        pool.close_all(round.events)?;
        round.events.pass(pause_after(measured.left), pool)?;
        measured
            .times
            .iter()
            .for_each(|time| outcome.times.record(*time));
        outcome.rounds.push(measured);
        Ok(())
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        let [list, goodbye] = self.lists.clone().unwrap_or_default();
        Ok(Task::acceptor(self.nodes, &list, &goodbye))
    }

    fn has_figures(outcome: &Outcome) -> bool {
        !outcome.rounds.is_empty()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("nodes", self.nodes.to_string()),
            ("watch", name_of(self.args.watch)),
            ("rounds", self.args.rounds.to_string()),
        ]
    }

    fn report(&self, columns: &mut Columns<'_, Outcome>) {
        let mut least = |name: &str, of: fn(&Measured) -> Option<Duration>| {
            columns.time(name, |outcome| outcome.rounds.iter().filter_map(of).min());
        };
        least("until all hold all", |round| Some(round.converged));
        least("server CPU while they join", |round| round.joining_cpu);
        let left = "until the last one knows that all others left";
        least(left, |round| Some(round.left));
        least("server CPU while they leave", |round| round.leaving_cpu);
        let nodes = self.nodes as f64;
        let mut mean = |name: &str, unit: Unit, of: &dyn Fn(&Measured) -> f64| {
            columns.figure(name, unit, |outcome| {
                let total: f64 = outcome.rounds.iter().map(of).sum();
                Some(total / outcome.rounds.len() as f64)
            });
        };
        let lists_of_all = |round: &Measured| round.updates as f64;
        let bytes_to_all = |round: &Measured| round.bytes as f64;
        mean("lists a node", Unit::Count, &|round| {
            lists_of_all(round) / nodes
        });
        let most = |round: &Measured| round.most_updates as f64;
        mean("lists of the node with most", Unit::Count, &most);
        mean("bytes to a node", Unit::Bytes, &|round| {
            bytes_to_all(round) / nodes
        });
        mean("bytes to all", Unit::Bytes, &bytes_to_all);
        let memory = "server memory while all are there, resident";
        columns.figure(memory, Unit::Bytes, |outcome| {
            let bytes = outcome
                .rounds
                .iter()
                .filter_map(|round| round.resident_bytes);
            bytes.max().map(|bytes| bytes as f64)
        });
        columns.latencies("until a node holds all", |outcome| &outcome.times);
        let what = "nodes that hold all, in the fastest round";
        columns.time_line(what, Unit::Count, |outcome| {
            let rounds = outcome.rounds.iter();
            let fastest = rounds.min_by_key(|round| round.converged);
            fastest.map_or_else(Vec::new, |round| running_count(&round.times))
        });
    }
}

impl Storm<'_> {
    /// The list as it is now, for the baseline. Members that watch deltas have none, and ask.
    fn whole_list(&self, pool: &mut Pool, round: &mut Round<'_>) -> Result<Vec<u8>, Halt> {
        if self.lists.is_some() {
            return Ok(Vec::new());
        }
        if self.args.watch == Watch::Delta {
            let before = pool.updates;
            pool.ask_for_list(round.events.net());
            let what = "was sent the list it asked for";
            let is_there = |pool: &Pool| usize::from(pool.updates > before);
            pool.wait_for(round.events, what, 1, |pool, _| is_there(pool))?;
        }
        Ok(pool.last_list_frame())
    }
}

/// How many times are over when, in about a hundred points.
fn running_count(times: &[Duration]) -> Vec<Point> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let step = times.len().div_ceil(100).max(1);
    let counts = (1..=times.len()).filter(|count| count % step == 0 || *count == times.len());
    let points = counts.filter_map(|count| {
        let time = times.get(count - 1)?;
        Some((time.as_secs_f64(), count as f64))
    });
    [(0.0, 0.0)].into_iter().chain(points).collect()
}
