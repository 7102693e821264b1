//! A chart as HTML: lines that stretch with the page, and labels that do not.

use serde::Serialize;

use super::escape::escape;
use super::record::{Point, Unit};
use super::report::{Curve, TimeLine};

/// Width and height of the drawing, which the page stretches.
const EXTENT: f64 = 1000.0;

/// Draws times over percentiles. 0, 90, 99 and 99.9 % are equally far apart.
pub(crate) fn percentiles(curve: &Curve, baseline: Option<&str>) -> String {
    const TICKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let place = |percentile: f64| (1.0 - percentile / 100.0).max(1e-6).log10().abs();
    let samples = |points: &[Point]| {
        let mut last = 0.0;
        let samples = points.iter().map(|(percentile, time)| {
            // 100 % is infinitely far away: it is drawn slightly beyond the others.
            last = if *percentile < 100.0 {
                place(*percentile)
            } else {
                last + 0.1
            };
            Sample {
                at: last,
                value: *time,
                label: percent(*percentile),
            }
        });
        samples.collect()
    };
    let mut series = vec![Series {
        name: "measured",
        samples: samples(&curve.seconds_by_percentile),
    }];
    let baseline = baseline.zip(curve.baseline.as_ref());
    series.extend(baseline.map(|(name, points)| Series {
        name,
        samples: samples(points),
    }));
    Chart {
        title: format!("{}, by percentile", curve.name),
        ticks: TICKS.map(|at| (place(at), percent(at))).to_vec(),
        unit: Unit::Seconds,
        style: "line",
        series,
    }
    .html()
}

/// Draws values over the time of a run.
pub(crate) fn time_line(time_line: &TimeLine) -> String {
    let series = time_line.lines.iter().map(|line| {
        let samples = line.points.iter().map(|(at, value)| Sample {
            at: *at,
            value: *value,
            label: label(Unit::Seconds, *at),
        });
        Series {
            name: line.name,
            samples: samples.collect(),
        }
    });
    let series: Vec<_> = series.collect();
    let ticks = ticks(largest(&series, |sample| sample.at)).into_iter();
    // Latencies of single events are dots.
    let is_latency = time_line.unit == Unit::Seconds;
    Chart {
        title: format!("Time line: {}", time_line.what),
        ticks: ticks.map(|at| (at, label(Unit::Seconds, at))).collect(),
        unit: time_line.unit,
        style: if is_latency { "dots" } else { "line" },
        series,
    }
    .html()
}

struct Chart<'a> {
    title: String,
    /// Places on the horizontal axis, and their labels.
    ticks: Vec<(f64, String)>,
    /// Unit of the vertical axis.
    unit: Unit,
    /// Class of the lines.
    style: &'static str,
    series: Vec<Series<'a>>,
}

struct Series<'a> {
    name: &'a str,
    samples: Vec<Sample>,
}

struct Sample {
    at: f64,
    value: f64,
    /// Text for `at`.
    label: String,
}

/// A series as the script of the page reads it.
#[derive(Serialize)]
struct Plotted<'a> {
    name: &'a str,
    /// Shares of the width and of the height, in thousandths, and the texts for both.
    points: Vec<(f64, f64, &'a str, String)>,
}

impl Chart<'_> {
    /// Formats the chart. One without any value above zero is empty.
    fn html(&self) -> String {
        let width = largest(&self.series, |sample| sample.at);
        let height = largest(&self.series, |sample| sample.value);
        if width <= 0.0 || height <= 0.0 {
            return String::new();
        }
        let x = |at: f64| at / width * EXTENT;
        let y = |value: f64| value / height * EXTENT;
        let mut labels = String::new();
        let mut lines = String::new();
        for value in ticks_in(self.unit, height) {
            let text = label(self.unit, value);
            let share = y(value) / EXTENT * 100.0;
            labels += &format!("<span class=\"y\" style=\"bottom:{share:.1}%\">{text}</span>\n");
            let from_top = EXTENT - y(value);
            lines += &format!("<path class=\"grid\" d=\"M0 {from_top:.1}h{EXTENT}\"/>\n");
        }
        for (at, text) in self.ticks.iter().filter(|(at, _)| *at <= width) {
            let share = x(*at) / EXTENT * 100.0;
            labels += &format!("<span class=\"x\" style=\"left:{share:.1}%\">{text}</span>\n");
        }
        // A line without length is drawn as a dot.
        let step = if self.style == "dots" { "h0M" } else { "L" };
        let mut keys = String::new();
        let mut plotted = Vec::new();
        for (Series { name, samples }, class) in self.series.iter().zip(["first", "second"]) {
            keys += &format!("<span class=\"key {class}\">{}</span>\n", escape(name));
            let points = samples.iter().map(|sample| {
                let from_top = EXTENT - y(sample.value);
                format!("{:.1} {from_top:.1}", x(sample.at))
            });
            let points = points.collect::<Vec<_>>().join(step);
            if !points.is_empty() {
                lines += &format!(
                    "<path class=\"{} {class}\" d=\"M{points}h0\"/>\n",
                    self.style
                );
            }
            let points = samples.iter().map(|sample| {
                let value = self.unit.format(sample.value);
                let [x, y] = [x(sample.at), y(sample.value)].map(rounded);
                (x, y, &*sample.label, value)
            });
            plotted.push(Plotted {
                name,
                points: points.collect(),
            });
        }
        // Without "<", no text can end the element that contains it.
        let data = serde_json::to_string(&plotted).unwrap_or_default();
        let data = data.replace('<', "\\u003c");
        let title = escape(&self.title);
        format!(
            "<figure>\n<figcaption>\n<h2>{title}</h2>\n<p>{keys}</p>\n</figcaption>\n\
             <div class=\"plot\">\n\
             <svg viewBox=\"0 0 {EXTENT} {EXTENT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{title}\">\n{lines}</svg>\n{labels}\
             <script type=\"application/json\">{data}</script>\n</div>\n</figure>\n"
        )
    }
}

fn rounded(share: f64) -> f64 {
    (share * 10.0).round() / 10.0
}

fn label(unit: Unit, value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else {
        unit.format(value)
    }
}

fn percent(percentile: f64) -> String {
    let rounded = (percentile * 1e4).round() / 1e4;
    format!("{rounded}%")
}

fn largest(series: &[Series<'_>], coordinate: impl Fn(&Sample) -> f64) -> f64 {
    let samples = series.iter().flat_map(|series| &series.samples);
    samples.map(coordinate).fold(0.0, f64::max)
}

/// Returns at most six values from 0 to `most` that are round when they are formatted.
fn ticks_in(unit: Unit, most: f64) -> Vec<f64> {
    let scale = match unit {
        Unit::Bytes => 1024_f64.powf(most.log(1024.0).floor()),
        _ => 1.0,
    };
    let ticks = ticks(most / scale).into_iter();
    ticks.map(|tick| tick * scale).collect()
}

/// Returns at most six round numbers from 0 to `most`.
fn ticks(most: f64) -> Vec<f64> {
    let magnitude = 10_f64.powf((most / 5.0).log10().floor());
    let mut steps = [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * magnitude)
        .into_iter();
    let step = steps.find(|step| *step >= most / 5.0).unwrap_or(most);
    let ticks = (0..=5).map(|count| f64::from(count) * step);
    ticks.filter(|at| *at <= most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.0), [0.0; 6]);
        let bytes = ticks_in(Unit::Bytes, 9_600_000.0).into_iter();
        let bytes: Vec<_> = bytes.map(|at| label(Unit::Bytes, at)).collect();
        assert_eq!(bytes, ["0", "2 MiB", "4 MiB", "6 MiB", "8 MiB"]);
    }

    #[test]
    fn percentiles_have_few_digits() {
        assert_eq!(percent(99.0), "99%");
        assert_eq!(percent(99.902_343_75), "99.9023%");
        assert_eq!(percent(100.0 * 0.7), "70%");
    }

    #[test]
    fn text_cannot_end_the_data() {
        let points = vec![(50.0, 0.001), (100.0, 0.002)];
        let curve = Curve {
            name: "a",
            seconds_by_percentile: points.clone(),
            baseline: Some(points),
        };
        let html = percentiles(&curve, Some("</script>"));
        assert_eq!(html.matches("</script>").count(), 1, "{html}");
    }
}
