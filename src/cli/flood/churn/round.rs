//! One round of churn. It begins with single changes, one after the other, for what one costs; then
//! joins follow a schedule that waits for nothing.

use std::time::{Duration, Instant};

use super::schedule::SHORTEST_STAY;
use super::{Churn, Outcome, Sent};
use crate::cli::flood::driver::{Round, Subject};
use crate::cli::flood::event_loop::{pause_after, time_until};
use crate::cli::flood::pool::Pool;
use crate::cli::flood::stop::Halt;
use crate::cli::flood::usage::used;

/// Single changes at the beginning of a round.
const SINGLES: u32 = 8;

/// Runs a round with this many watchers that do not read.
pub(super) fn run(
    churn: &mut Churn<'_>,
    mut pool: Pool,
    stuck: usize,
    round: &mut Round<'_>,
    outcome: &mut Outcome,
) -> Result<(), Halt> {
    let pool = &mut pool;
    let start = Instant::now();
    gather(churn, pool, stuck, round)?;
    let gathering = start.elapsed();
    pool.pause_reading(round.events.net(), stuck);
    for _ in 0..SINGLES {
        // After a push a Distributor waits for some time before the next one.
        let last = outcome.alone.last().copied().unwrap_or_default();
        round.events.pass(pause_after(last), pool)?;
        pool.heartbeats.is_paused = true;
        single_change(pool, round, outcome)?;
        pool.heartbeats.is_paused = false;
    }
    if churn.sent.is_none() {
        churn.sent = Sent::new(pool, &churn.names);
    }
    let stopped = follow_schedule(churn, pool, round, outcome);
    // Without its readers, a server keeps the memory that it had for them.
    if round.subject != Subject::Relieved || churn.is_slow {
        let bytes = round.memory().map(|memory| memory.resident_bytes);
        outcome.resident_bytes = outcome.resident_bytes.max(bytes);
    }
    outcome.to_each.add(&pool.joins.to_each);
    outcome.to_last.add(&pool.joins.to_last);
    outcome.gaps += pool.gaps;
    stopped?;
    if stuck > 0 {
        pool.resume_reading(round.events.net());
        round.events.pass(pause_after(gathering), pool)?;
        outcome.cut += pool.stuck_and_cut();
    }
    pool.close_all(round.events)?;
    round.events.pass(pause_after(Duration::ZERO), pool)
}

/// Connects all watchers, some at a time, until each knows of all, and one has a list of all.
fn gather(
    churn: &Churn<'_>,
    pool: &mut Pool,
    stuck: usize,
    round: &mut Round<'_>,
) -> Result<(), Halt> {
    let all = churn.watchers + stuck;
    let listed = if churn.load.unlisted { 0 } else { all };
    pool.set_goal(listed);
    pool.joins.watchers = churn.watchers;
    pool.wait_for(round.events, "watch", all, |pool, net| {
        pool.add_members_up_to(all, net);
        pool.reached()
    })?;
    if !pool.is_last_list_of(listed) {
        // A member that watches deltas may have received an older list last.
        pool.ask_for_list(round.events.net());
    }
    let is_there = |pool: &Pool| usize::from(pool.is_last_list_of(listed));
    let what = "was sent the list of all";
    pool.wait_for(round.events, what, 1, |pool, _| is_there(pool))
}

/// CPU time of the server when it is at rest: nothing is sent meanwhile.
fn quiet_cpu(pool: &mut Pool, round: &mut Round<'_>) -> Result<Option<Duration>, Halt> {
    let was_paused = std::mem::replace(&mut pool.heartbeats.is_paused, true);
    let cpu = round.cpu(pool);
    pool.heartbeats.is_paused = was_paused;
    cpu
}

/// One node joins and leaves while nothing else happens.
fn single_change(
    pool: &mut Pool,
    round: &mut Round<'_>,
    outcome: &mut Outcome,
) -> Result<(), Halt> {
    let number = pool.add_joiner(round.events.net());
    // It is connected, and has its first list.
    let before = round.cpu(pool)?;
    pool.join(round.events.net(), number, Instant::now());
    pool.wait_for(round.events, "joins reached all watchers", 1, |pool, _| {
        usize::from(pool.joins.is_complete(number))
    })?;
    let joined = round.cpu(pool)?;
    outcome
        .alone
        .extend(pool.joins.time_line.last().map(|(_, took)| *took));

    let updates = pool.updates + pool.joins.watchers as u64;
    pool.close_joiner(round.events.net(), number);
    pool.wait_for(round.events, "leaves reached all watchers", 1, |pool, _| {
        usize::from(pool.updates >= updates)
    })?;
    let left = round.cpu(pool)?;
    // A server that is busy with something else is not always counted in between.
    let least = |so_far: Option<Duration>, now: Option<Duration>| {
        let now = now.filter(|used| !used.is_zero());
        so_far.into_iter().chain(now).min()
    };
    outcome.join_cpu = least(outcome.join_cpu, used(before, joined));
    outcome.leave_cpu = least(outcome.leave_cpu, used(joined, left));
    Ok(())
}

/// Nodes join when they are due, whatever has become of those before.
fn follow_schedule(
    churn: &Churn<'_>,
    pool: &mut Pool,
    round: &mut Round<'_>,
    outcome: &mut Outcome,
) -> Result<(), Halt> {
    pool.joins.forget_times();
    let (joins, complete) = (pool.joins.len(), pool.joins.complete);
    let (updates, bytes) = (pool.updates, pool.bytes());
    let cpu = quiet_cpu(pool, round)?;
    let start = Instant::now();
    let stopped = match join_and_leave(churn, pool, round, start) {
        Err(Halt::Stopped) => Err(Halt::Stopped),
        ended => Ok(ended?),
    };
    let time = start.elapsed();
    if stopped.is_ok() {
        // Watchers hear of the last leave as late as of any other change.
        let slowest = pool.joins.time_line.last().map(|(_, took)| *took);
        round
            .events
            .pass(pause_after(slowest.unwrap_or_default()), pool)?;
    }
    outcome.cpu += used(cpu, quiet_cpu(pool, round)?).unwrap_or_default();
    outcome.joins += pool.joins.len() - joins;
    outcome.heard_by_all += pool.joins.complete - complete;
    outcome.updates += pool.updates - updates;
    outcome.bytes += pool.bytes() - bytes;
    let before = outcome.time;
    let points = pool.joins.time_line.iter().map(|(due, took)| {
        let at = before + due.saturating_duration_since(start);
        (at.as_secs_f64(), took.as_secs_f64())
    });
    outcome.time_line.extend(points);
    outcome.time += time;
    stopped
}

fn join_and_leave(
    churn: &Churn<'_>,
    pool: &mut Pool,
    round: &mut Round<'_>,
    start: Instant,
) -> Result<(), Halt> {
    let schedule = churn.schedule;
    let joins = schedule.joins();
    let complete_before = pool.joins.complete;
    let give_up = schedule.due(start, joins) + round.events.timeout;
    let mut begun = 0;
    let mut present: Vec<(usize, Instant)> = Vec::new();
    loop {
        let now = Instant::now();
        while begun < joins && schedule.due(start, begun) <= now {
            let due = schedule.due(start, begun);
            let number = pool.add_joiner(round.events.net());
            pool.join(round.events.net(), number, due);
            present.push((number, due + schedule.stay(begun)));
            begun += 1;
        }
        present.retain(|(number, leaves_at)| {
            let leaves = *leaves_at <= now && pool.joins.is_complete(*number);
            if leaves {
                pool.close_joiner(round.events.net(), *number);
            }
            !leaves
        });
        if begun == joins && present.is_empty() {
            return Ok(());
        }
        if now >= give_up || pool.has_trouble() {
            let complete = pool.joins.complete - complete_before;
            let what = "joins reached all watchers";
            return Err(pool.failure(what, complete, joins as usize, round.events.timeout));
        }
        let next_join = if begun < joins {
            schedule.due(start, begun)
        } else {
            now + SHORTEST_STAY
        };
        let leaves = present.iter().map(|(_, at)| *at).filter(|at| *at > now);
        let next = leaves.min().map_or(next_join, |leave| leave.min(next_join));
        round.events.turn(time_until(next), pool)?;
    }
}
