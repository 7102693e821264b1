//! The report as a page that needs neither scripts nor the network.

use super::record::{Point, Unit};
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
        let cells = row
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        page += &format!("<tr>{}</tr>\n", cells.collect::<String>());
    }
    page += "</table>\n</div>\n";
    for note in &report.notes {
        page += &format!("<p>{}</p>\n", escape(note));
    }
    for curve in &report.curves {
        page += &percentile_chart(curve, report.baseline);
    }
    if let Some(time_line) = &report.time_line {
        page += &time_chart(time_line);
    }
    page
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// Draws times over percentiles. Each step to the right is a tenth of the remainder to 100.
fn percentile_chart(curve: &Curve, baseline: Option<&str>) -> String {
    const TICKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    let place = |percentile: f64| (1.0 - percentile / 100.0).max(1e-6).log10().abs();
    let on_axis = |points: &[Point]| {
        let mut last = 0.0;
        let points = points.iter().map(|(percentile, time)| {
            // 100 % is infinitely far away: it is drawn slightly beyond the others.
            last = if *percentile < 100.0 {
                place(*percentile)
            } else {
                last + 0.1
            };
            (last, *time)
        });
        points.collect()
    };
    let mut series = vec![("measured", on_axis(&curve.seconds_by_percentile))];
    let baseline = baseline.zip(curve.baseline.as_ref());
    series.extend(baseline.map(|(name, points)| (name, on_axis(points))));
    let ticks = TICKS.map(|percentile| (place(percentile), format!("{percentile}%")));
    let title = format!("{}, by percentile", curve.name);
    chart(&title, &ticks, Unit::Seconds, "line", &series)
}

fn time_chart(time_line: &TimeLine) -> String {
    let lines = time_line.lines.iter();
    let series: Vec<_> = lines.map(|line| (line.name, line.points.clone())).collect();
    let ticks = ticks(largest(&series, |point| point.0)).into_iter();
    let ticks: Vec<_> = ticks.map(|at| (at, Unit::Seconds.format(at))).collect();
    let title = format!("Time line: {}", time_line.what);
    // Latencies of single events are dots.
    let is_latency = time_line.unit == Unit::Seconds;
    let style = if is_latency { "dots" } else { "line" };
    chart(&title, &ticks, time_line.unit, style, &series)
}

fn largest(series: &[(&str, Vec<Point>)], coordinate: impl Fn(&Point) -> f64) -> f64 {
    let points = series.iter().flat_map(|(_, points)| points);
    points.map(coordinate).fold(0.0, f64::max)
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

/// Draws series over an axis with these ticks, if there are any.
fn chart(
    title: &str,
    axis: &[(f64, String)],
    unit: Unit,
    style: &str,
    series: &[(&str, Vec<Point>)],
) -> String {
    let width = largest(series, |point| point.0);
    let height = largest(series, |point| point.1);
    if width <= 0.0 || height <= 0.0 {
        return String::new();
    }
    // The plot has 770 × 260 units and begins at (70, 10), with labels to the left and below.
    let x = |at: f64| 70.0 + at / width * 770.0;
    let y = |value: f64| 270.0 - value / height * 260.0;
    let title = escape(title);
    let mut keys = String::new();
    let mut drawing = String::new();
    for value in ticks(height) {
        let (y, text) = (y(value), unit.format(value));
        drawing += &format!(
            "<path class=\"grid\" d=\"M70 {y:.1}h770\"/>\
             <text class=\"value\" x=\"62\" y=\"{y:.1}\" dy=\"4\">{text}</text>\n"
        );
    }
    for (at, text) in axis.iter().filter(|(at, _)| *at <= width) {
        drawing += &format!("<text x=\"{:.1}\" y=\"292\">{text}</text>\n", x(*at));
    }
    // A line without length is drawn as a dot.
    let step = if style == "dots" { "h0M" } else { "L" };
    for ((name, points), class) in series.iter().zip(["first", "second"]) {
        keys += &format!("<span class=\"key {class}\">{}</span>\n", escape(name));
        let points = points
            .iter()
            .map(|(at, value)| format!("{:.1} {:.1}", x(*at), y(*value)));
        let points = points.collect::<Vec<_>>().join(step);
        drawing += &format!("<path class=\"{style} {class}\" d=\"M{points}h0\"/>\n");
    }
    format!(
        "<h2>{title}</h2>\n<p>\n{keys}</p>\n\
         <svg viewBox=\"0 0 860 300\" role=\"img\" aria-label=\"{title}\">\n{drawing}</svg>\n"
    )
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
        let page = page(&report);
        assert_eq!(page.matches("&lt;a href=&quot;x&quot;&gt;&amp;").count(), 2);
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(7.3), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(ticks(0.0), [0.0; 6]);
    }
}
