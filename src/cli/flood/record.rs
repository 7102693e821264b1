//! Records what rounds against one server measure.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::format::Unit;

pub(crate) type Point = (f64, f64);

const PERCENTILES: [(f64, &str); 5] = [
    (50.0, ", p50"),
    (90.0, ", p90"),
    (99.0, ", p99"),
    (99.9, ", p99.9"),
    (100.0, ", max"),
];

/// How the values of all rounds make one figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Of {
    Least,
    Median,
    Most,
    Mean,
    Sum,
}

/// Rows in the order in which they are first recorded.
#[derive(Default, Debug)]
pub(crate) struct Record {
    pub(crate) rows: Vec<(&'static str, Data)>,
    pub(crate) time_line: Vec<Point>,
    /// Where the time line of the next round begins.
    pub(crate) elapsed: Duration,
}

#[derive(Debug)]
pub(crate) enum Data {
    Values(Unit, Of, Vec<f64>),
    Times(Times),
}

impl Record {
    pub(crate) fn find(&self, name: &str) -> Option<&Data> {
        let row = self.rows.iter().find(|(row, _)| *row == name);
        row.map(|(_, data)| data)
    }

    fn data(&mut self, name: &'static str, new: impl FnOnce() -> Data) -> Option<&mut Data> {
        if self.find(name).is_none() {
            self.rows.push((name, new()));
        }
        let row = self.rows.iter_mut().find(|(row, _)| *row == name);
        row.map(|(_, data)| data)
    }

    /// Adds the row if it is new, and the value of this round if there is one.
    fn add(&mut self, name: &'static str, unit: Unit, of: Of, value: Option<f64>) {
        let data = self.data(name, || Data::Values(unit, of, Vec::new()));
        if let Some(Data::Values(_, _, values)) = data {
            values.extend(value);
        }
    }

    /// Returns whether no round before had less.
    pub(crate) fn least(&mut self, name: &'static str, time: Option<Duration>) -> bool {
        let seconds = time.map(|time| time.as_secs_f64());
        self.add(name, Unit::Seconds, Of::Least, seconds);
        let data = self.find(name);
        matches!(data, Some(Data::Values(_, of, values)) if of.all(values) == seconds)
    }

    pub(crate) fn median(&mut self, name: &'static str, time: Option<Duration>) {
        let seconds = time.map(|time| time.as_secs_f64());
        self.add(name, Unit::Seconds, Of::Median, seconds);
    }

    pub(crate) fn mean(&mut self, name: &'static str, unit: Unit, value: impl Into<Option<f64>>) {
        self.add(name, unit, Of::Mean, value.into());
    }

    pub(crate) fn most(&mut self, name: &'static str, unit: Unit, value: impl Into<Option<f64>>) {
        self.add(name, unit, Of::Most, value.into());
    }

    pub(crate) fn count(&mut self, name: &'static str, count: u64) {
        self.add(name, Unit::Count, Of::Sum, Some(count as f64));
    }

    pub(crate) fn times(&mut self, name: &'static str, more: &Times) {
        let data = self.data(name, || Data::Times(Times::default()));
        if let Some(Data::Times(times)) = data {
            // The histogram resizes itself.
            times.0.add(&more.0).ok();
        }
    }
}

impl Data {
    /// Values with what is added to the name of the row.
    pub(crate) fn figures(&self) -> Vec<(&'static str, Unit, Option<f64>)> {
        match self {
            Data::Values(unit, of, values) => vec![("", *unit, of.all(values))],
            Data::Times(times) => PERCENTILES
                .map(|(percentile, label)| (label, Unit::Seconds, times.seconds_at(percentile)))
                .to_vec(),
        }
    }

    pub(crate) fn curve(&self) -> Option<Vec<Point>> {
        match self {
            Data::Values(..) => None,
            Data::Times(times) => times.curve(),
        }
    }
}

impl Of {
    /// Returns `None` if there are no values.
    fn all(self, values: &[f64]) -> Option<f64> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let sum: f64 = values.iter().sum();
        match self {
            Of::Least => values.first().copied(),
            Of::Median => values.get(values.len() / 2).copied(),
            Of::Most => values.last().copied(),
            Of::Mean => Some(sum / values.len() as f64).filter(|mean| mean.is_finite()),
            Of::Sum => (!values.is_empty()).then_some(sum),
        }
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

    /// Returns `None` if there are no times.
    fn seconds_at(&self, percentile: f64) -> Option<f64> {
        let nanos = self.0.value_at_percentile(percentile);
        (!self.0.is_empty()).then(|| Duration::from_nanos(nanos).as_secs_f64())
    }

    /// Returns points that become denser towards the slowest, or `None` if there are no times.
    fn curve(&self) -> Option<Vec<Point>> {
        let steps = self.0.iter_quantiles(5);
        let points = steps.map(|step| {
            let value = Duration::from_nanos(step.value_iterated_to());
            (step.quantile_iterated_to() * 100.0, value.as_secs_f64())
        });
        let mut points: Vec<Point> = points.collect();
        points.dedup();
        (!self.0.is_empty()).then_some(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_rounds_make_one() {
        let values = [3.0, 1.0, 5.0, 1.0];
        let all = [Of::Least, Of::Median, Of::Most, Of::Mean, Of::Sum];
        assert_eq!(
            all.map(|of| of.all(&values)),
            [1.0, 3.0, 5.0, 2.5, 10.0].map(Some)
        );
        assert!(all.iter().all(|of| of.all(&[]).is_none()));
    }
}
