//! All nodes connect and register at once. When each has received all of them, all but one leave at
//! once.

use std::time::Duration;

use super::args::{Role, StormArgs, name_of};
use super::bare::Task;
use super::frames::Watch;
use super::pool::Pool;
use super::record::Merge::Least;
use super::record::Unit::{Bytes, Count};
use super::record::{Point, Record};
use super::report::Report;
use super::run::{Run, Scenario, Subject, pause_after};
use super::server::RESIDENT;
use super::services::Services;
use crate::cli::failure::Failure;
use crate::reactor::Close;

pub(crate) fn run(args: &StormArgs) -> Result<Report, Failure> {
    Services::new(&args.services, args.watch, args.nodes)?;
    let run = Run::start(
        Role::Distributor,
        &args.server,
        Some(&args.http),
        args.nodes,
        0,
    )?;
    let nodes = run.capacity.connections;
    let services = Services::new(&args.services, args.watch, nodes)?;
    let mut settings = vec![("nodes", nodes.to_string())];
    settings.extend(services.into_iter().flat_map(Services::settings));
    settings.extend([
        ("watch", name_of(args.watch)),
        ("rounds", args.rounds.to_string()),
    ]);
    let scenario = Scenario {
        name: "storm",
        settings,
        rounds: args.rounds,
        bare: "bare acceptor",
        relieved: None,
        time_line: ("nodes with the list, in the fastest round", Count),
    };
    run.drive(scenario, |run, record| {
        round(args.watch, services, run, record)
    })
}

fn round(
    watch: Watch,
    services: Option<Services>,
    run: &mut Run,
    record: &mut Record,
) -> Result<(), Failure> {
    let pool = &mut Pool::new(run, Some(watch), false, services);
    let nodes = run.capacity.connections;
    run.cpu_used(pool)?;
    let work = run.loop_work()?;
    pool.set_goal(nodes);
    for _ in 0..nodes {
        pool.add_member(run.net());
    }
    pool.wait_for(run, "nodes have the list", nodes, |pool| {
        pool.times_to_goal.len()
    })?;
    let work = work.zip(run.loop_work()?);
    let joining_cpu = run.cpu_used(pool)?;
    let resident = run.memory(RESIDENT);
    let mut times = pool.times_to_goal.clone();
    times.sort_unstable();
    let converged = times.last().copied().unwrap_or_default();
    let (updates, bytes) = (pool.received.updates as f64, pool.bytes() as f64);
    let most = pool.members.iter().map(|member| member.updates).max();
    request_whole_lists(watch, pool, run, pool.subscriptions())?;
    let lists = pool.last_lists();

    run.pause(pause_after(converged), pool)?;
    run.cpu_used(pool)?;
    pool.set_goal(1);
    for conn in pool.members.iter().skip(1).filter_map(|member| member.conn) {
        run.net().close(conn, Close::Now);
    }
    let what = "remaining nodes have received all leaves";
    pool.wait_for(run, what, 1, |pool| pool.times_to_goal.len())?;
    let leaving_cpu = run.cpu_used(pool)?;
    let left = pool.times_to_goal.first().copied();
    request_whole_lists(watch, pool, run, 1)?;
    let goodbye = pool.last_list();
    record.bare_task.get_or_insert(Task {
        watchers: nodes,
        lists,
        goodbye,
        ..Task::default()
    });
    run.close_all()?;
    run.pause(pause_after(left.unwrap_or_default()), pool)?;

    let fastest = record.time_line.last().map(|(at, _)| *at);
    if fastest.is_none_or(|fastest| converged.as_secs_f64() < fastest) {
        record.time_line = cumulative_count(&times);
    }
    record.time("until all nodes have the list", Least, Some(converged));
    record.cpu("server CPU for the joins", Least, joining_cpu);
    record.time("until the last node has received all leaves", Least, left);
    record.cpu("server CPU for the leaves", Least, leaving_cpu);
    if let Some((before, work)) = work {
        work.record_since(before, record);
    }
    let each = nodes as f64;
    record.traffic("lists per node", Count, Some(updates / each));
    let most = most.map(|most| most as f64);
    record.traffic("lists of the node with the most", Count, most);
    record.traffic("bytes per node", Bytes, Some(bytes / each));
    record.traffic("bytes to all", Bytes, Some(bytes));
    record.memory("server memory with all nodes, resident", resident);
    record.times("until a node has the list", &times.into_iter().collect());
    Ok(())
}

/// Requests the lists of the first members, for the bare server, if they watch deltas: these have
/// no current list.
fn request_whole_lists(
    watch: Watch,
    pool: &mut Pool,
    run: &mut Run,
    members: usize,
) -> Result<(), Failure> {
    if watch == Watch::Delta && run.subject != Subject::Bare {
        let before = pool.received.updates;
        pool.request_lists(run.net(), members);
        let what = "nodes received the list that they requested";
        let received = |pool: &Pool| usize::try_from(pool.received.updates - before).unwrap_or(0);
        pool.wait_for(run, what, members, received)?;
    }
    Ok(())
}

/// Returns the number of sorted times that have passed, over time, in about a hundred points.
fn cumulative_count(times: &[Duration]) -> Vec<Point> {
    let step = times.len().div_ceil(100).max(1);
    let counts = (1..=times.len()).zip(times);
    let shown = counts.filter(|(count, _)| count % step == 0 || *count == times.len());
    let points = shown.map(|(count, time)| (time.as_secs_f64(), count as f64));
    [(0.0, 0.0)].into_iter().chain(points).collect()
}
