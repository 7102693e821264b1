//! Results of the rounds against one server.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::bare::Task;
use super::group::Group;

pub(crate) type Point = (f64, f64);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Count,
    PerSecond,
    /// A share of a whole.
    Share,
}

impl Unit {
    /// Formats with three significant digits, integers without a fraction.
    pub(crate) fn format(self, value: f64) -> String {
        const KIB: f64 = 1024.0;
        const MIB: f64 = KIB * KIB;
        let sizes = match self {
            Unit::Seconds => [(1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")],
            Unit::Bytes => [
                (KIB * MIB, " GiB"),
                (MIB, " MiB"),
                (KIB, " KiB"),
                (1.0, " B"),
            ],
            Unit::Count => [(1.0, ""); 4],
            Unit::PerSecond => [(1.0, "/s"); 4],
            Unit::Share => [(0.01, " %"); 4],
        };
        // Chooses the largest unit with a digit before the point, or the smallest one.
        let [.., smallest] = sizes;
        let fitting = sizes.into_iter().find(|(size, _)| value.abs() >= *size);
        let (size, name) = fitting.unwrap_or(smallest);
        let value = value / size;
        let is_integer = (value - value.round()).abs() < 1e-9;
        let digits = match value.abs() {
            value if is_integer || value >= 100.0 => 0,
            value if value >= 10.0 => 1,
            _ => 2,
        };
        format!("{value:.digits$}{name}")
    }
}

/// Method of merging the values of all rounds into one figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Merge {
    Least,
    Median,
    Most,
    Mean,
    Sum,
}

impl Merge {
    /// Merges values. Returns `None` if there are none.
    fn merge(self, values: &[f64]) -> Option<f64> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let sum: f64 = values.iter().sum();
        match self {
            Merge::Least => values.first().copied(),
            Merge::Median => values.get(values.len() / 2).copied(),
            Merge::Most => values.last().copied(),
            Merge::Mean => (!values.is_empty()).then_some(sum / values.len() as f64),
            Merge::Sum => (!values.is_empty()).then_some(sum),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Data {
    Values(Unit, Merge, Vec<f64>),
    Times(Times),
}

impl Data {
    /// Returns figures, each with the suffix of its row's name.
    pub(crate) fn figures(&self) -> Vec<(&'static str, Unit, Option<f64>)> {
        const PERCENTILES: [(&str, f64); 5] = [
            (", p50", 50.0),
            (", p90", 90.0),
            (", p99", 99.0),
            (", p99.9", 99.9),
            (", max", 100.0),
        ];
        match self {
            Data::Values(unit, merge, values) => vec![("", *unit, merge.merge(values))],
            Data::Times(Times(times)) => {
                let seconds = |percentile| seconds(times.value_at_percentile(percentile));
                let value = |percentile| (!times.is_empty()).then(|| seconds(percentile));
                let figure = |(suffix, percentile)| (suffix, Unit::Seconds, value(percentile));
                PERCENTILES.map(figure).to_vec()
            }
        }
    }

    /// Returns points that become denser towards the slowest, or `None` if there are no times.
    pub(crate) fn curve(&self) -> Option<Vec<Point>> {
        let Data::Times(Times(times)) = self else {
            return None;
        };
        let steps = times.iter_quantiles(5);
        let points = steps.map(|step| {
            let percentile = step.quantile_iterated_to() * 100.0;
            (percentile, seconds(step.value_iterated_to()))
        });
        let mut points: Vec<Point> = points.collect();
        points.dedup();
        (!times.is_empty()).then_some(points)
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) data: Data,
}

#[derive(Default, Debug)]
pub(crate) struct Record {
    /// Rows, in the order in which they were first recorded.
    pub(crate) rows: Vec<Row>,
    pub(crate) time_line: Vec<Point>,
    /// Length of the rounds on the time line.
    elapsed: Duration,
    pub(crate) notes: Vec<String>,
    /// Task with which a bare server repeats a round.
    pub(crate) bare_task: Option<Task>,
}

impl Record {
    pub(crate) fn find(&self, name: &str) -> Option<&Data> {
        let row = self.rows.iter().find(|row| row.name == name);
        row.map(|row| &row.data)
    }

    /// Returns the figure of a row with one value for all rounds.
    pub(crate) fn value_of(&self, name: &str) -> Option<f64> {
        let [(_, _, value)] = *self.find(name)?.figures() else {
            return None;
        };
        value
    }

    fn row(&mut self, group: Group, name: &'static str, empty: Data) -> Option<&mut Data> {
        if self.find(name).is_none() {
            self.rows.push(Row {
                name,
                group,
                data: empty,
            });
        }
        let row = self.rows.iter_mut().find(|row| row.name == name);
        row.map(|row| &mut row.data)
    }

    /// Adds the value of a round; without a value, only the row.
    fn value(
        &mut self,
        group: Group,
        name: &'static str,
        unit: Unit,
        merge: Merge,
        value: Option<f64>,
    ) {
        let row = self.row(group, name, Data::Values(unit, merge, Vec::new()));
        if let Some(Data::Values(_, _, values)) = row {
            values.extend(value);
        }
    }

    /// Adds a time that a client waited.
    pub(crate) fn time(&mut self, name: &'static str, merge: Merge, time: Option<Duration>) {
        let seconds = time.map(|time| time.as_secs_f64());
        self.value(Group::Latency, name, Unit::Seconds, merge, seconds);
    }

    /// Adds CPU time of the server.
    pub(crate) fn cpu(&mut self, name: &'static str, merge: Merge, time: Option<Duration>) {
        let seconds = time.map(|time| time.as_secs_f64());
        self.value(Group::Cpu, name, Unit::Seconds, merge, seconds);
    }

    /// Adds a share of the time, of which the mean is reported.
    pub(crate) fn share(&mut self, name: &'static str, share: f64) {
        self.value(Group::Cpu, name, Unit::Share, Merge::Mean, Some(share));
    }

    /// Adds a number of events per second.
    pub(crate) fn rate(&mut self, name: &'static str, merge: Merge, rate: f64) {
        self.value(Group::Throughput, name, Unit::PerSecond, merge, Some(rate));
    }

    /// Adds a number of messages or bytes, of which the mean is reported.
    pub(crate) fn traffic(&mut self, name: &'static str, unit: Unit, value: Option<f64>) {
        self.value(Group::Traffic, name, unit, Merge::Mean, value);
    }

    /// Adds memory of the server, of which the most is reported.
    pub(crate) fn memory(&mut self, name: &'static str, bytes: Option<f64>) {
        self.value(Group::Memory, name, Unit::Bytes, Merge::Most, bytes);
    }

    /// Adds a count, which is summed over all rounds.
    pub(crate) fn count(&mut self, name: &'static str, count: usize) {
        let count = Some(count as f64);
        self.value(Group::Counts, name, Unit::Count, Merge::Sum, count);
    }

    /// Adds times that clients waited, for which percentiles are reported.
    pub(crate) fn times(&mut self, name: &'static str, more: &Times) {
        let empty = Data::Times(Times::default());
        if let Some(Data::Times(times)) = self.row(Group::Latency, name, empty) {
            // Adding cannot fail: the histogram resizes itself.
            times.0.add(&more.0).ok();
        }
    }

    /// Adds a line to the report, once.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Appends a round to the time line. The times of its points start at its beginning.
    pub(crate) fn extend_time_line(&mut self, points: &[Point], length: Duration) {
        let before = self.elapsed.as_secs_f64();
        let points = points.iter().map(|(at, value)| (before + at, *value));
        self.time_line.extend(points);
        self.elapsed += length;
    }
}

/// A histogram of times, in nanoseconds to three digits.
#[derive(Debug)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new(3).unwrap_or_else(|_| unreachable!("at most five digits are allowed")))
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(all: T) -> Times {
        let mut times = Times::default();
        all.into_iter().for_each(|time| times.record(time));
        times
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.record(nanos.max(1)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_values_with_their_units() {
        for (unit, value, text) in [
            (Unit::Seconds, 0.0, "0 ns"),
            (Unit::Seconds, 0.000_012_34, "12.3 µs"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 61.0, "61 s"),
            (Unit::Bytes, 512.0, "512 B"),
            (Unit::Bytes, 1536.0, "1.50 KiB"),
            (Unit::Bytes, 3_145_728.0, "3 MiB"),
            (Unit::Count, 2.333, "2.33"),
            (Unit::PerSecond, 12_345.6, "12346/s"),
            (Unit::Share, 0.123_4, "12.3 %"),
        ] {
            assert_eq!(unit.format(value), text);
        }
    }

    #[test]
    fn merges_the_values_of_all_rounds() {
        let values = [3.0, 1.0, 5.0, 1.0];
        for (merge, merged) in [
            (Merge::Least, 1.0),
            (Merge::Median, 3.0),
            (Merge::Most, 5.0),
            (Merge::Mean, 2.5),
            (Merge::Sum, 10.0),
        ] {
            assert_eq!(merge.merge(&values), Some(merged));
            assert_eq!(merge.merge(&[]), None);
        }
    }
}
