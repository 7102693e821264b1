//! Runs a scenario: rounds against the server and what it is compared with, in turn, and a report.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::bare::Task;
use super::event_loop::EventLoop;
use super::format::Unit;
use super::http_readers::{HttpReaders, Tally};
use super::record::Record;
use super::report::{Line, Report, TimeLine};
use super::stop::{Halt, StopSignal};
use super::target::Target;
use super::usage::{Memory, Process};
use crate::reactor::{Handler, Net};

/// A server that used no CPU for this long is at rest.
const REST: Duration = Duration::from_millis(3);
/// A server that never rests is measured all the same.
const MAX_LOOKS: u32 = 100;

/// What differs between scenarios.
pub(crate) trait Scenario {
    fn describe(&self) -> Description;

    /// Runs one round. What is recorded when it is stopped is reported.
    fn run(&mut self, round: &mut Round<'_>, record: &mut Record) -> Result<(), Halt>;

    /// What the bare server does in its next round: what the measured one did.
    fn bare_task(&self) -> Result<Task, Halt>;

    /// Remarks for the end of the report.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

pub(crate) struct Description {
    pub(crate) name: &'static str,
    /// What the bare server is called.
    pub(crate) bare: &'static str,
    /// What the server is compared with where there is no bare one: itself with a part of the load
    /// left out.
    pub(crate) relieved: Option<&'static str>,
    /// What the time line shows.
    pub(crate) time_line: (&'static str, Unit),
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// Whose figures a round measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Server,
    /// The same server without HTTP readers, or without watchers that do not read.
    Relieved,
    Bare,
}

/// One round against one server.
pub(crate) struct Round<'a> {
    pub(crate) events: &'a mut EventLoop,
    pub(crate) to: SocketAddr,
    pub(crate) sources: &'a [Option<IpAddr>],
    pub(crate) subject: Subject,
    process: Option<Process>,
}

impl Round<'_> {
    pub(crate) fn net(&mut self) -> &mut Net {
        self.events.net()
    }

    /// Turns until `done`, or until `--timeout` has passed. Returns whether it is done.
    pub(crate) fn run<H: Handler>(
        &mut self,
        handler: &mut H,
        done: impl FnMut(&mut H, &mut Net) -> bool,
    ) -> Result<bool, Halt> {
        self.events.run_for(self.events.timeout, handler, done)
    }

    /// Turns for this long.
    pub(crate) fn pass<H: Handler>(&mut self, time: Duration, handler: &mut H) -> Result<(), Halt> {
        self.events.run_for(time, handler, |_, _| false).map(drop)
    }

    /// CPU time of the server once it is at rest, if its process is known. A stopped run does not
    /// wait for that.
    pub(crate) fn cpu<H: Handler>(&mut self, handler: &mut H) -> Result<Option<Duration>, Halt> {
        let Some(process) = self.process else {
            return Ok(None);
        };
        let pid = process.pid;
        let gone = |error| Halt::failed(format!("the server (process {pid}) is gone: {error}"));
        let mut before = None;
        for _ in 0..MAX_LOOKS {
            let now = Some(process.cpu().map_err(gone)?);
            if std::mem::replace(&mut before, now) == now {
                break;
            }
            match self.pass(REST, handler) {
                Err(Halt::Stopped) => break,
                other => other?,
            }
        }
        Ok(before)
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        self.process?.memory().ok()
    }
}

/// Runs all rounds with at most this many connections at a time, or as many rounds as are over when
/// the run is stopped, and reports.
pub(crate) fn run(
    mut scenario: impl Scenario,
    mut target: Target,
    connections: usize,
    rounds: u32,
    stop: StopSignal,
) -> Result<Report, Halt> {
    let about = scenario.describe();
    let (other, heading) = match (&target.bare, target.http) {
        (Some(_), _) => (Some(Subject::Bare), Some(about.bare)),
        (None, Some(_)) => (Some(Subject::Relieved), Some("no readers")),
        (None, None) => (about.relieved.and(Some(Subject::Relieved)), about.relieved),
    };
    let mut events = EventLoop::new(connections, target.timeout, stop)?;
    let mut measured = Record::default();
    let mut baseline = Record::default();
    let mut read = Tally::default();
    let bar = progress_bar(about.name, rounds);
    let ended = (0..rounds).try_for_each(|round| {
        // The baseline does what the server did in the first round. Later the order is drawn by lot,
        // so that neither always has the other's leftovers.
        let mut subjects = vec![Subject::Server];
        subjects.extend(other);
        if round > 0 && events.net().random().is_multiple_of(2) {
            subjects.reverse();
        }
        for subject in subjects {
            let record = match subject {
                Subject::Server => &mut measured,
                Subject::Relieved | Subject::Bare => &mut baseline,
            };
            let (ended, more) =
                run_round(&mut scenario, subject, &mut target, &mut events, record)?;
            read.add(more);
            ended?;
        }
        bar.inc(1);
        Ok(())
    });
    let done = bar.position();
    drop(bar);
    match ended {
        Err(Halt::Stopped) if !measured.rows.is_empty() => {}
        other => other?,
    }
    let baseline = Some(baseline).filter(|baseline| !baseline.rows.is_empty());
    let mut report = Report {
        command: about.name,
        settings: about.settings,
        baseline: heading.filter(|_| baseline.is_some()),
        notes: scenario.notes(),
        ..Report::default()
    };
    report.add(&measured, baseline.as_ref());
    if let Some(http) = target.http {
        let readers = http.readers.to_string();
        report.settings.push(("HTTP readers", readers));
        read.report(&mut report);
    }
    let columns = [(Some("measured"), Some(measured)), (heading, baseline)];
    let lines = columns.into_iter().filter_map(|(name, record)| {
        let (name, points) = (name?, record?.time_line);
        Some(Line { name, points })
    });
    let (what, unit) = about.time_line;
    let lines = lines.collect();
    report.time_line = Some(TimeLine { what, unit, lines });
    if done < u64::from(rounds) {
        report.notes.push(format!(
            "stopped after {done} of {rounds} rounds: totals are of less than was asked for, and not of \
             as much in each column"
        ));
    }
    target.report(&mut report);
    Ok(report)
}

/// Returns how the round ended, and what HTTP readers read meanwhile.
fn run_round(
    scenario: &mut impl Scenario,
    subject: Subject,
    target: &mut Target,
    events: &mut EventLoop,
    record: &mut Record,
) -> Result<(Result<(), Halt>, Tally), Halt> {
    let (to, process) = match &mut target.bare {
        Some(server) if subject == Subject::Bare => {
            server.set_task(&scenario.bare_task()?)?;
            (server.addr, Some(server.process()))
        }
        _ => (target.addr, target.process),
    };
    let http = target.http.filter(|_| subject == Subject::Server);
    let readers = http.map(HttpReaders::start).transpose()?;
    let mut round = Round {
        events,
        to,
        sources: &target.plan.sources,
        subject,
        process,
    };
    let ended = scenario.run(&mut round, record);
    let read = readers.map(HttpReaders::stop).transpose()?;
    Ok((ended, read.unwrap_or_default()))
}

/// A bar on standard error, where that is a terminal. Gone when dropped.
fn progress_bar(scenario: &'static str, rounds: u32) -> ProgressBar {
    const REDRAW_INTERVAL: Duration = Duration::from_millis(250);
    let bar = ProgressBar::new(u64::from(rounds)).with_finish(ProgressFinish::AndClear);
    let template = "{spinner} {msg} [{bar:40}] {pos} of {len} rounds, {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_message(scenario);
    // Nothing is drawn, and nothing woken for it, where there is no terminal.
    if !bar.is_hidden() {
        bar.enable_steady_tick(REDRAW_INTERVAL);
    }
    bar
}
