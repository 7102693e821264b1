//! Nodes join and leave while others watch: how long it takes until each is told, and the last.
//!
//! A run is cut into slices, ours and what it is compared with in turn.

mod frames;
mod load;
mod outcome;
mod slice;

use crate::cli::failure::Failure;
use crate::cli::flood::args::{ChurnArgs, Schedule, SlowArgs, name_of};
use crate::cli::flood::child::Server;
use crate::cli::flood::client::{Client, Waited};
use crate::cli::flood::herd::{Herd, Manners, Watch, number_in_registration};
use crate::cli::flood::http_readers::Tally;
use crate::cli::flood::progress::Progress;
use crate::cli::flood::report::Report;
use crate::cli::flood::target::{HttpLoad, Target};
use crate::cli::flood::view::NUMBER_DIGITS;
use frames::Frames;
use load::Load;
use outcome::Outcome;
use slice::Slice;

pub(crate) fn run(args: &ChurnArgs) -> Result<Report, Failure> {
    let (server, schedule) = (&args.server, &args.schedule());
    let mut target = Target::reach_with_http(server, &args.http, args.nodes, SPARE)?;
    let mut client = Client::new(target.plan.connections + SPARE, server.timeout)?;
    let load = Load::new(&target, &mut client, server, schedule, args.watch, 0);
    let mut report = Report::new("churn");
    report.setting("watchers", load.watchers);
    if let Some(http) = target.http {
        report.setting("HTTP readers", http.readers);
    }
    settings(&mut report, args.watch, schedule);
    let compared = match (&target.bare, target.http) {
        (Some(_), _) => Compared::Bare,
        (None, Some(_)) => Compared::WithoutHttpReaders,
        (None, None) => Compared::Nothing,
    };
    measure(
        &mut client,
        &mut target,
        &load,
        schedule.rounds,
        compared,
        &mut report,
    )?;
    Ok(report)
}

pub(crate) fn run_slow(args: &SlowArgs) -> Result<Report, Failure> {
    let (server, schedule) = (&args.server, &args.schedule());
    let mut target = Target::reach(server, args.nodes + args.stuck, SPARE)?;
    let mut client = Client::new(target.plan.connections + SPARE, server.timeout)?;
    let load = Load::new(
        &target,
        &mut client,
        server,
        schedule,
        args.watch,
        args.stuck,
    );
    let mut report = Report::new("slow");
    report.setting("watchers", load.watchers);
    report.setting("stuck", load.stuck);
    settings(&mut report, args.watch, schedule);
    let compared = match target.bare.is_some() {
        true => Compared::Bare,
        false => Compared::NoneStuck,
    };
    measure(
        &mut client,
        &mut target,
        &load,
        schedule.rounds,
        compared,
        &mut report,
    )?;
    Ok(report)
}

/// Connections for joiners that have not left yet.
const SPARE: usize = 256;

fn settings(report: &mut Report, watch: Watch, schedule: &Schedule) {
    report.setting("watch", name_of(watch));
    report.setting("joins a second", schedule.rate);
    report.setting("for", humantime::format_duration(schedule.duration));
    report.setting("rounds", schedule.rounds);
}

/// What stands in the second column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compared {
    Nothing,
    Bare,
    /// The same server without the watchers that don't read.
    NoneStuck,
    /// The same server while nobody reads its HTTP side.
    WithoutHttpReaders,
}

fn measure(
    client: &mut Client,
    target: &mut Target,
    load: &Load,
    rounds: u32,
    compared: Compared,
    report: &mut Report,
) -> Result<(), Failure> {
    let (addr, process) = (target.addr, target.process);
    let sources = target.plan.sources.clone();
    let mut ours = Outcome::default();
    let mut other = Outcome::default();
    let mut frames = None;
    let mut read = Tally::default();
    let progress = Progress::of_rounds(report.command, rounds);
    let mut done = 0;
    for _ in 0..rounds {
        let herd = Herd::new(addr, &sources, &load.names, &load.manners);
        let mut slice = Slice::new(client, load, process);
        let readers = target.http.map(HttpLoad::start).transpose()?;
        let waited = slice.run(herd, &mut ours, &mut frames)?;
        if let Some(readers) = readers {
            read.add(readers.stop()?);
        }
        if waited == Waited::Stopped {
            break;
        }
        let waited = match compared {
            Compared::Nothing => Waited::Done,
            Compared::NoneStuck => {
                let load = Load {
                    stuck: 0,
                    ..load.clone()
                };
                let herd = Herd::new(addr, &sources, &load.names, &load.manners);
                Slice::new(client, &load, process).run(herd, &mut other, &mut frames)?
            }
            Compared::WithoutHttpReaders => {
                let herd = Herd::new(addr, &sources, &load.names, &load.manners);
                let waited =
                    Slice::new(client, load, process).run(herd, &mut other, &mut frames)?;
                // It keeps the memory that it had for its readers.
                other.resident_bytes = 0;
                waited
            }
            Compared::Bare => {
                let (Some(server), Some(frames)) = (&mut target.bare, &mut frames) else {
                    return Err(Failure::failed(
                        "no change came alone, so the baseline has nothing to send",
                    ));
                };
                tell(server, load, frames)?;
                let manners = Manners {
                    bare: true,
                    ..load.manners.clone()
                };
                let herd = Herd::new(server.addr, &sources, &load.names, &manners);
                let process = Some(server.process());
                Slice::new(client, load, process).run(herd, &mut other, &mut None)?
            }
        };
        if waited == Waited::Stopped {
            break;
        }
        done += 1;
        progress.round_done();
    }
    drop(progress);
    if ours.joins == 0 {
        return Err(Failure::stopped());
    }
    let (name, other) = match compared {
        Compared::Nothing => (None, None),
        Compared::Bare => (Some("bare send loop"), Some(&other)),
        Compared::NoneStuck => (Some("none stuck"), Some(&other)),
        Compared::WithoutHttpReaders => (Some("no readers"), Some(&other)),
    };
    // Nothing is no figure.
    let other = other.filter(|other| other.joins > 0);
    report.baseline = name.filter(|_| other.is_some());
    outcome::figures(report, load, &ours, other);
    if target.http.is_some() {
        read.report(report);
    }
    report.rounds_done(done, rounds);
    target.report(report);
    Ok(())
}

/// Has the bare server do what ours did.
fn tell(server: &mut Server, load: &Load, frames: &Frames) -> Result<(), Failure> {
    let (welcome, joined, left) = (&frames.welcome, &frames.joined, &frames.left);
    let words = format!(
        "fanout {} {} {} {} {} {} {NUMBER_DIGITS}",
        load.watchers + load.stuck,
        welcome.len(),
        joined.len(),
        left.len(),
        number_in_registration(&load.names).unwrap_or_default(),
        frames.number_at,
    );
    server.command(&words, &[welcome, joined, left])?;
    Ok(())
}
