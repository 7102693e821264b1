//! The report as a page that needs no other files and no network. Its script shows the values of a
//! chart at the pointer; the page is readable without it.

use super::chart;
use super::escape::escape;
use super::group::Group;
use super::report::Report;

pub(crate) fn page(report: &Report) -> String {
    let name = format!("flood {}", report.command);
    let host = escape(&report.provenance.host);
    let style = include_str!("page/page.css");
    let script = include_str!("page/page.js");
    let origin = origin(report);
    let table = table(report);
    let notes = report.notes.iter();
    let notes = notes.map(|note| format!("<p class=\"note\">{}</p>\n", escape(note)));
    let notes: String = notes.collect();
    let curves = report.curves.iter();
    let curves = curves.map(|curve| chart::percentiles(curve, report.baseline));
    let mut charts: String = curves.collect();
    charts.extend(report.time_line.as_ref().map(chart::time_line));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name} on {host}</title>\n<style>\n{style}</style>\n\
         <main>\n<h1>{name}</h1>\n<p>{settings}</p>\n{origin}{table}{notes}{charts}</main>\n\
         <script>\n{script}</script>\n",
        settings = escape(&report.settings_line()),
    )
}

/// Lists what is needed to repeat the run.
fn origin(report: &Report) -> String {
    let from = &report.provenance;
    let date = from.started.replace('T', " ").replace('Z', " UTC");
    let date = format!(
        "<time datetime=\"{}\">{}</time>",
        escape(&from.started),
        escape(&date)
    );
    // Lines break between words only, and not after a hyphen.
    let words = from.command_line.split(' ').map(escape);
    let words = words.map(|word| format!("<span>{word}</span>"));
    let words: Vec<_> = words.collect();
    let command_line = format!("<code>{}</code>", words.join(" "));
    let rows = [
        ("Command line", command_line),
        ("Host", escape(&from.host)),
        ("Machine", escape(&from.machine)),
        ("Date", date),
        ("Version", escape(&from.version)),
    ];
    let rows = rows.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    format!("<dl>\n{}</dl>\n", rows.concat())
}

/// Formats the figures, in groups.
fn table(report: &Report) -> String {
    let headings = report.headings();
    let columns = headings.len();
    let headings = headings.iter().skip(1);
    let headings = headings.map(|text| format!("<th scope=\"col\">{}</th>", escape(text)));
    let headings: String = headings.collect();
    let mut table = format!("<table>\n<thead><tr><td></td>{headings}</tr></thead>\n");
    for group in Group::ALL {
        let figures = report.figures.iter().filter(|figure| figure.group == group);
        let rows = figures.map(|figure| row(&report.cells(figure)));
        let rows: String = rows.collect();
        if !rows.is_empty() {
            let title = group.title();
            table += &format!(
                "<tbody>\n<tr><th class=\"group\" scope=\"rowgroup\" colspan=\"{columns}\">{title}</th></tr>\n\
                 {rows}</tbody>\n"
            );
        }
    }
    table + "</table>\n"
}

fn row(cells: &[String]) -> String {
    let cells = cells.iter().enumerate().map(|(column, text)| {
        let text = escape(text);
        if column == 0 {
            format!("<th scope=\"row\">{text}</th>")
        } else {
            format!("<td>{text}</td>")
        }
    });
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flood::provenance::Provenance;
    use crate::cli::flood::record::Unit;

    #[test]
    fn escapes_all_text() {
        let text = "<a href=\"x\">&".to_owned();
        let report = Report {
            provenance: Provenance {
                command_line: text.clone(),
                version: text.clone(),
                host: text.clone(),
                machine: text.clone(),
                started: text.clone(),
            },
            settings: vec![("of", text.clone())],
            notes: vec![text],
            ..Report::default()
        };
        let page = page(&report);
        assert!(!page.contains("<a"), "{page}");
        // The host is in the title as well, and the date in two forms.
        let escaped = "href=&quot;x&quot;&gt;&amp;";
        assert_eq!(page.matches(escaped).count(), 9, "{page}");
    }

    #[test]
    fn groups_rows_by_what_they_measure() {
        let mut report = Report::default();
        for (group, name) in [
            (Group::Cpu, "server CPU for the joins"),
            (Group::Latency, "until all nodes have the list"),
            (Group::Cpu, "server CPU for the leaves"),
        ] {
            report.figure(group, name, Unit::Seconds, [Some(1.0), None]);
        }
        let page = page(&report);
        let places = [
            ">Latency<",
            ">until all nodes have the list<",
            ">Server CPU<",
            ">server CPU for the joins<",
            ">server CPU for the leaves<",
        ];
        let places = places.map(|text| page.find(text).expect(text));
        assert!(places.is_sorted(), "{places:?}");
        assert!(!page.contains("Traffic"), "a group without rows");
    }
}
