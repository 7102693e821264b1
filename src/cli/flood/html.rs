//! The report as one page that needs nothing else: no script, no network.

use std::fmt::Write;

use crate::cli::flood::format::{Unit, ratio};
use crate::cli::flood::report::{Curve, Figure, Report, TimeLine};

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

/// The two series of a chart, by their place.
const SERIES: [&str; 2] = ["first", "second"];

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::new();
    let settings = report.settings.iter();
    let settings: Vec<_> = settings
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let title = format!("flood {}", report.command);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<h1>{title}</h1>\n<p>{settings}</p>\n",
        title = escape(&title),
        settings = escape(&settings.join(", ")),
    );
    table(&mut page, report);
    for note in &report.notes {
        let _ = writeln!(page, "<p>{}</p>", escape(note));
    }
    for curve in &report.curves {
        percentiles(&mut page, curve, report.baseline);
    }
    if let Some(time_line) = &report.time_line {
        time(&mut page, time_line);
    }
    page
}

fn table(page: &mut String, report: &Report) {
    page.push_str("<div class=\"wide\">\n<table>\n<tr><th></th><th>measured</th>");
    if let Some(baseline) = report.baseline {
        let _ = write!(page, "<th>{}</th><th>ratio</th>", escape(baseline));
    }
    page.push_str("</tr>\n");
    for figure in &report.figures {
        let Figure {
            name,
            unit,
            value,
            baseline,
            ratio: by,
        } = figure;
        let text = |value: &Option<f64>| value.map_or("–".into(), |value| unit.format(value));
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td>",
            escape(name),
            escape(&text(value))
        );
        if report.baseline.is_some() {
            let by = by.map_or("–".into(), ratio);
            let _ = write!(
                page,
                "<td>{}</td><td>{}</td>",
                escape(&text(baseline)),
                escape(&by)
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n</div>\n");
}

/// Percentiles to the right, each step a tenth of what is left to 100, and times upwards.
fn percentiles(page: &mut String, curve: &Curve, baseline: Option<&str>) {
    const TICKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let place = |percentile: f64| (1.0 - percentile / 100.0).max(1e-6).log10().abs();
    let on_axis = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let mut last = 0.0;
        let places = points.iter().map(|(percentile, seconds)| {
            // All of them is infinitely far away: the slowest stands a bit beyond the others.
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
    if let (Some(name), Some(points)) = (baseline, &curve.baseline) {
        series.push((name, on_axis(points)));
    }
    let farthest = extreme(&series, |point| point.0).max(1.0);
    let ticks = TICKS.iter().map(|tick| (place(*tick), format!("{tick}%")));
    let chart = Chart {
        title: format!("{}, by percentile", curve.name),
        ticks: ticks.filter(|(at, _)| *at <= farthest).collect(),
        farthest,
        unit: Unit::Seconds,
        dots: false,
        series,
    };
    chart.draw(page);
}

fn time(page: &mut String, time_line: &TimeLine) {
    let lines = time_line.lines.iter();
    let series: Vec<_> = lines
        .map(|line| (&*line.name, line.points.clone()))
        .collect();
    let farthest = extreme(&series, |point| point.0);
    if farthest <= 0.0 {
        return;
    }
    let ticks = ticks(farthest).into_iter();
    let chart = Chart {
        title: format!("Time line: {}", time_line.what),
        ticks: ticks.map(|at| (at, Unit::Seconds.format(at))).collect(),
        farthest,
        unit: time_line.unit.unwrap_or(Unit::Count),
        dots: time_line.unit == Some(Unit::Seconds),
        series,
    };
    chart.draw(page);
}

fn extreme(series: &[(&str, Vec<(f64, f64)>)], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    let points = series.iter().flat_map(|(_, points)| points);
    points.map(of).fold(0.0, f64::max)
}

/// Up to about five round numbers up to `most`.
fn ticks(most: f64) -> Vec<f64> {
    if !most.is_finite() || most <= 0.0 {
        return vec![0.0];
    }
    let rough = most / 5.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude);
    let step = steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(most);
    let count = (0..=5).map(f64::from);
    count
        .map(|count| count * step)
        .filter(|at| *at <= most)
        .collect()
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;

struct Chart<'a> {
    title: String,
    /// Of the axis to the right, with what stands there.
    ticks: Vec<(f64, String)>,
    farthest: f64,
    /// Of the axis upwards.
    unit: Unit,
    /// Points that are no steps of one line.
    dots: bool,
    series: Vec<(&'a str, Vec<(f64, f64)>)>,
}

impl Chart<'_> {
    fn draw(&self, page: &mut String) {
        let highest = extreme(&self.series, |point| point.1);
        if highest <= 0.0 {
            return;
        }
        let x = |at: f64| LEFT + at / self.farthest * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM);
        let _ = writeln!(page, "<h2>{}</h2>\n<p>", escape(&self.title));
        for ((name, _), class) in self.series.iter().zip(SERIES) {
            let _ = writeln!(page, "<span class=\"key {class}\">{}</span>", escape(name));
        }
        let _ = writeln!(
            page,
            "</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        for value in ticks(highest) {
            let _ = writeln!(
                page,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y(value) + 4.0,
                escape(&self.unit.format(value)),
                at = y(value),
            );
        }
        for (at, text) in &self.ticks {
            let _ = writeln!(
                page,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(*at),
                HEIGHT - 8.0,
                escape(text)
            );
        }
        for ((_, points), class) in self.series.iter().zip(SERIES) {
            if self.dots {
                for (at, value) in points {
                    let _ = writeln!(
                        page,
                        "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"/>",
                        x(*at),
                        y(*value)
                    );
                }
                continue;
            }
            let path = points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)));
            let path: Vec<_> = path.collect();
            let _ = writeln!(
                page,
                "<polyline class=\"series {class}\" points=\"{}\"/>",
                path.join(" ")
            );
        }
        page.push_str("</svg>\n");
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flood::report::{Line, record, times};
    use std::time::Duration;

    fn report() -> Report {
        let mut report = Report::new("churn");
        report.baseline = Some("bare <loop>");
        report.setting("path", "GET/<b>\"&");
        let mut of_hundred = times();
        for millis in 1..=100 {
            record(&mut of_hundred, Duration::from_millis(millis));
        }
        report.latencies("join & all", &of_hundred, Some(&of_hundred));
        report.notes.push("<script>alert(1)</script>".to_owned());
        report.time_line = Some(TimeLine {
            what: "bytes",
            unit: Some(Unit::Bytes),
            lines: vec![Line {
                name: "one".to_owned(),
                points: vec![(0.0, 1.0), (2.0, 5.0)],
            }],
        });
        report
    }

    #[test]
    fn the_page_has_both_charts_and_needs_nothing_else() {
        let page = page(&report());
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("<polyline").count(), 3);
        assert!(page.contains("99%") && page.contains("bare &lt;loop&gt;"));
        for outside in ["http", "src=", "@import", "url(", "<link", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }

    #[test]
    fn what_is_no_markup_stays_none() {
        assert_eq!(
            escape("<a href='x'>&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;"
        );
        assert!(page(&report()).contains("GET/&lt;b&gt;&quot;&amp;"));
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.0), [0.0]);
        assert_eq!(ticks(f64::NAN), [0.0]);
    }

    #[test]
    fn a_run_without_times_has_no_charts() {
        let page = page(&Report::new("idle"));
        assert!(!page.contains("<svg"), "{page}");
    }
}
