//! What came of churn, and how it is told.

use std::time::Duration;

use super::load::Load;
use crate::cli::flood::format::Unit;
use crate::cli::flood::report::{Line, Report, TimeLine, Times, times};

/// What came of all slices of one kind.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) to_each: Times,
    pub(super) to_last: Times,
    /// What one join and one leave took of the server's processors at least.
    pub(super) join_cpu: Option<Duration>,
    pub(super) leave_cpu: Option<Duration>,
    /// How long single joins took to the last watcher.
    pub(super) alone: Vec<Duration>,
    /// What all of the schedule took.
    pub(super) cpu: Duration,
    pub(super) joins: usize,
    pub(super) told_of_all: usize,
    pub(super) bytes: u64,
    pub(super) updates: u64,
    pub(super) time: Duration,
    pub(super) resident_bytes: u64,
    /// Watchers that did not read, and had no connection any more in the end.
    pub(super) cut: usize,
    pub(super) gaps: u64,
    /// Seconds into the schedule, and seconds to the last watcher.
    pub(super) time_line: Vec<(f64, f64)>,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome {
            to_each: times(),
            to_last: times(),
            join_cpu: None,
            leave_cpu: None,
            alone: Vec::new(),
            cpu: Duration::ZERO,
            joins: 0,
            told_of_all: 0,
            bytes: 0,
            updates: 0,
            time: Duration::ZERO,
            resident_bytes: 0,
            cut: 0,
            gaps: 0,
            time_line: Vec::new(),
        }
    }
}

pub(super) fn figures(report: &mut Report, load: &Load, ours: &Outcome, other: Option<&Outcome>) {
    let none = times();
    report.latencies(
        "join to each watcher",
        &ours.to_each,
        Some(other.map_or(&none, |other| &other.to_each)),
    );
    report.latencies(
        "join to the last watcher",
        &ours.to_last,
        Some(other.map_or(&none, |other| &other.to_last)),
    );
    let mut time = |name: &str, of: &dyn Fn(&Outcome) -> Option<Duration>| {
        report.time(name, of(ours), other.and_then(of));
    };
    time("one join alone to the last watcher, least", &|outcome| {
        outcome.alone.iter().min().copied()
    });
    time("one join alone to the last watcher, median", &|outcome| {
        median(&outcome.alone)
    });
    time("server CPU for one join alone", &|outcome| outcome.join_cpu);
    time("server CPU for one leave alone", &|outcome| {
        outcome.leave_cpu
    });
    let mut figure = |name: &str, unit: Unit, of: &dyn Fn(&Outcome) -> f64| {
        let value = |outcome: &Outcome| Some(of(outcome)).filter(|value| value.is_finite());
        report.figure(name, unit, value(ours), other.and_then(value));
    };
    // Each join is followed by a leave.
    let changes = |outcome: &Outcome| 2.0 * outcome.joins as f64;
    let watchers = load.watchers as f64;
    figure(
        "server CPU for a change under churn",
        Unit::Seconds,
        &|outcome| match outcome.cpu.is_zero() {
            true => f64::NAN,
            false => outcome.cpu.as_secs_f64() / changes(outcome),
        },
    );
    figure(
        "updates to a watcher for a change",
        Unit::Count,
        &|outcome| outcome.updates as f64 / watchers / changes(outcome),
    );
    figure("bytes to a watcher for a change", Unit::Bytes, &|outcome| {
        outcome.bytes as f64 / watchers / changes(outcome)
    });
    figure("joins all watchers were told of", Unit::Count, &|outcome| {
        outcome.told_of_all as f64
    });
    figure("joins a second", Unit::PerSecond, &|outcome| {
        outcome.joins as f64 / outcome.time.as_secs_f64()
    });
    if load.stuck > 0 {
        figure("stuck watchers cut, all rounds", Unit::Count, &|outcome| {
            outcome.cut as f64
        });
    }
    figure(
        "server memory, resident",
        Unit::Bytes,
        &|outcome| match outcome.resident_bytes {
            0 => f64::NAN,
            bytes => bytes as f64,
        },
    );
    if ours.gaps > 0 {
        report.notes.push(format!(
            "{} changes did not follow from what their watcher had: the server lost some",
            ours.gaps
        ));
    }
    let named = [
        ("Distributor", Some(ours)),
        (report.baseline.unwrap_or_default(), other),
    ];
    report.time_line = Some(TimeLine {
        what: "from a join to the last watcher",
        unit: Some(Unit::Seconds),
        lines: named
            .into_iter()
            .filter_map(|(name, outcome)| {
                Some(Line {
                    name: name.to_owned(),
                    points: outcome?.time_line.clone(),
                })
            })
            .collect(),
    });
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}
