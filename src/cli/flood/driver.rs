//! Runs a scenario: rounds against the server and what it is compared with, in turn, and a report.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::bare::Task;
use super::event_loop::EventLoop;
use super::frames::Names;
use super::http_readers::{HttpReaders, Tally};
use super::report::{Columns, Report};
use super::stop::{Halt, StopSignal};
use super::target::Target;
use super::usage::{Memory, Process};
use crate::reactor::Handler;

/// What differs between scenarios.
pub(crate) trait Scenario {
    /// The measurements of all rounds against one server.
    type Outcome: Default;

    fn name(&self) -> &'static str;

    /// Names what the bare server does.
    fn bare_name(&self) -> &'static str;

    /// Names what the server is compared with where there is no bare one: itself with a part of the
    /// load left out.
    fn relieved_name(&self) -> Option<&'static str> {
        None
    }

    /// Runs one round. What is in `outcome` if it is stopped is reported.
    fn run(&mut self, round: &mut Round<'_>, outcome: &mut Self::Outcome) -> Result<(), Halt>;

    /// What the bare server has to do in its next round: what the measured one did.
    fn bare_task(&self) -> Result<Task, Halt>;

    fn has_figures(outcome: &Self::Outcome) -> bool;

    fn settings(&self) -> Vec<(&'static str, String)>;

    fn report(&self, columns: &mut Columns<'_, Self::Outcome>);
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
    pub(crate) fn is_bare(&self) -> bool {
        self.subject == Subject::Bare
    }

    /// CPU time of the server once it is at rest, if its process is known.
    pub(crate) fn cpu<H: Handler>(&mut self, handler: &mut H) -> Result<Option<Duration>, Halt> {
        self.events.settled_cpu(self.process, handler)
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        self.process?.memory().ok()
    }
}

pub(crate) struct Driver {
    target: Target,
    events: EventLoop,
}

impl Driver {
    /// For at most `connections` at a time.
    pub(crate) fn new(
        target: Target,
        connections: usize,
        timeout: Duration,
        stop: StopSignal,
    ) -> Result<Driver, Halt> {
        let events = EventLoop::new(connections, timeout, stop)?;
        Ok(Driver { target, events })
    }

    /// Names that no other run uses.
    pub(crate) fn names(&mut self) -> Names {
        Names::new(self.events.net().random())
    }

    /// Runs all rounds, or as many as are over when the run is stopped, and reports.
    pub(crate) fn run<S: Scenario>(mut self, mut scenario: S, rounds: u32) -> Result<Report, Halt> {
        let (other, heading) = match (&self.target.bare, self.target.http) {
            (Some(_), _) => (Some(Subject::Bare), Some(scenario.bare_name())),
            (None, Some(_)) => (Some(Subject::Relieved), Some("no readers")),
            (None, None) => {
                let relieved = scenario.relieved_name();
                (relieved.and(Some(Subject::Relieved)), relieved)
            }
        };
        let mut measured = S::Outcome::default();
        let mut baseline = S::Outcome::default();
        let mut read = Tally::default();
        let bar = progress_bar(scenario.name(), rounds);
        let ended = (0..rounds).try_for_each(|round| {
            // The baseline does what the server did in the first round. Later the order is drawn by
            // lot, so that neither always has the other's leftovers.
            let mut subjects = vec![Subject::Server];
            subjects.extend(other);
            if round > 0 && self.events.net().random().is_multiple_of(2) {
                subjects.reverse();
            }
            for subject in subjects {
                let outcome = match subject {
                    Subject::Server => &mut measured,
                    Subject::Relieved | Subject::Bare => &mut baseline,
                };
                self.round(&mut scenario, subject, outcome, &mut read)?;
            }
            bar.inc(1);
            Ok(())
        });
        let done = bar.position();
        drop(bar);
        match ended {
            Err(Halt::Stopped) if S::has_figures(&measured) => {}
            other => other?,
        }
        let baseline = Some(&baseline).filter(|outcome| S::has_figures(outcome));
        let mut report = Report {
            command: scenario.name(),
            settings: scenario.settings(),
            baseline: heading.filter(|_| baseline.is_some()),
            ..Report::default()
        };
        scenario.report(&mut Columns {
            report: &mut report,
            measured: &measured,
            baseline,
        });
        if let Some(http) = self.target.http {
            report
                .settings
                .push(("HTTP readers", http.readers.to_string()));
            read.report(&mut report);
        }
        if done < u64::from(rounds) {
            report.notes.push(format!(
                "stopped after {done} of {rounds} rounds: totals are of less than was asked for, \
                 and not of as much in each column"
            ));
        }
        self.target.report(&mut report);
        Ok(report)
    }

    fn round<S: Scenario>(
        &mut self,
        scenario: &mut S,
        subject: Subject,
        outcome: &mut S::Outcome,
        read: &mut Tally,
    ) -> Result<(), Halt> {
        let target = &mut self.target;
        let (to, process) = match &mut target.bare {
            Some(server) if subject == Subject::Bare => {
                server.set_task(&scenario.bare_task()?)?;
                (server.addr, Some(server.process()))
            }
            _ => (target.addr, target.process),
        };
        let http = target.http.filter(|_| subject == Subject::Server);
        let readers = http.map(HttpReaders::start).transpose()?;
        let ended = scenario.run(
            &mut Round {
                events: &mut self.events,
                to,
                sources: &target.plan.sources,
                subject,
                process,
            },
            outcome,
        );
        if let Some(readers) = readers {
            read.add(readers.stop()?);
        }
        ended
    }
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
