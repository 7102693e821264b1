//! What came of a run: figures, each beside its baseline, curves and a time line.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::cli::flood::format::{Unit, ratio};
use crate::cli::table::{Align, aligned};

/// All that a run found out.
#[derive(Default, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: &'static str,
    #[serde(serialize_with = "as_map")]
    pub(crate) settings: Vec<(&'static str, String)>,
    /// What the figures in the second column are of; without it there are none.
    pub(crate) baseline: Option<&'static str>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) time_line: Option<TimeLine>,
    pub(crate) notes: Vec<String>,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) value: Option<f64>,
    pub(crate) baseline: Option<f64>,
    /// The value by the baseline; of two zeros it is 1. Infinite, and `null` in JSON, where only the
    /// baseline is zero.
    pub(crate) ratio: Option<f64>,
}

/// A distribution of times, for the percentile curve.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) seconds_by_percentile: Vec<(f64, f64)>,
    pub(crate) baseline: Option<Vec<(f64, f64)>>,
}

/// What was measured when.
#[derive(Clone, Default, Debug, Serialize)]
pub(crate) struct TimeLine {
    pub(crate) what: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) lines: Vec<Line>,
}

/// One line of a time line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Seconds since the start, and the value.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Times of one kind, in nanoseconds.
pub(crate) type Times = Histogram<u64>;

/// A histogram of three digits for any time.
pub(crate) fn times() -> Times {
    // It fails only for more than five digits.
    Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are allowed"))
}

pub(crate) fn record(times: &mut Times, time: Duration) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // It grows as it must, and fails only where there is no memory.
    let _ = times.record(nanos.max(1));
}

const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

impl Report {
    pub(crate) fn new(command: &'static str) -> Report {
        Report {
            command,
            ..Report::default()
        }
    }

    pub(crate) fn setting(&mut self, name: &'static str, value: impl ToString) {
        self.settings.push((name, value.to_string()));
    }

    pub(crate) fn figure(
        &mut self,
        name: impl Into<String>,
        unit: Unit,
        value: Option<f64>,
        baseline: Option<f64>,
    ) {
        if value.is_none() && baseline.is_none() {
            return;
        }
        let ratio = value
            .zip(baseline)
            .map(|(value, baseline)| match value == baseline {
                true => 1.0,
                false => value / baseline,
            });
        self.figures.push(Figure {
            name: name.into(),
            unit,
            value,
            baseline,
            ratio,
        });
    }

    pub(crate) fn time(
        &mut self,
        name: impl Into<String>,
        value: Option<Duration>,
        baseline: Option<Duration>,
    ) {
        let seconds = |time: Duration| time.as_secs_f64();
        self.figure(
            name,
            Unit::Seconds,
            value.map(seconds),
            baseline.map(seconds),
        );
    }

    /// Says so if somebody stopped the run before all of its rounds were done.
    pub(crate) fn rounds_done(&mut self, done: u32, of: u32) {
        if done < of {
            self.notes.push(format!(
                "stopped when {done} of {of} rounds were done: totals are of less than was asked for, \
                 and not of as much in each column"
            ));
        }
    }

    /// Percentiles as rows, and all of it as a curve.
    pub(crate) fn latencies(&mut self, name: &str, times: &Times, baseline: Option<&Times>) {
        let baseline = baseline.filter(|times| !times.is_empty());
        if times.is_empty() {
            return;
        }
        for percentile in PERCENTILES {
            let at = |times: &Times| seconds(times.value_at_percentile(percentile));
            self.figure(
                format!("{name}, p{percentile}"),
                Unit::Seconds,
                Some(at(times)),
                baseline.map(at),
            );
        }
        let at_most = |times: &Times| seconds(times.max());
        self.figure(
            format!("{name}, max"),
            Unit::Seconds,
            Some(at_most(times)),
            baseline.map(at_most),
        );
        self.curves.push(Curve {
            name: name.to_owned(),
            seconds_by_percentile: curve(times),
            baseline: baseline.map(curve),
        });
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![vec![
            self.command.to_owned(),
            "measured".to_owned(),
            self.baseline.unwrap_or_default().to_owned(),
            "ratio".to_owned(),
        ]];
        for figure in &self.figures {
            let text =
                |value: Option<f64>| value.map_or("-".into(), |value| figure.unit.format(value));
            rows.push(vec![
                figure.name.clone(),
                text(figure.value),
                text(figure.baseline),
                figure.ratio.map_or("-".into(), ratio),
            ]);
        }
        if self.baseline.is_none() {
            rows.iter_mut().for_each(|row| row.truncate(2));
        }
        let mut text = String::new();
        if !self.settings.is_empty() {
            let settings = self.settings.iter();
            let said: Vec<_> = settings
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            text += &said.join(", ");
            text.push_str("\n\n");
        }
        text += &aligned(&rows, Align::FiguresRight);
        for note in &self.notes {
            text += &format!("\n{note}");
        }
        text
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

/// Denser where it matters: towards the slowest.
fn curve(times: &Times) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = times
        .iter_quantiles(5)
        .map(|step| {
            (
                step.quantile_iterated_to() * 100.0,
                seconds(step.value_iterated_to()),
            )
        })
        .collect();
    points.dedup();
    points
}

fn as_map<S: Serializer>(
    settings: &[(&'static str, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(settings.len()))?;
    for (name, value) in settings {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_with_a_baseline_has_its_ratio() {
        let mut report = Report::new("storm");
        report.baseline = Some("bare");
        report.time(
            "converged",
            Some(Duration::from_millis(30)),
            Some(Duration::from_millis(20)),
        );
        report.figure("lists", Unit::Count, Some(2.5), None);
        report.figure("lost", Unit::Count, Some(0.0), Some(0.0));
        report.figure("cut", Unit::Count, Some(3.0), Some(0.0));
        report.figure("nothing", Unit::Count, None, None);
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "storm      measured   bare  ratio");
        assert_eq!(lines[2], "converged     30 ms  20 ms  1.50×");
        assert_eq!(lines[3], "lists          2.50      -      -");
        assert_eq!(lines[4], "lost              0      0  1.00×");
        assert_eq!(lines[5], "cut               3      0      ∞");
        assert_eq!(lines.len(), 6);

        report.baseline = None;
        assert!(!report.table().contains("ratio"));
    }

    #[test]
    fn a_run_that_was_stopped_says_so() {
        let mut report = Report::new("rpc");
        report.rounds_done(5, 5);
        assert!(report.notes.is_empty());
        report.rounds_done(2, 5);
        assert!(report.table().contains("2 of 5 rounds"));
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut of_thousand = times();
        for millis in 1..=1000 {
            record(&mut of_thousand, Duration::from_millis(millis));
        }
        let mut report = Report::new("churn");
        report.latencies("joined", &of_thousand, None);
        let near = |index: usize, seconds: f64| {
            let value = report.figures[index].value.unwrap();
            assert!((value / seconds - 1.0).abs() < 0.01, "{value}");
        };
        near(0, 0.5);
        near(2, 0.99);
        near(4, 1.0);
        let curve = &report.curves[0].seconds_by_percentile;
        assert!(curve.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert_eq!(curve.last().unwrap().0, 100.0);
    }
}
