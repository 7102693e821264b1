//! One round of churn. It begins with single changes, one after the other, for what one costs; then
//! joins follow a schedule that waits for nothing.

use std::time::{Duration, Instant};

use crate::cli::flood::format::Unit;
use crate::cli::flood::pool::Pool;
use crate::cli::flood::record::Record;
use crate::cli::flood::round::{Round, pause_after, time_until};
use crate::cli::flood::stop::Halt;
use crate::cli::flood::usage::used;
use crate::reactor::{Close, ConnId};

const SINGLES: u32 = 8;
/// A node that joined stays at least this long, and until all watchers heard of it.
const SHORTEST_STAY: Duration = Duration::from_millis(100);
/// The fractions of its multiples are spread evenly.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
/// Names have digits for this many, and for the joins before the schedule.
const MAX_JOINS: u32 = 99_999_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) joins_per_second: f64,
    /// Of one round.
    pub(super) duration: Duration,
}

impl Schedule {
    fn due(self, start: Instant, number: u32) -> Instant {
        start + Duration::from_secs_f64(f64::from(number) / self.joins_per_second)
    }

    /// How long a joiner stays. Leaves come at all distances from joins, since one just before a
    /// join delays it.
    fn stay(self, number: u32) -> Duration {
        let share = (f64::from(number) * GOLDEN_RATIO).fract();
        SHORTEST_STAY + Duration::from_secs_f64(share / self.joins_per_second)
    }

    /// Joins of one round: at least one, since a round without any shows nothing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    fn joins(self) -> u32 {
        let joins = (self.duration.as_secs_f64() * self.joins_per_second).round();
        joins.clamp(1.0, f64::from(MAX_JOINS)) as u32
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) watchers: usize,
    /// What becomes of stuck watchers is reported, even where there are none.
    pub(super) is_slow: bool,
    /// Watchers beside them that do not read.
    pub(super) stuck: usize,
    pub(super) unlisted: bool,
    pub(super) schedule: Schedule,
}

#[derive(Default)]
struct Single {
    to_last: Option<Duration>,
    join_cpu: Option<Duration>,
    leave_cpu: Option<Duration>,
}

impl Load {
    pub(super) fn run(
        self,
        pool: &mut Pool,
        round: &mut Round,
        record: &mut Record,
    ) -> Result<(), Halt> {
        let start = Instant::now();
        self.gather(pool, round)?;
        let gathering = start.elapsed();
        pool.pause_reading(round.net(), self.stuck);
        let mut singles: Vec<Single> = Vec::new();
        for _ in 0..SINGLES {
            // After a push a Distributor waits for some time before the next one.
            let last = singles.last().and_then(|single| single.to_last);
            round.pass(pause_after(last.unwrap_or_default()), pool)?;
            pool.heartbeats_paused = true;
            singles.push(single_change(pool, round)?);
            pool.heartbeats_paused = false;
        }
        pool.joins.forget_times();
        let (joins, complete) = (pool.joins.len(), pool.joins.complete);
        let (updates, bytes) = (pool.seen.updates, pool.bytes());
        let before = quiet_cpu(pool, round)?;
        let start = Instant::now();
        let stopped = match self.join_and_leave(pool, round) {
            Err(Halt::Stopped) => Err(Halt::Stopped),
            ended => Ok(ended?),
        };
        let time = start.elapsed();
        if stopped.is_ok() {
            // Watchers hear of the last leave as late as of any other change.
            let slowest = pool.joins.to_last.last().map(|(_, took)| *took);
            round.pass(pause_after(slowest.unwrap_or_default()), pool)?;
        }
        let cpu = used(before, quiet_cpu(pool, round)?);
        let cpu = cpu.filter(|cpu| !cpu.is_zero());
        let joins = (pool.joins.len() - joins) as f64;
        if joins == 0.0 {
            return stopped;
        }

        record.times("join to each watcher", &pool.joins.to_each);
        let to_last = pool.joins.to_last.iter().map(|(_, took)| *took);
        record.times("join to the last watcher", &to_last.collect());
        for single in singles {
            let alone = single.to_last;
            record.least("one join alone to the last watcher, least", alone);
            record.median("one join alone to the last watcher, median", alone);
            record.least("server CPU for one join alone", single.join_cpu);
            record.least("server CPU for one leave alone", single.leave_cpu);
        }
        // Each join is followed by a leave.
        let changes = 2.0 * joins;
        let to_each = changes * self.watchers as f64;
        let cpu = cpu.map(|cpu| cpu.as_secs_f64() / changes);
        record.mean("server CPU for a change under churn", Unit::Seconds, cpu);
        let updates = (pool.seen.updates - updates) as f64 / to_each;
        record.mean("updates to a watcher for a change", Unit::Count, updates);
        let bytes = (pool.bytes() - bytes) as f64 / to_each;
        record.mean("bytes to a watcher for a change", Unit::Bytes, bytes);
        let complete = (pool.joins.complete - complete) as u64;
        record.count("joins all watchers were told of", complete);
        let rate = joins / time.as_secs_f64();
        record.mean("joins a second", Unit::PerSecond, rate);
        let points = pool.joins.to_last.iter().map(|(due, took)| {
            let at = record.elapsed + due.saturating_duration_since(start);
            (at.as_secs_f64(), took.as_secs_f64())
        });
        record.time_line.extend(points);
        record.elapsed += time;

        let memory = round.memory();
        if self.is_slow {
            if stopped.is_ok() {
                pool.resume_reading(round.net());
                round.pass(pause_after(gathering), pool)?;
            }
            let cut = pool.stuck_and_cut() as u64;
            record.count("stuck watchers cut, all rounds", cut);
        }
        let bytes = memory.map(|memory| memory.resident_bytes);
        record.most("server memory, resident", Unit::Bytes, bytes);
        stopped?;
        pool.close_all(round)?;
        round.pass(pause_after(Duration::ZERO), pool)
    }

    /// Connects all watchers, some at a time, until each knows of all, and one has a list of all.
    fn gather(self, pool: &mut Pool, round: &mut Round) -> Result<(), Halt> {
        let all = self.watchers + self.stuck;
        let listed = if self.unlisted { 0 } else { all };
        pool.set_goal(listed);
        pool.joins.watchers = self.watchers;
        pool.wait_for(round, "watch", all, |pool, net| {
            pool.add_members_up_to(all, net);
            pool.reached()
        })?;
        if !pool.is_last_list_of(listed) {
            // A member that watches deltas may have received an older list last.
            pool.ask_for_list(round.net());
        }
        pool.wait_for(round, "was sent the list of all", 1, |pool, _| {
            usize::from(pool.is_last_list_of(listed))
        })
    }

    /// Nodes join when they are due, whatever has become of those before.
    fn join_and_leave(self, pool: &mut Pool, round: &mut Round) -> Result<(), Halt> {
        let schedule = self.schedule;
        let joins = schedule.joins();
        let complete_before = pool.joins.complete;
        let start = Instant::now();
        let give_up = schedule.due(start, joins) + round.timeout;
        let mut begun = 0;
        let mut present: Vec<((usize, ConnId), Instant)> = Vec::new();
        loop {
            let now = Instant::now();
            while begun < joins && schedule.due(start, begun) <= now {
                let due = schedule.due(start, begun);
                let joiner = pool.add_joiner(round.net());
                pool.join(round.net(), joiner, due);
                present.push((joiner, due + schedule.stay(begun)));
                begun += 1;
            }
            present.retain(|((number, conn), leaves_at)| {
                let leaves = *leaves_at <= now && pool.joins.is_complete(*number);
                if leaves {
                    round.net().close(*conn, Close::Now);
                }
                !leaves
            });
            if begun == joins && present.is_empty() {
                return Ok(());
            }
            if now >= give_up || pool.has_trouble() {
                let complete = pool.joins.complete - complete_before;
                let what = "joins reached all watchers";
                return Err(pool.failure(what, complete, joins as usize, round.timeout));
            }
            let next_join = match begun < joins {
                true => schedule.due(start, begun),
                false => now + SHORTEST_STAY,
            };
            let leaves = present.iter().map(|(_, at)| *at).filter(|at| *at > now);
            let next = leaves.min().map_or(next_join, |leave| leave.min(next_join));
            round.turn(time_until(next), pool)?;
        }
    }
}

/// CPU time of the server when it is at rest: nothing is sent meanwhile.
fn quiet_cpu(pool: &mut Pool, round: &mut Round) -> Result<Option<Duration>, Halt> {
    pool.heartbeats_paused = true;
    let cpu = round.cpu(pool);
    pool.heartbeats_paused = false;
    cpu
}

/// One node joins and leaves while nothing else happens.
fn single_change(pool: &mut Pool, round: &mut Round) -> Result<Single, Halt> {
    let joiner = pool.add_joiner(round.net());
    // It is connected, and has its first list.
    let before = round.cpu(pool)?;
    pool.join(round.net(), joiner, Instant::now());
    pool.wait_for(round, "joins reached all watchers", 1, |pool, _| {
        usize::from(pool.joins.is_complete(joiner.0))
    })?;
    let joined = round.cpu(pool)?;
    let updates = pool.seen.updates + pool.joins.watchers as u64;
    round.net().close(joiner.1, Close::Now);
    pool.wait_for(round, "leaves reached all watchers", 1, |pool, _| {
        usize::from(pool.seen.updates >= updates)
    })?;
    let left = round.cpu(pool)?;
    // A server that is busy with something else is not always counted in between.
    let counted = |cpu: Option<Duration>| cpu.filter(|cpu| !cpu.is_zero());
    Ok(Single {
        to_last: pool.joins.to_last.last().map(|(_, took)| *took),
        join_cpu: counted(used(before, joined)),
        leave_cpu: counted(used(joined, left)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_at_all_distances_from_joins() {
        let schedule = Schedule {
            joins_per_second: 10.0,
            duration: Duration::from_secs(10),
        };
        let mut met = [0; 10];
        for number in 0..100 {
            let beyond = schedule.stay(number) - SHORTEST_STAY;
            met[usize::try_from(beyond.as_millis()).unwrap() / 10] += 1;
        }
        assert!(met.iter().all(|count| (8..=12).contains(count)), "{met:?}");
    }
}
