//! Nodes join and leave while others watch. Measures the time until each change reaches each
//! watcher.
//!
//! A round begins with single changes, one after the other, to measure each alone. Then joins
//! follow a schedule, independent of the state of earlier ones.

use std::time::{Duration, Instant};

use super::args::{ChurnArgs, HttpArgs, LoadArgs, Role, SlowArgs, name_of};
use super::bare::Task;
use super::embedded::Probe;
use super::frames::{Names, Node};
use super::pool::Pool;
use super::record::Merge::{Least, Mean, Median};
use super::record::Record;
use super::record::Unit::{Bytes, Count, Seconds};
use super::report::Report;
use super::run::{Run, Scenario, Subject, due_at, pause_after, time_until};
use super::server::RESIDENT;
use crate::cli::failure::Failure;
use crate::reactor::{Close, ConnId};

/// Number of connections for joiners that have not left yet.
const SPARE: usize = 256;
const SINGLES: usize = 8;
/// Minimum stay of a joined node. It also stays until the join has reached all watchers.
const MIN_STAY: Duration = Duration::from_millis(100);
/// Constant whose multiples have evenly distributed fractions.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

pub(crate) fn run(args: &ChurnArgs) -> Result<Report, Failure> {
    run_with(&args.load, Some(&args.http), None, args.embedded)
}

pub(crate) fn run_slow(args: &SlowArgs) -> Result<Report, Failure> {
    run_with(&args.load, None, Some(args.stuck), false)
}

fn run_with(
    args: &LoadArgs,
    http: Option<&HttpArgs>,
    stuck: Option<usize>,
    is_embedded: bool,
) -> Result<Report, Failure> {
    let all = args.nodes + stuck.unwrap_or(0);
    let run = Run::start(Role::Distributor, &args.server, http, all, SPARE)?;
    let all = run.capacity.connections;
    let is_slow = stuck.is_some();
    let stuck = stuck.unwrap_or(0).min(all - 1);
    let churn = Churn {
        args,
        is_slow,
        is_embedded,
        watchers: all - stuck,
        stuck,
    };
    let mut settings = vec![("watchers", churn.watchers.to_string())];
    settings.extend(is_slow.then(|| ("stuck", stuck.to_string())));
    settings.extend([
        ("watch", name_of(args.watch)),
        ("joins per second", args.rate.to_string()),
        ("for", humantime::format_duration(args.duration).to_string()),
        ("rounds", args.rounds.to_string()),
    ]);
    settings.extend(is_embedded.then(|| ("embedded", "a node and an idle loop".to_owned())));
    let scenario = Scenario {
        name: if is_slow { "slow" } else { "churn" },
        settings,
        rounds: args.rounds,
        bare: "bare send loop",
        relieved: is_slow.then_some("none stuck"),
        time_line: ("from a join to the last watcher", Seconds),
    };
    run.drive(scenario, |run, record| churn.round(run, record))
}

#[derive(Clone, Copy)]
struct Churn<'a> {
    args: &'a LoadArgs,
    is_slow: bool,
    /// A node and a loop that does nothing turn meanwhile, each in a thread of its own.
    is_embedded: bool,
    /// Members that watch and read.
    watchers: usize,
    /// Members that watch and do not read.
    stuck: usize,
}

impl Churn<'_> {
    fn round(self, run: &mut Run, record: &mut Record) -> Result<(), Failure> {
        let args = self.args;
        let pool = &mut Pool::new(run, Some(args.watch), args.unlisted);
        let is_relieved = run.subject == Subject::Relieved;
        let stuck = if is_relieved { 0 } else { self.stuck };
        let start = Instant::now();
        self.connect(pool, run, self.watchers + stuck)?;
        let connecting = start.elapsed();
        pool.stuck = stuck;
        pool.stuck_connections()
            .for_each(|conn| run.net().pause(conn));
        let mut singles: Vec<[Option<Duration>; 3]> = Vec::new();
        for _ in 0..SINGLES {
            let last = singles.last().and_then(|[to_last, ..]| *to_last);
            run.pause(pause_after(last.unwrap_or_default()), pool)?;
            pool.heartbeats_paused = true;
            singles.push(single_change(pool, run)?);
            pool.heartbeats_paused = false;
        }
        pool.joins.clear_times();
        let is_probed = self.is_embedded && run.subject == Subject::Server;
        let probe = is_probed.then(|| Probe::start(run, pool)).transpose()?;
        let (updates, bytes) = (pool.received.updates, pool.bytes());
        quiet_cpu(pool, run)?;
        let start = Instant::now();
        let ended = self.join_and_leave(pool, run);
        let time = start.elapsed();
        if let Some(probe) = probe {
            probe.report(record)?;
        }
        let is_complete = ended.is_ok();
        if !is_complete && !run.is_stopped() {
            return ended;
        }
        if is_complete {
            // The last leave takes as long to reach the watchers as any other change.
            let slowest = pool.joins.to_last.last().map(|(_, time)| *time);
            run.pause(pause_after(slowest.unwrap_or_default()), pool)?;
        }
        let cpu = quiet_cpu(pool, run)?.filter(|cpu| !cpu.is_zero());
        let joins = (pool.joins.len() - SINGLES) as f64;
        if joins == 0.0 {
            return ended;
        }

        record.times("join to each watcher", &pool.joins.to_each);
        let to_last = pool.joins.to_last.iter().map(|(_, time)| *time);
        record.times("join to the last watcher", &to_last.collect());
        for [alone, join_cpu, leave_cpu] in singles {
            record.time("one join alone to the last watcher, least", Least, alone);
            record.time("one join alone to the last watcher, median", Median, alone);
            record.cpu("server CPU for one join alone", Least, join_cpu);
            record.cpu("server CPU for one leave alone", Least, leave_cpu);
        }
        // Each join is followed by a leave.
        let changes = 2.0 * joins;
        let to_each = changes * self.watchers as f64;
        let cpu = cpu.map(|cpu| cpu.div_f64(changes));
        record.cpu("server CPU for a change under churn", Mean, cpu);
        let updates = (pool.received.updates - updates) as f64 / to_each;
        record.traffic("updates to a watcher for a change", Count, Some(updates));
        let bytes = (pool.bytes() - bytes) as f64 / to_each;
        record.traffic("bytes to a watcher for a change", Bytes, Some(bytes));
        let complete = pool.joins.to_last.len();
        record.count("joins that reached all watchers", complete);
        let rate = joins / time.as_secs_f64();
        record.rate("joins per second", Mean, rate);
        let points = pool.joins.to_last.iter().map(|(due, time)| {
            let at = due.saturating_duration_since(start);
            (at.as_secs_f64(), time.as_secs_f64())
        });
        record.extend_time_line(&points.collect::<Vec<_>>(), time);

        let memory = run.memory(RESIDENT);
        if self.is_slow {
            if is_complete {
                // Each then detects whether it still has a connection.
                pool.stuck_connections()
                    .for_each(|conn| run.net().resume(conn));
                run.pause(pause_after(connecting), pool)?;
            }
            let cut = stuck - pool.stuck_connections().count();
            record.count("stuck watchers cut, all rounds", cut);
        }
        record.memory("server memory, resident", memory);
        ended?;
        run.close_all()?;
        run.pause(pause_after(Duration::ZERO), pool)?;
        if pool.received.gaps > 0 {
            record.note(format!(
                "{} deltas did not follow from the revision of their watcher: the server lost some",
                pool.received.gaps
            ));
        }
        if record.bare_task.is_none() {
            record.bare_task = self.task_after(pool, &run.names);
        }
        Ok(())
    }

    /// Connects all members. Returns when each has received all others, and one has a complete
    /// list.
    fn connect(self, pool: &mut Pool, run: &mut Run, all: usize) -> Result<(), Failure> {
        let listed = if self.args.unlisted { 0 } else { all };
        let has_list = |pool: &Pool| {
            let list = pool.received.last_list.as_ref();
            usize::from(list.is_some_and(|list| list.members == listed))
        };
        pool.set_goal(listed);
        pool.joins.watchers = self.watchers;
        pool.add_members(run.net(), all);
        pool.wait_for(run, "nodes watch", all, |pool| pool.times_to_goal.len())?;
        if has_list(pool) == 0 {
            // A member that watches deltas may have received an older list last.
            pool.request_list(run.net());
        }
        pool.wait_for(run, "nodes received the complete list", 1, has_list)
    }

    /// Joins nodes when they are due, independent of the state of earlier ones.
    fn join_and_leave(self, pool: &mut Pool, run: &mut Run) -> Result<(), Failure> {
        let rate = self.args.rate;
        let start = Instant::now();
        let end = start + self.args.duration / self.args.rounds;
        let mut begun = 0;
        let mut present: Vec<(usize, ConnId, Instant)> = Vec::new();
        loop {
            let now = Instant::now();
            let mut due = due_at(start, begun, rate);
            while due <= now && due < end {
                let conn = pool.connect_joiner(run.net());
                let number = pool.join(run.net(), conn, due);
                present.push((number, conn, due + stay(begun, rate)));
                begun += 1;
                due = due_at(start, begun, rate);
            }
            present.retain(|(number, conn, leaves_at)| {
                let leaves = *leaves_at <= now && pool.joins.is_complete(*number);
                if leaves {
                    run.net().close(*conn, Close::Now);
                }
                !leaves
            });
            if due >= end && present.is_empty() {
                return Ok(());
            }
            if now >= end + run.timeout || pool.has_failed() {
                let complete = pool.joins.to_last.len();
                let what = "joins reached all watchers";
                return Err(pool.failure(run, what, complete, begun as usize));
            }
            let leaves = present.iter().map(|(.., at)| *at).filter(|at| *at > now);
            let next = leaves.chain((due < end).then_some(due)).min();
            run.turn(next.map_or(MIN_STAY, time_until), pool)?;
        }
    }

    /// Returns a task from the received frames, or `None` if they do not suffice.
    fn task_after(self, pool: &Pool, names: &Names) -> Option<Task> {
        let (joined, number) = pool.joins.joined_frame.as_ref()?;
        let list = pool.received.last_list.as_ref()?;
        let left = pool.joins.left_frame.as_ref().unwrap_or(list);
        let reply = pool.received.reply.as_ref().map(|reply| reply.text());
        Some(Task {
            watchers: self.watchers + self.stuck,
            reply: reply.unwrap_or_default() + &list.text(),
            joined: joined.text(),
            joiner: names.of(Node::Joiner(*number)),
            left: left.text(),
            ..Task::default()
        })
    }
}

/// Returns the stay of a joiner. Leaves are spread evenly over the time between joins, since a
/// leave just before a join delays the join.
fn stay(number: u32, rate: f64) -> Duration {
    let share = (f64::from(number) * GOLDEN_RATIO).fract();
    MIN_STAY + Duration::from_secs_f64(share / rate)
}

/// Returns the CPU time since the last call, without that of heartbeats.
fn quiet_cpu(pool: &mut Pool, run: &mut Run) -> Result<Option<Duration>, Failure> {
    pool.heartbeats_paused = true;
    let cpu = run.cpu_used(pool);
    pool.heartbeats_paused = false;
    cpu
}

/// Joins and leaves with one node while nothing else happens. Returns the time to the last watcher,
/// and the CPU time of the server for the join and for the leave.
fn single_change(pool: &mut Pool, run: &mut Run) -> Result<[Option<Duration>; 3], Failure> {
    // The CPU time of a server that is busy otherwise may not be counted yet.
    let counted = |cpu: Option<Duration>| cpu.filter(|cpu| !cpu.is_zero());
    let conn = pool.connect_joiner(run.net());
    // The node connects, and receives its first list.
    run.cpu_used(pool)?;
    let number = pool.join(run.net(), conn, Instant::now());
    let what = "joins reached all watchers";
    pool.wait_for(run, what, 1, |pool| {
        usize::from(pool.joins.is_complete(number))
    })?;
    let join_cpu = counted(run.cpu_used(pool)?);
    let updates = pool.received.updates + pool.joins.watchers as u64;
    run.net().close(conn, Close::Now);
    let what = "leaves reached all watchers";
    pool.wait_for(run, what, 1, |pool| {
        usize::from(pool.received.updates >= updates)
    })?;
    let leave_cpu = counted(run.cpu_used(pool)?);
    let to_last = pool.joins.to_last.last().map(|(_, time)| *time);
    Ok([to_last, join_cpu, leave_cpu])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_have_all_distances_from_joins() {
        let mut counts = [0; 10];
        for number in 0..100 {
            let beyond = stay(number, 10.0) - MIN_STAY;
            counts[usize::try_from(beyond.as_millis()).unwrap() / 10] += 1;
        }
        assert!(
            counts.iter().all(|count| (8..=12).contains(count)),
            "{counts:?}"
        );
    }
}
