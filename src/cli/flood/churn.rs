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
use super::services::Services;
use crate::cli::failure::Failure;
use crate::reactor::{Close, ConnId};

/// Number of connections for joiners that have not left yet.
const SPARE: usize = 256;
const SINGLES: usize = 8;
const CPU_FOR_A_CHANGE: &str = "server CPU for a change under churn";
/// Minimum stay of a joined node. It also stays until the join has reached all watchers.
const MIN_STAY: Duration = Duration::from_millis(100);
/// Constant whose multiples have evenly distributed fractions.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

/// Rate and time of the rounds that measure what a change costs the bare loop.
const CALIBRATION_RATE: f64 = 10.0;
const CALIBRATION_TIME: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &ChurnArgs) -> Result<Report, Failure> {
    let services = Services::new(&args.services, args.load.watch, args.load.nodes)?;
    let (run, mut churn) = start(&args.load, Some(&args.http), None)?;
    churn.is_embedded = args.is_embedded;
    if services.is_some() {
        churn.services = Services::new(&args.services, args.load.watch, churn.watchers)?;
    }
    churn.drive(run, args.load_share)
}

pub(crate) fn run_slow(args: &SlowArgs) -> Result<Report, Failure> {
    let (run, churn) = start(&args.load, None, Some(args.stuck))?;
    churn.drive(run, None)
}

fn start<'a>(
    args: &'a LoadArgs,
    http: Option<&HttpArgs>,
    stuck: Option<usize>,
) -> Result<(Run, Churn<'a>), Failure> {
    let all = args.nodes + stuck.unwrap_or(0);
    let run = Run::start(Role::Distributor, &args.server, http, all, SPARE)?;
    let all = run.capacity.connections;
    let is_slow = stuck.is_some();
    let stuck = stuck.unwrap_or(0).min(all - 1);
    let churn = Churn {
        args,
        is_slow,
        is_embedded: false,
        services: None,
        rate: args.rate,
        duration: args.duration / args.rounds,
        watchers: all - stuck,
        stuck,
    };
    Ok((run, churn))
}

#[derive(Clone, Copy)]
struct Churn<'a> {
    args: &'a LoadArgs,
    is_slow: bool,
    /// A node and a loop that does nothing turn meanwhile, each in a thread of its own.
    is_embedded: bool,
    services: Option<Services>,
    /// Joins per second.
    rate: f64,
    /// Time of each round.
    duration: Duration,
    /// Members that watch and read.
    watchers: usize,
    /// Members that watch and do not read.
    stuck: usize,
}

impl Churn<'_> {
    /// Runs all rounds. With a load, they have the rate at which the bare loop is busy for that
    /// share of the time.
    fn drive(mut self, mut run: Run, load: Option<f64>) -> Result<Report, Failure> {
        if let Some(load) = load {
            self.rate = self.calibrate(&mut run, load)?;
        }
        let args = self.args;
        let mut settings = vec![("watchers", self.watchers.to_string())];
        settings.extend(self.is_slow.then(|| ("stuck", self.stuck.to_string())));
        settings.extend(self.services.into_iter().flat_map(Services::settings));
        settings.push(("watch", name_of(args.watch)));
        settings.extend(load.map(|load| ("load of the bare loop", load.to_string())));
        settings.extend([
            ("joins per second", self.rate.to_string()),
            ("for", humantime::format_duration(args.duration).to_string()),
            ("rounds", args.rounds.to_string()),
        ]);
        let embedded = ("embedded", "a node and an idle loop".to_owned());
        settings.extend(self.is_embedded.then_some(embedded));
        let scenario = Scenario {
            name: if self.is_slow { "slow" } else { "churn" },
            settings,
            rounds: args.rounds,
            bare: "bare send loop",
            relieved: self.is_slow.then_some("none stuck"),
            time_line: ("from a join to the last watcher", Seconds),
        };
        run.drive(scenario, |run, record| self.round(run, record))
    }

    /// Returns the rate at which the bare loop is busy for this share of the time. What a change
    /// costs is measured in short rounds, first at a low rate, then at the one that follows from
    /// it: under load a change costs a little less.
    fn calibrate(self, run: &mut Run, load: f64) -> Result<f64, Failure> {
        let mut short = Churn {
            rate: CALIBRATION_RATE,
            duration: CALIBRATION_TIME,
            is_embedded: false,
            ..self
        };
        let measured = run.rehearse(None, |run, record| short.round(run, record))?;
        for _ in 0..2 {
            let round = |run: &mut Run, record: &mut Record| short.round(run, record);
            let bare = run.rehearse(Some(&measured), round)?;
            let cost = bare.value_of(CPU_FOR_A_CHANGE).filter(|cost| *cost > 0.0);
            let cost = cost.ok_or_else(|| {
                Failure::failed("--load: cannot measure the CPU time of the bare loop; use --rate")
            })?;
            short.rate = rate_for(load, cost);
        }
        Ok(short.rate)
    }

    fn round(self, run: &mut Run, record: &mut Record) -> Result<(), Failure> {
        let args = self.args;
        let pool = &mut Pool::new(run, Some(args.watch), args.unlisted, self.services);
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
        let work = run.loop_work()?;
        let start = Instant::now();
        let ended = self.join_and_leave(pool, run);
        let time = start.elapsed();
        let work = work.zip(run.loop_work()?);
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

        let is_subscribed = self.services.is_some_and(Services::are_subscribed_to);
        let [each, last] = if is_subscribed {
            [
                "join to each session that it concerns",
                "join to the last session that it concerns",
            ]
        } else {
            ["join to each watcher", "join to the last watcher"]
        };
        record.times(each, &pool.joins.to_each);
        let to_last = pool.joins.to_last.iter().map(|(_, time)| *time);
        record.times(last, &to_last.collect());
        for [alone, join_cpu, leave_cpu] in singles {
            record.time("one join alone to the last watcher, least", Least, alone);
            record.time("one join alone to the last watcher, median", Median, alone);
            record.cpu("server CPU for one join alone", Least, join_cpu);
            record.cpu("server CPU for one leave alone", Least, leave_cpu);
        }
        // Each join is followed by a leave.
        let changes = 2.0 * joins;
        let numbers = SINGLES..pool.joins.len();
        let concerned: usize = numbers.map(|number| pool.joins.concerned(number)).sum();
        let to_each = 2.0 * concerned as f64;
        if is_subscribed {
            let mean = concerned as f64 / joins;
            record.traffic("sessions that a change concerns", Count, Some(mean));
        }
        if let Some(cpu) = cpu {
            let share = cpu.as_secs_f64() / time.as_secs_f64();
            record.share("server CPU under churn, of one processor", share);
        }
        let cpu = cpu.map(|cpu| cpu.div_f64(changes));
        record.cpu(CPU_FOR_A_CHANGE, Mean, cpu);
        let updates = (pool.received.updates - updates) as f64 / to_each;
        record.traffic("updates to a watcher for a change", Count, Some(updates));
        let bytes = (pool.bytes() - bytes) as f64 / to_each;
        record.traffic("bytes to a watcher for a change", Bytes, Some(bytes));
        if let Some((before, work)) = work {
            work.record_since(before, record);
        }
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
        pool.set_goal(listed);
        pool.joins.watchers = self.watchers;
        pool.add_members(run.net(), all);
        pool.wait_for(run, "nodes watch", all, |pool| pool.times_to_goal.len())?;
        let subscriptions = pool.subscriptions();
        if pool.complete_lists() < subscriptions {
            // A member that watches deltas may have received an older list last.
            pool.request_lists(run.net(), subscriptions);
        }
        let what = if subscriptions == 1 {
            "nodes received the complete list"
        } else {
            "subscriptions have their complete list"
        };
        pool.wait_for(run, what, subscriptions, Pool::complete_lists)
    }

    /// Joins nodes when they are due, independent of the state of earlier ones.
    fn join_and_leave(self, pool: &mut Pool, run: &mut Run) -> Result<(), Failure> {
        let rate = self.rate;
        let start = Instant::now();
        let end = start + self.duration;
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
        let list = pool.received.last_lists.get(&0)?;
        let left = pool.joins.left_frame.as_ref().unwrap_or(list);
        let reply = pool.received.reply.as_ref().map(|reply| reply.text());
        let reply = reply.unwrap_or_default();
        let mut replies = pool.last_lists();
        for list in replies.values_mut() {
            list.insert_str(0, &reply);
        }
        Some(Task {
            watchers: self.watchers + self.stuck,
            replies,
            joined: joined.text(),
            joiner: names.of(Node::Joiner(*number)),
            joiner_url: pool.url_of(Node::Joiner(*number)),
            left: left.text(),
            ..Task::default()
        })
    }
}

/// Returns the joins per second that keep a loop busy for a share of the time, to three digits.
/// Each join is followed by a leave, and each of these changes costs so many seconds.
fn rate_for(load: f64, cost: f64) -> f64 {
    let rate = (load / (2.0 * cost)).clamp(0.001, 1e7);
    let step = 10_f64.powf(rate.log10().floor() - 2.0);
    let rounded = (rate / step).round() * step;
    // Without the digits that multiplying has added.
    format!("{rounded:.5}").parse().unwrap_or(rounded)
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
    let updates = pool.received.updates + pool.joins.concerned(number) as u64;
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
    fn rates_keep_a_loop_busy_for_a_share_of_the_time() {
        // A join and its leave take 5 ms: 90 of them take 0.45 s.
        assert_eq!(rate_for(0.45, 0.0025), 90.0);
        assert_eq!(rate_for(0.45, 0.002_727), 82.5);
        assert_eq!(rate_for(0.5, 0.000_123), 2030.0);
        assert_eq!(rate_for(0.01, 7.0), 0.001);
    }

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
