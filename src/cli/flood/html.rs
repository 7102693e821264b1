//! The report as a page that needs neither scripts nor the network.

use super::format::Unit;
use super::record::Point;
use super::report::{Curve, Report, TimeLine};

const STYLE: &str = "\
:root { color-scheme: light dark; --back: #fcfcfa; --text: #1c1c1a; --quiet: #6b6b66; --line: #d9d9d2; \
--first: #0b63b5; --second: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --back: #17181a; --text: #e8e8e4; --quiet: #9a9a94; \
--line: #35373a; --first: #6db3f2; --second: #f0955c; } }
body { background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; \
max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { font-weight: 600; line-height: 1.2; } h2 { margin-top: 2.5rem; font-size: 1.15rem; }
p { color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--quiet); } .grid { stroke: var(--line); }
.series { fill: none; stroke-width: 2; stroke-linejoin: round; }
.first { stroke: var(--first); } .second { stroke: var(--second); }
.key.first { color: var(--first); } .key.second { color: var(--second); }
.key { margin-right: 1.2rem; } .key::before { content: '━ '; }
circle.first { fill: var(--first); } circle.second { fill: var(--second); }
";

/// Returns the whole page.
pub(crate) fn page(report: &Report) -> String {
    let title = format!("flood {}", report.command);
    let settings = escape(&report.settings_line());
    let rows = report
        .rows()
        .into_iter()
        .zip(["th"].into_iter().chain(std::iter::repeat("td")));
    let rows = lines(rows.map(|(cells, tag)| {
        let cells = cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    }));
    let notes = lines(
        report
            .notes
            .iter()
            .map(|note| format!("<p>{}</p>", escape(note))),
    );
    let curves = report
        .curves
        .iter()
        .map(|curve| percentiles(curve, report.baseline));
    let charts = curves.chain(report.time_line.as_ref().map(time));
    let charts = lines(charts.filter_map(|chart| chart.draw()));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<h1>{title}</h1>\n<p>{settings}</p>\n\
         <div class=\"wide\">\n<table>\n{rows}</table>\n</div>\n{notes}{charts}"
    )
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

fn escape(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Percentiles to the right, each step a tenth of what is left to 100, and times upwards.
fn percentiles<'a>(curve: &'a Curve, baseline: Option<&'a str>) -> Chart<'a> {
    const TICKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let place = |percentile: f64| (1.0 - percentile / 100.0).max(1e-6).log10().abs();
    let on_axis = |points: &[Point]| {
        let mut last = 0.0;
        let places = points.iter().map(|(percentile, seconds)| {
            // 100 % is infinitely far away: it is drawn a bit beyond the others.
            last = if *percentile < 100.0 {
                place(*percentile)
            } else {
                last + 0.1
            };
            (last, *seconds)
        });
        places.collect()
    };
    let mut series = vec![("measured", on_axis(&curve.seconds_by_percentile))];
    let baseline = baseline.zip(curve.baseline.as_ref());
    series.extend(baseline.map(|(name, points)| (name, on_axis(points))));
    Chart {
        title: format!("{}, by percentile", curve.name),
        width: largest(&series, |point| point.0).max(1.0),
        ticks: TICKS.map(|tick| (place(tick), format!("{tick}%"))).to_vec(),
        unit: Unit::Seconds,
        is_line: true,
        series,
    }
}

fn time(time_line: &TimeLine) -> Chart<'_> {
    let lines = time_line.lines.iter();
    let series: Vec<_> = lines.map(|line| (line.name, line.points.clone())).collect();
    let width = largest(&series, |point| point.0);
    let ticks = ticks(width).into_iter();
    Chart {
        title: format!("Time line: {}", time_line.what),
        width,
        ticks: ticks.map(|at| (at, Unit::Seconds.format(at))).collect(),
        unit: time_line.unit,
        // Latencies of single events are dots.
        is_line: time_line.unit != Unit::Seconds,
        series,
    }
}

fn largest(series: &[(&str, Vec<Point>)], of: impl Fn(&Point) -> f64) -> f64 {
    let points = series.iter().flat_map(|(_, points)| points);
    points.map(of).fold(0.0, f64::max)
}

/// Returns at most six round numbers from 0 to `most`.
fn ticks(most: f64) -> Vec<f64> {
    if !most.is_finite() || most <= 0.0 {
        return vec![0.0];
    }
    let magnitude = 10_f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    let step = steps
        .into_iter()
        .find(|step| *step >= most / 5.0)
        .unwrap_or(most);
    let ticks = (0..=5).map(|count| f64::from(count) * step);
    ticks.filter(|at| *at <= most).collect()
}

struct Chart<'a> {
    title: String,
    /// The largest value to the right.
    width: f64,
    ticks: Vec<(f64, String)>,
    /// Of the values upwards.
    unit: Unit,
    /// Whether points are joined by a line.
    is_line: bool,
    series: Vec<(&'a str, Vec<Point>)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 840.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 270.0;

impl Chart<'_> {
    /// Returns `None` if there is nothing to draw.
    fn draw(&self) -> Option<String> {
        let height = largest(&self.series, |point| point.1);
        if self.width <= 0.0 || height <= 0.0 {
            return None;
        }
        let x = |at: f64| LEFT + at / self.width * (RIGHT - LEFT);
        let y = |value: f64| BOTTOM - value / height * (BOTTOM - TOP);
        let grid = lines(ticks(height).into_iter().map(|value| {
            let at = y(value);
            format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                escape(&self.unit.format(value)),
            )
        }));
        let ticks = self.ticks.iter().filter(|(at, _)| *at <= self.width);
        let ticks = lines(ticks.map(|(at, text)| {
            let (x, y) = (x(*at), HEIGHT - 8.0);
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>")
        }));
        let mut keys = String::new();
        let mut marks = String::new();
        for ((name, points), class) in self.series.iter().zip(["first", "second"]) {
            keys += &format!("<span class=\"key {class}\">{}</span>\n", escape(name));
            let points = points.iter().map(|(at, value)| (x(*at), y(*value)));
            if self.is_line {
                let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let points = points.join(" ");
                marks += &format!("<polyline class=\"series {class}\" points=\"{points}\"/>\n");
            } else {
                marks += &lines(points.map(|(x, y)| {
                    format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>")
                }));
            }
        }
        let title = escape(&self.title);
        Some(format!(
            "<h2>{title}</h2>\n<p>\n{keys}</p>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             {grid}{ticks}{marks}</svg>"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flood::report::Line;

    #[test]
    fn draws_both_charts_and_escapes_all_text() {
        let points = vec![(0.0, 0.001), (50.0, 0.002), (100.0, 0.2)];
        let report = Report {
            command: "churn",
            settings: vec![("path", "GET/<b>\"&'".to_owned())],
            baseline: Some("bare <loop>"),
            curves: vec![Curve {
                name: "join & all",
                seconds_by_percentile: points.clone(),
                baseline: Some(points),
            }],
            time_line: Some(TimeLine {
                what: "bytes",
                unit: Unit::Bytes,
                lines: vec![Line {
                    name: "one",
                    points: vec![(0.0, 1.0), (2.0, 5.0)],
                }],
            }),
            notes: vec!["<script>alert(1)</script>".to_owned()],
            ..Report::default()
        };
        let page = page(&report);
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("<polyline").count(), 3);
        assert!(page.contains("0%") && page.contains("bare &lt;loop&gt;"));
        assert!(page.contains("GET/&lt;b&gt;&quot;&amp;&#39;"));
        for absent in [
            "http", "src=", "@import", "url(", "<link", "<script", "NaN", "inf\"",
        ] {
            assert!(!page.contains(absent), "{absent}");
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.0), [0.0]);
        assert_eq!(ticks(f64::NAN), [0.0]);
    }

    #[test]
    fn an_empty_report_has_no_charts() {
        let page = page(&Report::default());
        assert!(!page.contains("<svg"), "{page}");
    }
}
