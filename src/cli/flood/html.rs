//! The report as a page that needs neither scripts nor the network.

use super::format::Unit;
use super::record::Point;
use super::report::{Curve, Report, TimeLine};

pub(crate) fn page(report: &Report) -> String {
    let title = format!("flood {}", report.command);
    let settings = escape(&report.settings_line());
    let style = include_str!("page.css");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n<h1>{title}</h1>\n<p>{settings}</p>\n\
         <div class=\"wide\">\n<table>\n"
    );
    for (number, row) in report.rows().iter().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        page += "<tr>";
        for cell in row {
            page += &format!("<{tag}>{}</{tag}>", escape(cell));
        }
        page += "</tr>\n";
    }
    page += "</table>\n</div>\n";
    for note in &report.notes {
        page += &format!("<p>{}</p>\n", escape(note));
    }
    for curve in &report.curves {
        percentiles(curve, report.baseline).draw(&mut page);
    }
    if let Some(time_line) = &report.time_line {
        time(time_line).draw(&mut page);
    }
    page
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// Percentiles to the right, each step a tenth of what is left to 100, and times upwards.
fn percentiles<'a>(curve: &'a Curve, baseline: Option<&'a str>) -> Chart<'a> {
    const TICKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let place = |percentile: f64| (1.0 - percentile / 100.0).max(1e-6).log10().abs();
    let on_axis = |points: &[Point]| {
        let mut points = points.to_vec();
        let mut last = 0.0;
        for (at, _) in &mut points {
            // 100 % is infinitely far away: it is drawn a bit beyond the others.
            last = if *at < 100.0 { place(*at) } else { last + 0.1 };
            *at = last;
        }
        points
    };
    let mut series = vec![("measured", on_axis(&curve.seconds_by_percentile))];
    let baseline = baseline.zip(curve.baseline.as_ref());
    series.extend(baseline.map(|(name, points)| (name, on_axis(points))));
    Chart {
        title: format!("{}, by percentile", curve.name),
        width: largest(&series, |point| point.0).max(1.0),
        ticks: TICKS.map(|at| (place(at), format!("{at}%"))).to_vec(),
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
    let magnitude = 10_f64.powf((most / 5.0).log10().floor());
    let mut steps = [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * magnitude)
        .into_iter();
    let step = steps.find(|step| *step >= most / 5.0).unwrap_or(most);
    let ticks = (0..=5).map(|count| f64::from(count) * step);
    ticks.filter(|at| *at <= most).collect()
}

struct Chart<'a> {
    title: String,
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
    /// Adds it to the page, unless there is nothing to draw.
    fn draw(&self, page: &mut String) {
        let height = largest(&self.series, |point| point.1);
        if self.width <= 0.0 || height <= 0.0 {
            return;
        }
        let x = |at: f64| LEFT + at / self.width * (RIGHT - LEFT);
        let y = |value: f64| BOTTOM - value / height * (BOTTOM - TOP);
        let title = escape(&self.title);
        *page += &format!("<h2>{title}</h2>\n<p>\n");
        let series = || self.series.iter().zip(["first", "second"]);
        for ((name, _), class) in series() {
            *page += &format!("<span class=\"key {class}\">{}</span>\n", escape(name));
        }
        *page += &format!(
            "</p>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n"
        );
        for value in ticks(height) {
            let (at, x, y) = (y(value), LEFT - 8.0, y(value) + 4.0);
            let text = self.unit.format(value);
            *page += &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>\n"
            );
        }
        for (at, text) in self.ticks.iter().filter(|(at, _)| *at <= self.width) {
            let (x, y) = (x(*at), HEIGHT - 8.0);
            *page +=
                &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>\n");
        }
        for ((_, points), class) in series() {
            let points = points.iter().map(|(at, value)| (x(*at), y(*value)));
            if self.is_line {
                let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let points = points.join(" ");
                *page += &format!("<polyline class=\"series {class}\" points=\"{points}\"/>\n");
                continue;
            }
            for (x, y) in points {
                *page +=
                    &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>\n");
            }
        }
        *page += "</svg>\n";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_all_text() {
        let text = "<a href=\"x\">&".to_owned();
        let report = Report {
            settings: vec![("of", text.clone())],
            notes: vec![text],
            ..Report::default()
        };
        assert_eq!(
            page(&report)
                .matches("&lt;a href=&quot;x&quot;&gt;&amp;")
                .count(),
            2
        );
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.0), [0.0; 6]);
    }
}
