//! Responses of the admin API as text.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::cli::failure::Failure;
use crate::cli::print::print;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::terminal::{Terminal, WARNING};
use crate::cli::value::shown;
use crate::protocol::Route;

/// Prints a value as JSON, or as text.
pub(super) fn print_value(
    value: &Value,
    as_json: bool,
    text: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    if as_json {
        print(&format!("{value:#}\n"))
    } else {
        print(&text(value))
    }
}

/// Maximum number of URLs that are shown. A node may list hundreds; the JSON has all.
const MAX_URLS: usize = 10;

/// Columns that get narrower if the table is too wide: URLs and names first, then addresses,
/// figures last.
const SHRINKS: [(usize, usize); 10] = [
    (5, 24),
    (0, 20),
    (5, 12),
    (0, 12),
    (2, 8),
    (5, 4),
    (0, 6),
    (1, 14),
    (3, 3),
    (4, 2),
];

/// Formats the list as a table.
pub(super) fn nodes(list: &Value, terminal: Terminal) -> String {
    let heads = ["NAME", "ADDRESS", "SESSION", "ACKED", "AGE", "URLS"];
    let mut rows = vec![heads.map(|head| Cell::from(head.to_owned())).into()];
    rows.extend(array(list, "nodes").map(|node| node_cells(node).into()));
    let shown = rows.len() - 1;
    let table = Table {
        rows,
        align: Align::Left,
        shrinks: &SHRINKS,
    };
    let text = table.format(terminal);
    let mut total = format!("{shown} of {}", count(&list["entries"], "node", "nodes"));
    if !list["rev"].is_null() {
        let _ = write!(total, ", revision {}", list["rev"]);
    }
    if list["complete"] == false {
        const WHY: &str = "warming up: the list may not be complete";
        let is_narrow = |width| total.len() + "; ".len() + WHY.len() > width;
        let end = if terminal.width.is_some_and(is_narrow) {
            "\n"
        } else {
            "; "
        };
        total = total + end + WHY;
    }
    format!("{text}{total}\n")
}

fn node_cells(node: &Value) -> [Cell; 6] {
    let mut session = Cell::from(printable(&node["session"]));
    let state = printable(&node["state"]);
    if !state.is_empty() && state != "connected" {
        session.style = WARNING;
        let _ = write!(session.text, " ({state})");
    }
    if node["listed"] == false {
        session.style = WARNING;
        session.text.push_str(" (not listed)");
    }
    let more = array(node, "urls").skip(MAX_URLS).count();
    let urls = array(node, "urls").take(MAX_URLS);
    let mut urls: Vec<String> = urls.map(printable).collect();
    if more > 0 {
        urls.push(format!("and {more} more"));
    }
    let cells = [
        printable(&node["name"]).into(),
        address(node).into(),
        session,
        printable(&node["acked"]).into(),
        (node["age_seconds"].as_f64().map_or(String::new(), age)).into(),
        urls.join(" ").into(),
    ];
    cells.map(|cell| match &*cell.text {
        "" => Cell::from("-".to_owned()),
        _ => cell,
    })
}

/// Returns the reason for a list without nodes, if only some were wanted.
pub(super) fn nothing_found(list: &Value, name: Option<&str>, url: Option<&str>) -> Option<String> {
    if array(list, "nodes").next().is_some() {
        return None;
    }
    let wanted = match (name.map(shown), url.map(shown)) {
        (None, None) => return None,
        (Some(name), None) => format!("no node has the name {name}"),
        (None, Some(url)) => format!("no node lists {url}"),
        (Some(name), Some(url)) => format!("no node with the name {name} lists {url}"),
    };
    let form = url.and_then(form_of_url);
    let remedy = form.unwrap_or_else(|| "distributor nodes lists all".to_owned());
    let all = count(&list["entries"], "node", "nodes");
    Some(format!("{wanted}, of {all}; {remedy}"))
}

/// Returns the form of URLs, if this one cannot be in a list.
pub(super) fn form_of_url(url: &str) -> Option<String> {
    let route = Route::parse(url);
    let method = route.method.to_uppercase();
    if !route.path.starts_with('/') {
        Some("write METHOD/path or /path, as in GET/goods or /goods".to_owned())
    } else if method != route.method {
        let route = Route::new(method, &*route.path);
        Some(format!("methods are in capitals, as in {route}"))
    } else {
        None
    }
}

/// Formats the result of a drain.
pub(super) fn drained(drained: &Value, name: &str, is_awaited: bool) -> String {
    let entries = array(drained, "drained").count();
    let mut text = format!(
        "drained {} named {} in revision {}: acknowledged by {} of {}",
        count(&entries.into(), "node", "nodes"),
        shown(name),
        drained["rev"],
        drained["acked"],
        count(&drained["of"], "session", "sessions")
    );
    let late = array(drained, "late").map(|late| printable(&late["name"]));
    // Drained nodes, and those without a port, are in no list that has their names.
    let (mut late, unlisted): (Vec<String>, Vec<String>) = late.partition(|name| !name.is_empty());
    if !unlisted.is_empty() {
        late.push(format!("{} not listed", unlisted.len()));
    }
    let is_pending = !late.is_empty() && !is_awaited;
    if is_pending {
        // No time has passed yet.
        text += " so far";
    }
    if drained["blind"] != 0 {
        let _ = write!(text, "; {} untracked", drained["blind"]);
    }
    if is_pending {
        text += "; --wait waits for the others";
    } else if !late.is_empty() {
        let _ = write!(text, "; late: {}", late.join(", "));
    }
    text.push('\n');
    text
}

/// Formats a number of things.
pub(super) fn count(number: &Value, one: &str, more: &str) -> String {
    format!("{number} {}", if *number == 1 { one } else { more })
}

/// Returns the elements of an array, none if there is no such array.
pub(super) fn array<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    let array = value.get(key).and_then(Value::as_array);
    array.into_iter().flatten()
}

fn address(node: &Value) -> String {
    let (mut host, port) = (printable(&node["host"]), printable(&node["port"]));
    if host.contains(':') {
        host = format!("[{host}]");
    }
    if port.is_empty() {
        host
    } else {
        format!("{host}:{port}")
    }
}

fn age(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds.max(0.0).floor()).unwrap_or_default();
    let text = humantime::format_duration(seconds).to_string();
    let parts: Vec<&str> = text.split(' ').take(2).collect();
    parts.join(" ")
}

/// Formats text of a node without characters that a terminal acts on.
pub(super) fn printable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.escape_debug().to_string().replace("\\'", "'"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: Terminal = Terminal {
        width: None,
        has_colors: false,
    };

    #[test]
    fn escapes_characters_that_a_terminal_acts_on() {
        assert_eq!(
            printable(&json!("상품 \u{1b}[31m\u{202e}\u{200b}\u{61c}")),
            "상품 \\u{1b}[31m\\u{202e}\\u{200b}\\u{61c}"
        );
        assert_eq!(
            (printable(&json!(7)), printable(&Value::Null)),
            ("7".to_owned(), String::new())
        );
    }

    #[test]
    fn formats_nodes_as_a_table() {
        let list = json!({"rev": 3, "entries": 2, "complete": false, "nodes": [
            {"name": "call", "host": "::2", "port": null, "session": "plain", "listed": false},
            {"name": "goods", "host": "::2", "port": 9010, "urls": ["GET/goods"], "session": "delta", "state": "suspect", "acked": 3, "age_seconds": 3725.9},
        ]});
        let text = nodes(&list, FILE);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..4],
            [
                "call   [::2]       plain (not listed)  -      -      -",
                "goods  [::2]:9010  delta (suspect)     3      1h 2m  GET/goods"
            ]
        );
        assert_eq!(
            lines[4],
            "2 of 2 nodes, revision 3; warming up: the list may not be complete"
        );
    }

    #[test]
    fn last_line_fits_the_terminal() {
        let list = json!({"rev": 3, "entries": 2, "complete": false, "nodes": []});
        let at = |width| {
            let terminal = Terminal {
                width: Some(width),
                ..FILE
            };
            nodes(&list, terminal)
        };
        let (total, why) = (
            "0 of 2 nodes, revision 3",
            "warming up: the list may not be complete",
        );
        assert!(at(66).ends_with(&format!("\n{total}; {why}\n")));
        assert!(at(65).ends_with(&format!("\n{total}\n{why}\n")));
    }

    #[test]
    fn shows_the_first_of_many_urls() {
        let urls: Vec<String> = (0..12).map(|number| format!("GET/{number}")).collect();
        let text = nodes(
            &json!({"rev": 1, "entries": 1, "nodes": [{"name": "a", "urls": urls}]}),
            FILE,
        );
        assert!(text.contains("GET/9 and 2 more\n"), "{text}");
    }
}
