//! Runs a scenario: rounds against the server and what it is compared with, in turn, and a report.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::bare::Task;
use super::format::Unit;
use super::http_readers::{HttpReaders, Tally};
use super::record::Record;
use super::report::{Line, Report, TimeLine};
use super::round::{Round, Subject};
use super::stop::Halt;
use super::target::Target;

pub(crate) trait Scenario {
    fn describe(&self) -> Description;

    /// Runs one round. What is recorded when it is stopped is reported.
    fn run(&mut self, round: &mut Round, record: &mut Record) -> Result<(), Halt>;

    /// What the bare server does in its next round: what the measured one did.
    fn bare_task(&self) -> Result<Task, Halt>;

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
    pub(crate) time_line: (&'static str, Unit),
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// Runs all rounds with at most this many connections at a time, or as many rounds as are over when
/// the run is stopped, and reports.
pub(crate) fn run(
    mut scenario: impl Scenario,
    mut target: Target,
    connections: usize,
    rounds: u32,
) -> Result<Report, Halt> {
    let about = scenario.describe();
    let (other, heading) = match (&target.bare, target.http) {
        (Some(_), _) => (Some(Subject::Bare), Some(about.bare)),
        (None, Some(_)) => (Some(Subject::WithoutReaders), Some("no readers")),
        (None, None) => (about.relieved.and(Some(Subject::Relieved)), about.relieved),
    };
    let mut round = Round::new(&target, connections)?;
    let mut measured = Record::default();
    let mut baseline = Record::default();
    let mut read = Tally::default();
    let bar = progress_bar(about.name, rounds);
    let ended = (0..rounds).try_for_each(|number| {
        // The baseline does what the server did in the first round. Later the order is drawn by lot,
        // so that neither always has the other's leftovers.
        let mut subjects = vec![Subject::Server];
        subjects.extend(other);
        if number > 0 && round.net().random().is_multiple_of(2) {
            subjects.reverse();
        }
        for subject in subjects {
            round.subject = subject;
            (round.to, round.process) = match &mut target.bare {
                Some(server) if subject == Subject::Bare => {
                    server.set_task(&scenario.bare_task()?)?;
                    (server.addr, Some(server.process()))
                }
                _ => (target.addr, target.process),
            };
            let (record, http) = match subject {
                Subject::Server => (&mut measured, target.http),
                _ => (&mut baseline, None),
            };
            let readers = http.map(HttpReaders::start).transpose()?;
            let ended = scenario.run(&mut round, record);
            if let Some(readers) = readers {
                read.add(readers.stop()?);
            }
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
    let line = |(name, record): (_, Record)| Line {
        name,
        points: record.time_line,
    };
    let mut lines = vec![line(("measured", measured))];
    lines.extend(heading.zip(baseline).map(line));
    let (what, unit) = about.time_line;
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
