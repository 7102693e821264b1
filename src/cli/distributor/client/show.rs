//! Responses of the admin API as text.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::cli::failure::Failure;
use crate::cli::print::print;
use crate::cli::table::{Align, aligned};

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

/// Formats the list as a table.
pub(super) fn nodes(list: &Value) -> String {
    let heads = ["NAME", "ADDRESS", "SESSION", "ACKED", "AGE", "URLS"];
    let mut rows = vec![heads.map(ToOwned::to_owned).to_vec()];
    for node in array(list, "nodes") {
        let mut session = printable(&node["session"]);
        let state = printable(&node["state"]);
        if !state.is_empty() && state != "connected" {
            let _ = write!(session, " ({state})");
        }
        if node["listed"] == false {
            session.push_str(" (not listed)");
        }
        let more = array(node, "urls").skip(MAX_URLS).count();
        let urls = array(node, "urls").take(MAX_URLS);
        let mut urls: Vec<String> = urls.map(printable).collect();
        if more > 0 {
            urls.push(format!("and {more} more"));
        }
        let cells = [
            printable(&node["name"]),
            address(node),
            session,
            printable(&node["acked"]),
            node["age_seconds"].as_f64().map_or(String::new(), age),
            urls.join(" "),
        ];
        let or_dash = |cell: String| if cell.is_empty() { "-".into() } else { cell };
        rows.push(cells.map(or_dash).to_vec());
    }
    let mut text = aligned(&rows, Align::Left);
    let (shown, entries) = (rows.len() - 1, &list["entries"]);
    let _ = write!(text, "{shown} of {entries} nodes");
    if !list["rev"].is_null() {
        let _ = write!(text, ", revision {}", list["rev"]);
    }
    text.push_str(match list["complete"].as_bool() {
        Some(false) => "; warming up: the list may not be complete\n",
        _ => "\n",
    });
    text
}

/// Formats events, each with the acknowledgements of its push.
pub(super) fn why(why: &Value, name: Option<&str>) -> String {
    let mut text = String::new();
    for event in array(why, "events") {
        text += &line(event);
        match event.get("push") {
            Some(Value::Null) => text += "    not sent yet\n",
            Some(push) => text += &push_line(push),
            None => {}
        }
    }
    if text.is_empty() {
        return match name {
            Some(name) => format!("no event of {name:?} among the last 10000\n"),
            None => "no events yet\n".to_owned(),
        };
    }
    if why["more"] == true {
        text += "older events exist: --limit N\n";
    }
    text
}

fn push_line(push: &Value) -> String {
    let mut text = format!(
        "    revision {} sent to {} peers; acknowledged by {} of {} sessions",
        push["rev"], push["told"], push["acked"], push["of"]
    );
    if let Some(millis) = push["last_ack_after_ms"].as_f64() {
        let _ = write!(text, ", the last after {millis:.1} ms");
    }
    if push["blind"] != 0 {
        let _ = write!(text, "; {} untracked", push["blind"]);
    }
    // Without a request, sessions acknowledge with a heartbeat, some seconds later.
    let late = if push["ack_asked"] == false {
        "pending until the next heartbeat"
    } else {
        "late"
    };
    for (count, label) in [("backlogged", "backlogged"), ("late", late)] {
        if push[count].as_u64().unwrap_or(0) > 0 {
            let names = array(push, &format!("{count}_names")).map(printable);
            let names = names.collect::<Vec<_>>().join(", ");
            let _ = write!(text, "\n    {label}: {} ({names})", push[count]);
        }
    }
    text.push('\n');
    text
}

/// Formats an event of the stream.
pub(super) fn event_line(name: &str, data: &str) -> String {
    let event: &Value = &serde_json::from_str(data).unwrap_or_default();
    let start = match name {
        "hello" => "watching",
        "reset" => "some events were missed",
        _ => return line(event),
    };
    let (entries, rev) = (&event["entries"], &event["rev"]);
    format!("{start}: {entries} nodes, revision {rev}\n")
}

fn line(event: &Value) -> String {
    let at = event["unix_ms"].as_u64().unwrap_or(0);
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at);
    let mut text = format!(
        "{}  {:<10}",
        humantime::format_rfc3339_millis(at),
        printable(&event["event"])
    );
    for field in ["name", "peer", "cause", "reason", "errorcode", "restored"] {
        if let Some(value) = event.get(field) {
            let _ = match field {
                "name" => write!(text, "  {}", printable(value)),
                "reason" => write!(text, " ({})", printable(value)),
                _ => write!(text, "  {field} {}", printable(value)),
            };
        }
    }
    let _ = writeln!(text, "  rev {}", event["rev"]);
    text
}

/// Formats the result of a drain.
pub(super) fn drained(drained: &Value, name: &str) -> String {
    let entries = array(drained, "drained").count();
    let mut text = format!(
        "drained {entries} nodes named {name:?} in revision {}: acknowledged by {} of {} sessions",
        drained["rev"], drained["acked"], drained["of"]
    );
    if drained["blind"] != 0 {
        let _ = write!(text, "; {} untracked", drained["blind"]);
    }
    let names = array(drained, "late").map(|late| printable(&late["name"]));
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        let _ = write!(text, "; late: {}", names.join(", "));
    }
    text.push('\n');
    text
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
fn printable(value: &Value) -> String {
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
        let text = nodes(&list);
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
    fn shows_the_first_of_many_urls() {
        let urls: Vec<String> = (0..12).map(|number| format!("GET/{number}")).collect();
        let text = nodes(&json!({"rev": 1, "entries": 1, "nodes": [{"name": "a", "urls": urls}]}));
        assert!(text.contains("GET/9 and 2 more\n"), "{text}");
    }

    #[test]
    fn shows_acknowledgements_of_a_push() {
        let mut push = json!({"rev": 4, "told": 3, "of": 2, "acked": 1, "ack_asked": true, "blind": 1, "last_ack_after_ms": 2.5, "backlogged": 0, "late": 1, "late_names": ["shop"]});
        let event = json!({"unix_ms": 0, "event": "left", "name": "goods", "cause": "closed", "reason": "reset", "rev": 4, "push": push});
        assert_eq!(
            why(&json!({"events": [event], "more": false}), None),
            "1970-01-01T00:00:00.000Z  left        goods  cause closed (reset)  rev 4\n    revision 4 sent to 3 peers; acknowledged by 1 of 2 sessions, the last after 2.5 ms; 1 untracked\n    late: 1 (shop)\n"
        );
        // Without a request, sessions acknowledge with their next heartbeat.
        push["ack_asked"] = json!(false);
        assert_eq!(
            push_line(&push),
            "    revision 4 sent to 3 peers; acknowledged by 1 of 2 sessions, the last after 2.5 ms; 1 untracked\n    pending until the next heartbeat: 1 (shop)\n"
        );
    }
}
