//! Connections that are there and do nothing: what each costs the server.

use std::time::{Duration, Instant};

use crate::cli::failure::Failure;
use crate::cli::flood::args::IdleArgs;
use crate::cli::flood::client::{Client, Waited, pause_after};
use crate::cli::flood::format::Unit;
use crate::cli::flood::herd::{FRAME_END, Herd, Manners, Says, Watch};
use crate::cli::flood::progress::Progress;
use crate::cli::flood::report::{Line, Report, TimeLine};
use crate::cli::flood::target::Target;
use crate::cli::flood::usage::{Memory, Process};
use crate::cli::flood::view::Names;

/// Connections on their way at a time.
const CONNECTING_AT_ONCE: usize = 512;
/// Memory is looked at this often.
const LOOK: Duration = Duration::from_millis(250);
/// What one server came to.
#[derive(Default, Debug)]
struct Outcome {
    connecting: Duration,
    connecting_cpu: Option<Duration>,
    before: Memory,
    during: Memory,
    after: Memory,
    cpu: Option<Duration>,
    resident: Vec<(f64, f64)>,
    lost: usize,
    greeting: Vec<u8>,
}

pub(crate) fn run(args: &IdleArgs) -> Result<Report, Failure> {
    args.check()?;
    let mut target = Target::reach(&args.server, args.connections, 0)?;
    let connections = target.plan.connections;
    let mut client = Client::new(connections, args.server.timeout)?;
    let names = Names::new(client.net().random());
    let manners = Manners {
        watch: Watch::List,
        unlisted: args.unlisted,
        says: if args.registered {
            Says::WhoItIs
        } else {
            Says::Nothing
        },
        bare: false,
    };
    let progress = Progress::of_rounds("idle", 1 + u32::from(target.bare.is_some()));
    let herd = Herd::new(target.addr, &target.plan.sources, &names, &manners);
    let (ours, mut waited) = hold(&mut client, args, herd, connections, target.process)?;
    progress.round_done();
    let mut bare = None;
    if let (Some(server), Waited::Done) = (&mut target.bare, waited) {
        server.command(&format!("hold {}", ours.greeting.len()), &[&ours.greeting])?;
        let manners = Manners {
            bare: true,
            ..manners
        };
        let herd = Herd::new(server.addr, &target.plan.sources, &names, &manners);
        let process = Some(server.process());
        let (outcome, waited_for_bare) = hold(&mut client, args, herd, connections, process)?;
        bare = Some(outcome);
        waited = waited_for_bare;
    }
    drop(progress);
    let mut report = Report::new("idle");
    report.setting("connections", connections);
    report.setting("registered", args.registered);
    report.setting("for", humantime::format_duration(args.duration));
    report.baseline = bare.is_some().then_some("bare acceptor");
    figures(
        &mut report,
        connections,
        &ours,
        bare.as_ref(),
        target.process.is_some(),
    );
    if waited == Waited::Stopped {
        report
            .notes
            .push("stopped before the time was over".to_owned());
    }
    target.report(&mut report);
    Ok(report)
}

fn hold(
    client: &mut Client,
    args: &IdleArgs,
    mut herd: Herd,
    connections: usize,
    process: Option<Process>,
) -> Result<(Outcome, Waited), Failure> {
    let herd = &mut herd;
    let memory = || {
        process
            .and_then(|process| process.memory().ok())
            .unwrap_or_default()
    };
    let mut outcome = Outcome {
        before: memory(),
        ..Outcome::default()
    };
    let cpu = client.settled_cpu(herd, process)?;
    let start = Instant::now();
    let until = start + args.server.timeout;
    let wants_answers = args.registered && !herd.is_bare();
    let waited = client.run_until(herd, until, |herd, net| {
        while herd.members.len() < connections
            && herd.members.len() < herd.heard + CONNECTING_AT_ONCE
        {
            herd.add_member(net);
        }
        let there = if wants_answers {
            herd.confirmed
        } else {
            herd.heard
        };
        there == connections || herd.lost > 0 || herd.refusal.is_some()
    })?;
    if waited == Waited::Stopped {
        return Err(Failure::stopped());
    }
    let there = if wants_answers {
        herd.confirmed
    } else {
        herd.heard
    };
    if there < connections {
        return Err(herd.failure("were sent a list", there, connections, args.server.timeout));
    }
    outcome.connecting = start.elapsed();
    let connected_cpu = client.settled_cpu(herd, process)?;
    outcome.connecting_cpu = connected_cpu
        .zip(cpu)
        .map(|(to, from)| to.saturating_sub(from));
    client.pass(herd, pause_after(outcome.connecting))?;

    let quiet_cpu = client.settled_cpu(herd, process)?;
    let quiet_since = Instant::now();
    let mut stopped = Waited::Done;
    while quiet_since.elapsed() < args.duration && stopped == Waited::Done {
        let look = Instant::now() + LOOK.min(args.duration);
        stopped = client.run_until(herd, look, |_, _| false)?;
        if stopped == Waited::TooLong {
            stopped = Waited::Done;
        }
        let at = quiet_since.elapsed().as_secs_f64();
        outcome.resident.push((at, memory().resident_bytes as f64));
    }
    outcome.during = memory();
    outcome.lost = herd.lost;
    let cpu = client.settled_cpu(herd, process)?;
    outcome.cpu = cpu.zip(quiet_cpu).map(|(to, from)| to.saturating_sub(from));
    outcome.greeting = herd.last_list_frame();
    if outcome.greeting.len() == FRAME_END.len() {
        outcome.greeting.clear();
    }
    herd.close_all(client.net());
    let until = Instant::now() + args.server.timeout;
    client.run_until(herd, until, |herd, _| herd.connections() == 0)?;
    client.pass(herd, pause_after(outcome.connecting))?;
    client.settled_cpu(herd, process)?;
    outcome.after = memory();
    Ok((outcome, stopped))
}

fn figures(
    report: &mut Report,
    connections: usize,
    ours: &Outcome,
    bare: Option<&Outcome>,
    is_watched: bool,
) {
    report.time(
        "until all are connected",
        Some(ours.connecting),
        bare.map(|bare| bare.connecting),
    );
    let mut time = |name: &str, of: &dyn Fn(&Outcome) -> Option<Duration>| {
        report.time(name, of(ours), bare.and_then(of));
    };
    time("server CPU for it", &|outcome| outcome.connecting_cpu);
    time("server CPU while they are idle", &|outcome| outcome.cpu);
    report.figure(
        "connections lost",
        Unit::Count,
        Some(ours.lost as f64),
        bare.map(|bare| bare.lost as f64),
    );
    if !is_watched {
        let note = "without --spawn or --pid nothing is known of the server's memory";
        report.notes.push(note.to_owned());
        return;
    }
    let per_connection =
        |more: u64, less: u64| more.saturating_sub(less) as f64 / connections as f64;
    let mut bytes = |name: &str, of: &dyn Fn(&Outcome) -> f64| {
        report.figure(name, Unit::Bytes, Some(of(ours)), bare.map(of));
    };
    bytes("server memory a connection, its own", &|outcome| {
        per_connection(
            outcome.during.anonymous_bytes,
            outcome.before.anonymous_bytes,
        )
    });
    bytes("server memory a connection, resident", &|outcome| {
        per_connection(outcome.during.resident_bytes, outcome.before.resident_bytes)
    });
    bytes("server memory before, resident", &|outcome| {
        outcome.before.resident_bytes as f64
    });
    bytes("server memory while they are idle, resident", &|outcome| {
        outcome.during.resident_bytes as f64
    });
    bytes("server memory when they have gone, resident", &|outcome| {
        outcome.after.resident_bytes as f64
    });
    let lines = [("Distributor", Some(ours)), ("bare", bare)]
        .into_iter()
        .filter_map(|(name, outcome)| {
            Some(Line {
                name: name.to_owned(),
                points: outcome?.resident.clone(),
            })
        });
    report.time_line = Some(TimeLine {
        what: "server memory while connections are idle",
        unit: Some(Unit::Bytes),
        lines: lines.collect(),
    });
}
