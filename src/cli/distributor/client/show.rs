//! What the Distributor answers, for people.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::cli::table::{Align, aligned};

/// A node may list hundreds. All are in the JSON.
const MOST_URLS: usize = 10;

/// The list as a table.
pub(super) fn nodes(list: &Value) -> String {
    let heads = ["NAME", "ADDRESS", "SESSION", "ACKED", "AGE", "URLS"];
    let mut rows = vec![heads.map(ToOwned::to_owned).to_vec()];
    for node in array(&list["nodes"]) {
        let mut session = harmless(&node["session"]);
        let state = harmless(&node["state"]);
        if !state.is_empty() && state != "connected" {
            let _ = write!(session, " ({state})");
        }
        if node["listed"] == false {
            session.push_str(" (not listed)");
        }
        let more = array(&node["urls"]).skip(MOST_URLS).count();
        let urls = array(&node["urls"]).take(MOST_URLS);
        let mut urls: Vec<String> = urls.map(harmless).collect();
        if more > 0 {
            urls.push(format!("and {more} more"));
        }
        rows.push(vec![
            or_dash(harmless(&node["name"])),
            address(node),
            or_dash(session),
            or_dash(harmless(&node["acked"])),
            node["age_seconds"].as_f64().map_or("-".to_owned(), age),
            or_dash(urls.join(" ")),
        ]);
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

/// What happened, one thing a line, each with who was told.
pub(super) fn why(why: &Value, name: Option<&str>) -> String {
    let mut text = String::new();
    for event in array(&why["events"]) {
        text += &line(event);
        match &event["push"] {
            Value::Null if event.get("push").is_some() => text += "    nobody was told yet\n",
            Value::Null => {}
            push => text += &told(push),
        }
    }
    if text.is_empty() {
        return match name {
            Some(name) => {
                format!("nothing is known of {name:?}: no event of it is among the last 10000\n")
            }
            None => "nothing has happened yet\n".to_owned(),
        };
    }
    if why["more"] == true {
        text += "there are older ones: --limit N\n";
    }
    text
}

fn told(push: &Value) -> String {
    let mut text = format!(
        "    told {} in revision {}; {} of {} sessions acknowledged",
        push["told"], push["rev"], push["acked"], push["of"]
    );
    // Whoever was not asked to say so at once does it with a heartbeat, some seconds later.
    let is_asked = push["ack_asked"] != false;
    if let Some(millis) = push["last_ack_after_ms"].as_f64() {
        let how = if is_asked { "" } else { " with a heartbeat" };
        let _ = write!(text, ", the last{how} after {millis:.1} ms");
    }
    if push["blind"] != 0 {
        let _ = write!(text, "; {} can't say", push["blind"]);
    }
    let late = if is_asked {
        "late"
    } else {
        "to say so with their next heartbeat"
    };
    for (count, what) in [
        ("backlogged", "had not read the one before"),
        ("late", late),
    ] {
        if push[count].as_u64().unwrap_or(0) > 0 {
            let names: Vec<String> = array(&push[format!("{count}_names")])
                .map(harmless)
                .collect();
            let _ = write!(text, "\n    {what}: {} ({})", push[count], names.join(", "));
        }
    }
    text.push('\n');
    text
}

/// One event as it comes by the stream.
#[expect(
    clippy::indexing_slicing,
    reason = "what a JSON value does not have is null"
)]
pub(super) fn event_line(name: &str, data: &str) -> String {
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    match name {
        "hello" => format!(
            "watching: {} nodes, revision {}\n",
            event["entries"], event["rev"]
        ),
        "reset" => format!(
            "some events were missed: {} nodes, revision {}\n",
            event["entries"], event["rev"]
        ),
        _ => line(&event),
    }
}

fn line(event: &Value) -> String {
    let at = event["unix_ms"].as_u64().unwrap_or(0);
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at);
    let mut text = format!(
        "{}  {:<10}",
        humantime::format_rfc3339_millis(at),
        harmless(&event["event"])
    );
    for field in ["name", "peer", "cause", "reason", "errorcode", "restored"] {
        if let Some(value) = event.get(field) {
            let _ = match field {
                "name" => write!(text, "  {}", harmless(value)),
                "reason" => write!(text, " ({})", harmless(value)),
                _ => write!(text, "  {field} {}", harmless(value)),
            };
        }
    }
    let _ = writeln!(text, "  rev {}", event["rev"]);
    text
}

/// What came of a drain.
pub(super) fn drained(drained: &Value, name: &str) -> String {
    let entries = drained["drained"].as_array().map_or(0, Vec::len);
    let mut text = format!(
        "drained {entries} named {name:?} in revision {}: {} of {} sessions know",
        drained["rev"], drained["acked"], drained["of"]
    );
    if drained["blind"] != 0 {
        let _ = write!(text, "; {} were told and can't say", drained["blind"]);
    }
    let names: Vec<String> = array(&drained["late"])
        .map(|late| harmless(&late["name"]))
        .collect();
    if !names.is_empty() {
        let _ = write!(text, "; late: {}", names.join(", "));
    }
    text.push('\n');
    text
}

/// The elements of an array, none of anything else.
fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn address(node: &Value) -> String {
    let (host, port) = (harmless(&node["host"]), harmless(&node["port"]));
    match (host.contains(':'), port.is_empty()) {
        (false, true) => host,
        (false, false) => format!("{host}:{port}"),
        (true, true) => format!("[{host}]"),
        (true, false) => format!("[{host}]:{port}"),
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

fn age(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds.max(0.0).floor()).unwrap_or_default();
    let text = humantime::format_duration(seconds).to_string();
    let parts: Vec<&str> = text.split(' ').take(2).collect();
    parts.join(" ")
}

/// What a node says of itself, with nothing in it that a terminal would act on.
fn harmless(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Those that are not seen, and those that turn the rest around.
    let acts = |c: char| match c {
        '\u{ad}' | '\u{61c}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => c.is_control(),
    };
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_terminal_shows_names_and_acts_on_none() {
        assert_eq!(
            harmless(&json!("상품 \u{1b}[31m\u{202e}\u{200b}\u{61c}")),
            "상품 \\u{1b}[31m\\u{202e}\\u{200b}\\u{61c}"
        );
        assert_eq!(
            (harmless(&json!(7)), harmless(&Value::Null)),
            ("7".to_owned(), String::new())
        );
    }

    #[test]
    fn nodes_are_a_table() {
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
    fn of_very_many_urls_the_first_are_shown() {
        let urls: Vec<String> = (0..12).map(|number| format!("GET/{number}")).collect();
        let text = nodes(&json!({"rev": 1, "entries": 1, "nodes": [{"name": "a", "urls": urls}]}));
        assert!(text.contains("GET/9 and 2 more\n"), "{text}");
    }

    #[test]
    fn why_says_who_was_told() {
        let mut push = json!({"rev": 4, "told": 3, "of": 2, "acked": 1, "ack_asked": true, "blind": 1, "last_ack_after_ms": 2.5, "backlogged": 0, "late": 1, "late_names": ["shop"]});
        let event = json!({"unix_ms": 0, "event": "left", "name": "goods", "cause": "closed", "reason": "reset", "rev": 4, "push": push});
        assert_eq!(
            why(&json!({"events": [event], "more": false}), None),
            "1970-01-01T00:00:00.000Z  left        goods  cause closed (reset)  rev 4\n    told 3 in revision 4; 1 of 2 sessions acknowledged, the last after 2.5 ms; 1 can't say\n    late: 1 (shop)\n"
        );
        // Nobody is late who was not asked.
        push["ack_asked"] = json!(false);
        assert_eq!(
            told(&push),
            "    told 3 in revision 4; 1 of 2 sessions acknowledged, the last with a heartbeat after 2.5 ms; 1 can't say\n    to say so with their next heartbeat: 1 (shop)\n"
        );
    }
}
