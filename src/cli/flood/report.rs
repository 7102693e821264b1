//! The report of a run: figures with those of the baseline, percentile curves and a time line.

use serde::{Serialize, Serializer};

use super::group::Group;
use super::provenance::Provenance;
use super::record::{Data, Point, Record, Row, Unit};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::terminal::Terminal;

#[derive(Default, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: &'static str,
    pub(crate) provenance: Provenance,
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
    pub(crate) group: Group,
    unit: Unit,
    value: Option<f64>,
    baseline: Option<f64>,
    /// Value divided by the baseline; 1 if both are zero. Infinite, and `null` in JSON, if only the
    /// baseline is zero.
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
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

impl Report {
    /// Adds the rows and curves of a record, and those of the baseline with the same names.
    pub(crate) fn add(&mut self, measured: &Record, baseline: Option<&Record>) {
        for Row { name, group, data } in &measured.rows {
            let baseline = baseline.and_then(|baseline| baseline.find(name));
            let mut baselines = baseline.map(Data::figures).unwrap_or_default().into_iter();
            for (suffix, unit, value) in data.figures() {
                let baseline = baselines.next().and_then(|(.., value)| value);
                let name = format!("{name}{suffix}");
                self.figure(*group, name, unit, [value, baseline]);
            }
            self.curves.extend(data.curve().map(|points| Curve {
                name,
                seconds_by_percentile: points,
                baseline: baseline.and_then(Data::curve),
            }));
        }
    }

    /// Adds a row with the value and that of the baseline, unless both are missing.
    pub(crate) fn figure(
        &mut self,
        group: Group,
        name: impl Into<String>,
        unit: Unit,
        values: [Option<f64>; 2],
    ) {
        let [value, baseline] = values;
        let both = value.zip(baseline);
        let figure = Figure {
            name: name.into(),
            group,
            unit,
            value,
            baseline,
            ratio: both.map(|(value, by)| if value == by { 1.0 } else { value / by }),
        };
        self.figures.extend(value.or(baseline).map(|_| figure));
    }

    pub(crate) fn settings_line(&self) -> String {
        let setting = |(name, value): &(&str, String)| format!("{name} {value}");
        let settings: Vec<_> = self.settings.iter().map(setting).collect();
        settings.join(", ")
    }

    /// Returns the headings of all columns, the one of the names first.
    pub(crate) fn headings(&self) -> Vec<String> {
        let baseline = self.baseline.unwrap_or_default();
        let headings = [self.command, "measured", baseline, "ratio"];
        self.row(headings.map(str::to_owned))
    }

    /// Returns the name and the values of a figure as text.
    pub(crate) fn cells(&self, figure: &Figure) -> Vec<String> {
        let value = |value: Option<f64>| value.map_or("-".to_owned(), |at| figure.unit.format(at));
        let ratio = match figure.ratio {
            None => "-".to_owned(),
            Some(ratio) if ratio.is_infinite() => "∞".to_owned(),
            Some(ratio) => format!("{ratio:.2}×"),
        };
        let name = figure.name.clone();
        self.row([name, value(figure.value), value(figure.baseline), ratio])
    }

    /// Returns the cells that a row has, which depends on the baseline.
    fn row(&self, cells: [String; 4]) -> Vec<String> {
        let columns = if self.baseline.is_some() { 4 } else { 2 };
        cells.into_iter().take(columns).collect()
    }

    pub(crate) fn text(&self, terminal: Terminal) -> String {
        let figures = self.figures.iter().map(|figure| self.cells(figure));
        let rows = [self.headings()].into_iter().chain(figures);
        let table = Table {
            rows: rows
                .map(|row| row.into_iter().map(Cell::from).collect())
                .collect(),
            align: Align::FiguresRight,
            shrinks: &[(0, 24)],
        };
        let table = table.format(terminal);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_ratios_to_zero() {
        let mut report = Report {
            baseline: Some("bare"),
            ..Report::default()
        };
        let counts = Group::Counts;
        report.figure(counts, "lost", Unit::Count, [Some(0.0), Some(0.0)]);
        report.figure(counts, "cut", Unit::Count, [Some(3.0), Some(0.0)]);
        report.figure(counts, "sent", Unit::Count, [Some(5.0), Some(4.0)]);
        report.figure(counts, "nothing", Unit::Count, [None, None]);
        let ratio = |figure| report.cells(figure)[3].clone();
        let ratios: Vec<_> = report.figures.iter().map(ratio).collect();
        assert_eq!(ratios, ["1.00×", "∞", "1.25×"]);
    }
}
