//! Idle connections, and the cost of each to the server.

use std::time::{Duration, Instant};

use super::args::{IdleArgs, Role};
use super::bare::Task;
use super::frames::Watch;
use super::pool::Pool;
use super::record::Merge::Least;
use super::record::Record;
use super::record::Unit::Bytes;
use super::report::Report;
use super::run::{Run, Scenario, Subject, pause_after};
use super::server::{ANONYMOUS, RESIDENT};
use crate::cli::failure::Failure;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum silence: a Distributor closes connections that are silent for a minute.
const MAX_SILENCE: Duration = Duration::from_secs(45);

pub(crate) fn run(args: &IdleArgs) -> Result<Report, Failure> {
    let duration = humantime::format_duration(args.duration);
    if !args.registered && args.duration > MAX_SILENCE {
        return Err(Failure::usage(format!(
            "--duration {duration}: a Distributor closes connections that are silent for a minute; use \
             at most 45s, or --registered"
        )));
    }
    let run = Run::start(Role::Distributor, &args.server, None, args.connections, 0)?;
    let scenario = Scenario {
        name: "idle",
        settings: vec![
            ("connections", run.capacity.connections.to_string()),
            ("registered", args.registered.to_string()),
            ("for", duration.to_string()),
        ],
        rounds: 1,
        bare: "bare acceptor",
        relieved: None,
        time_line: ("server memory while connections are idle", Bytes),
    };
    run.drive(scenario, |run, record| round(args, run, record))
}

fn round(args: &IdleArgs, run: &mut Run, record: &mut Record) -> Result<(), Failure> {
    let all = run.capacity.connections;
    let watch = args.registered.then_some(Watch::Nothing);
    let pool = &mut Pool::new(run, watch, args.unlisted, None);
    let memory = |run: &Run| [ANONYMOUS, RESIDENT].map(|kind| run.memory(kind));
    let [own_before, before] = memory(run);
    if before.is_none() {
        record.note("the memory of the server is unknown without --spawn or --pid");
    }
    run.cpu_used(pool)?;
    let start = Instant::now();
    pool.add_members(run.net(), all);
    if args.registered && run.subject != Subject::Bare {
        let confirmed = |pool: &Pool| pool.received.confirmed;
        pool.wait_for(run, "nodes have registered", all, confirmed)?;
    } else {
        let greeted = |pool: &Pool| pool.received.greeted;
        pool.wait_for(run, "connections received a list", all, greeted)?;
    }
    let connecting = start.elapsed();
    record.time("until all are connected", Least, Some(connecting));
    record.cpu("server CPU for connecting", Least, run.cpu_used(pool)?);
    run.pause(pause_after(connecting), pool)?;

    run.cpu_used(pool)?;
    let start = Instant::now();
    let mut ended = Ok(());
    while ended.is_ok() && start.elapsed() < args.duration {
        let left = args.duration.saturating_sub(start.elapsed());
        ended = run.pause(SAMPLE_INTERVAL.min(left), pool);
        let at = start.elapsed().as_secs_f64();
        let bytes = run.memory(RESIDENT);
        record.time_line.extend(bytes.map(|bytes| (at, bytes)));
    }
    let [own, resident] = memory(run);
    record.cpu("server CPU while idle", Least, run.cpu_used(pool)?);
    record.count("connections lost", pool.received.lost);
    // A session that watches nothing receives the reply to its registration alone.
    let reply = pool.received.reply.as_ref().map(|reply| reply.text());
    record.bare_task = Some(Task {
        greeting: reply.unwrap_or_else(|| pool.last_list()),
        ..Task::default()
    });
    let each = |before: Option<f64>, now: Option<f64>| Some((now? - before?).max(0.0) / all as f64);
    let (own_each, each) = (each(own_before, own), each(before, resident));
    for (name, bytes) in [
        ("server memory per connection, anonymous", own_each),
        ("server memory per connection, resident", each),
        ("server memory before, resident", before),
        ("server memory while idle, resident", resident),
    ] {
        record.memory(name, bytes);
    }
    ended?;
    run.close_all()?;
    run.pause(pause_after(connecting), pool)?;
    run.cpu_used(pool)?;
    let [_, resident] = memory(run);
    record.memory("server memory after disconnecting, resident", resident);
    Ok(())
}
