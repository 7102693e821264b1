//! Results of a run: figures beside those of the baseline, percentile curves and a time line.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

use super::format::{Unit, ratio};
use crate::cli::table::{Align, aligned};

const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

#[derive(Default, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: &'static str,
    #[serde(serialize_with = "as_map")]
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Heading of the second column, if there is one.
    pub(crate) baseline: Option<&'static str>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) time_line: Option<TimeLine>,
    pub(crate) notes: Vec<String>,
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) value: Option<f64>,
    pub(crate) baseline: Option<f64>,
    /// The value divided by the baseline; 1 if both are zero. Infinite, and `null` in JSON, if only
    /// the baseline is zero.
    pub(crate) ratio: Option<f64>,
}

/// Seconds or percent, and a value.
pub(crate) type Point = (f64, f64);

/// A distribution of times.
#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) seconds_by_percentile: Vec<Point>,
    pub(crate) baseline: Option<Vec<Point>>,
}

/// Values over the time of a run.
#[derive(Debug, Serialize)]
pub(crate) struct TimeLine {
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Seconds since the start, and the value.
    pub(crate) points: Vec<Point>,
}

/// A histogram of times, in nanoseconds to three digits.
#[derive(Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new(3).unwrap_or_else(|_| unreachable!("at most five digits are allowed")))
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // The histogram resizes itself.
        self.0.record(nanos.max(1)).ok();
    }

    pub(crate) fn add(&mut self, others: &Times) {
        self.0.add(&others.0).ok();
    }

    fn at(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percentile))
    }

    /// Points that become denser towards the slowest.
    fn curve(&self) -> Vec<Point> {
        let steps = self.0.iter_quantiles(5);
        let mut points: Vec<Point> = steps
            .map(|step| {
                let value = Duration::from_nanos(step.value_iterated_to());
                (step.quantile_iterated_to() * 100.0, value.as_secs_f64())
            })
            .collect();
        points.dedup();
        points
    }
}

impl Report {
    /// Adds a row, unless it has no value at all.
    pub(crate) fn figure(
        &mut self,
        name: &str,
        unit: Unit,
        value: Option<f64>,
        baseline: Option<f64>,
    ) {
        if value.is_none() && baseline.is_none() {
            return;
        }
        let both = value.zip(baseline);
        self.figures.push(Figure {
            name: name.to_owned(),
            unit,
            value,
            baseline,
            ratio: both.map(|(value, by)| if value == by { 1.0 } else { value / by }),
        });
    }

    /// The settings as text.
    pub(crate) fn settings_line(&self) -> String {
        let settings = self.settings.iter();
        let settings: Vec<_> = settings
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        settings.join(", ")
    }

    /// All cells as text, the headings first.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let heading = [
            self.command,
            "measured",
            self.baseline.unwrap_or_default(),
            "ratio",
        ];
        let figures = self.figures.iter().map(|figure| {
            let text = |value: Option<f64>| value.map(|value| figure.unit.format(value));
            let cells = [
                text(figure.value),
                text(figure.baseline),
                figure.ratio.map(ratio),
            ];
            let cells = cells.map(|cell| cell.unwrap_or("-".to_owned()));
            [vec![figure.name.clone()], cells.to_vec()].concat()
        });
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(figures);
        if self.baseline.is_none() {
            rows.iter_mut().for_each(|row| row.truncate(2));
        }
        rows
    }

    /// The whole report as text.
    pub(crate) fn text(&self) -> String {
        let table = aligned(&self.rows(), Align::FiguresRight);
        let mut text = format!("{}\n\n{table}", self.settings_line());
        for note in &self.notes {
            text += &format!("\n{note}");
        }
        text.trim().to_owned()
    }
}

fn as_map<S: Serializer>(
    settings: &[(&'static str, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(settings.iter().map(|(name, value)| (name, value)))
}

/// Adds rows to a report, each with a value of both outcomes.
pub(crate) struct Columns<'a, T> {
    pub(crate) report: &'a mut Report,
    pub(crate) measured: &'a T,
    pub(crate) baseline: Option<&'a T>,
}

impl<T> Columns<'_, T> {
    pub(crate) fn figure(&mut self, name: &str, unit: Unit, value: impl Fn(&T) -> Option<f64>) {
        let baseline = self.baseline.and_then(&value);
        self.report
            .figure(name, unit, value(self.measured), baseline);
    }

    pub(crate) fn time(&mut self, name: &str, value: impl Fn(&T) -> Option<Duration>) {
        self.figure(name, Unit::Seconds, |outcome| {
            Some(value(outcome)?.as_secs_f64())
        });
    }

    pub(crate) fn count(&mut self, name: &str, value: impl Fn(&T) -> u64) {
        self.figure(name, Unit::Count, |outcome| Some(value(outcome) as f64));
    }

    /// Adds percentiles as rows, and the whole distribution as a curve.
    pub(crate) fn latencies(&mut self, name: &str, times: impl Fn(&T) -> &Times) {
        if times(self.measured).0.is_empty() {
            return;
        }
        let at = |outcome: &T, percentile| {
            let times = times(outcome);
            (!times.0.is_empty()).then(|| times.at(percentile))
        };
        for percentile in PERCENTILES {
            let name = format!("{name}, p{percentile}");
            self.time(&name, |outcome| at(outcome, percentile));
        }
        self.time(&format!("{name}, max"), |outcome| at(outcome, 100.0));
        let baseline = self.baseline.map(&times);
        self.report.curves.push(Curve {
            name: name.to_owned(),
            seconds_by_percentile: times(self.measured).curve(),
            baseline: baseline
                .filter(|times| !times.0.is_empty())
                .map(Times::curve),
        });
    }

    pub(crate) fn time_line(
        &mut self,
        what: &'static str,
        unit: Unit,
        points: impl Fn(&T) -> Vec<Point>,
    ) {
        let line = |name, outcome| Line {
            name,
            points: points(outcome),
        };
        let baseline = self.report.baseline.zip(self.baseline);
        let mut lines = vec![line("measured", self.measured)];
        lines.extend(baseline.map(|(name, outcome)| line(name, outcome)));
        self.report.time_line = Some(TimeLine { what, unit, lines });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_every_figure_by_its_baseline() {
        let mut report = Report {
            command: "storm",
            baseline: Some("bare"),
            ..Report::default()
        };
        report.figure("converged", Unit::Seconds, Some(0.03), Some(0.02));
        report.figure("lists", Unit::Count, Some(2.5), None);
        report.figure("lost", Unit::Count, Some(0.0), Some(0.0));
        report.figure("cut", Unit::Count, Some(3.0), Some(0.0));
        report.figure("nothing", Unit::Count, None, None);
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "storm      measured   bare  ratio");
        assert_eq!(lines[2], "converged     30 ms  20 ms  1.50×");
        assert_eq!(lines[3], "lists          2.50      -      -");
        assert_eq!(lines[4], "lost              0      0  1.00×");
        assert_eq!(lines[5], "cut               3      0      ∞");
        assert_eq!(lines.len(), 6);

        report.baseline = None;
        assert!(!report.text().contains("ratio"));
    }

    #[test]
    fn shows_the_percentiles_of_what_was_recorded() {
        let mut times = Times::default();
        for millis in 1..=1000 {
            times.record(Duration::from_millis(millis));
        }
        let mut report = Report::default();
        let mut columns = Columns {
            report: &mut report,
            measured: &times,
            baseline: None,
        };
        columns.latencies("joined", |times| times);
        for (index, seconds) in [(0, 0.5), (2, 0.99), (4, 1.0)] {
            let value = report.figures[index].value.unwrap();
            assert!((value / seconds - 1.0).abs() < 0.01, "{value}");
        }
        let curve = &report.curves[0].seconds_by_percentile;
        assert!(curve.is_sorted_by(|one, next| one.0 <= next.0));
        assert_eq!(curve.last().unwrap().0, 100.0);
    }
}
