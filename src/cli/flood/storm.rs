//! All nodes connect and register at once; when each holds all, all but one leave at once.

use std::time::Duration;

use super::args::StormArgs;
use super::bare::Task;
use super::child::Role;
use super::driver::{self, Description, Scenario};
use super::format::{Unit, name_of};
use super::nodes::{Profile, Watch};
use super::pool::Pool;
use super::record::{Point, Record};
use super::report::Report;
use super::round::{Round, pause_after};
use super::stop::Halt;
use super::target::Target;
use super::usage::used;

pub(crate) fn run(args: &StormArgs) -> Result<Report, Halt> {
    if args.nodes < 2 {
        return Err(Halt::usage(
            "--nodes: 1 is too few; a storm needs at least 2",
        ));
    }
    let target = Target::reach(
        Role::Distributor,
        &args.server,
        Some(&args.http),
        args.nodes,
        0,
    )?;
    let nodes = target.plan.connections;
    if nodes < 2 {
        return Err(Halt::failed("a storm needs at least 2 connections"));
    }
    let storm = Storm {
        args,
        nodes,
        lists: None,
    };
    driver::run(storm, target, nodes, args.rounds)
}

struct Storm<'a> {
    args: &'a StormArgs,
    nodes: usize,
    /// What the baseline sends: the lists of all and of the last one.
    lists: Option<[String; 2]>,
}

impl Scenario for Storm<'_> {
    fn describe(&self) -> Description {
        Description {
            name: "storm",
            bare: "bare acceptor",
            relieved: None,
            time_line: ("nodes that hold all, in the fastest round", Unit::Count),
            settings: vec![
                ("nodes", self.nodes.to_string()),
                ("watch", name_of(self.args.watch)),
                ("rounds", self.args.rounds.to_string()),
            ],
        }
    }

    fn run(&mut self, round: &mut Round, record: &mut Record) -> Result<(), Halt> {
        let profile = Profile {
            watch: Some(self.args.watch),
            unlisted: false,
        };
        let pool = &mut Pool::new(round, profile);
        let nodes = self.nodes;
        let before = round.cpu(pool)?;
        pool.set_goal(nodes);
        for _ in 0..nodes {
            pool.add_member(round.net());
        }
        pool.wait_for(round, "hold all", nodes, |pool, _| pool.reached())?;
        let joining_cpu = used(before, round.cpu(pool)?);
        let resident = round.memory().map(|memory| memory.resident_bytes);
        let mut times = pool.times_to_goal.clone();
        times.sort_unstable();
        let converged = times.last().copied().unwrap_or_default();
        let (updates, bytes) = (pool.seen.updates as f64, pool.bytes() as f64);
        let most = pool.members.iter().map(|member| member.updates as f64);
        let most = most.fold(0.0, f64::max);
        let list_of_all = self.whole_list(pool, round)?;

        round.pass(pause_after(converged), pool)?;
        let before = round.cpu(pool)?;
        pool.set_goal(1);
        for number in 1..nodes {
            pool.close_member(round.net(), number);
        }
        let what = "heard that all others left";
        pool.wait_for(round, what, 1, |pool, _| pool.reached())?;
        let leaving_cpu = used(before, round.cpu(pool)?);
        let left = pool.times_to_goal.first().copied();
        let list_of_one = self.whole_list(pool, round)?;
        self.lists.get_or_insert([list_of_all, list_of_one]);
        pool.close_all(round)?;
        round.pass(pause_after(left.unwrap_or_default()), pool)?;

        let is_fastest = record.least("until all hold all", Some(converged));
        if is_fastest {
            record.time_line = running_count(&times);
        }
        record.least("server CPU while they join", joining_cpu);
        record.least("until the last one knows that all others left", left);
        record.least("server CPU while they leave", leaving_cpu);
        record.mean("lists a node", Unit::Count, updates / nodes as f64);
        record.mean("lists of the node with most", Unit::Count, most);
        record.mean("bytes to a node", Unit::Bytes, bytes / nodes as f64);
        record.mean("bytes to all", Unit::Bytes, bytes);
        let name = "server memory while all are there, resident";
        record.most(name, Unit::Bytes, resident);
        record.times("until a node holds all", &times.into_iter().collect());
        Ok(())
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        let [list, goodbye] = self.lists.clone().unwrap_or_default();
        Ok(Task::Acceptor {
            count: self.nodes,
            list,
            goodbye,
        })
    }
}

impl Storm<'_> {
    /// The list as it is now, for the baseline. Members that watch deltas have none, and ask.
    fn whole_list(&self, pool: &mut Pool, round: &mut Round) -> Result<String, Halt> {
        if self.lists.is_none() && self.args.watch == Watch::Delta {
            let before = pool.seen.updates;
            pool.ask_for_list(round.net());
            let what = "was sent the list it asked for";
            let is_there = |pool: &mut Pool| usize::from(pool.seen.updates > before);
            pool.wait_for(round, what, 1, |pool, _| is_there(pool))?;
        }
        Ok(pool.last_list())
    }
}

/// How many of the sorted times are over when, in about a hundred points.
fn running_count(times: &[Duration]) -> Vec<Point> {
    let step = times.len().div_ceil(100).max(1);
    let counts = (1..=times.len()).filter(|count| count % step == 0 || *count == times.len());
    let points = counts.filter_map(|count| {
        let time = times.get(count - 1)?;
        Some((time.as_secs_f64(), count as f64))
    });
    [(0.0, 0.0)].into_iter().chain(points).collect()
}
