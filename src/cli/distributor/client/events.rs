//! Events of the journal as text.

use std::fmt::Write;
use std::time::Duration;

use clap::builder::styling::Style;
use serde_json::Value;

use super::show::{array, count, printable};
use crate::cli::terminal::{BAD, GOOD, PLAIN, Terminal, WARNING};
use crate::cli::value::shown;

/// Maximum number of names of events in one line. The JSON has all.
const MAX_NAMES: usize = 8;

/// Fields in which events of one line are equal.
const EQUAL_FIELDS: [&str; 5] = ["event", "cause", "reason", "errorcode", "restored"];

/// Formats events, and the acknowledgements of their pushes. Equal events of one instant are one
/// line.
pub(super) fn why(why: &Value, name: Option<&str>, terminal: Terminal) -> String {
    let events: Vec<&Value> = array(why, "events").collect();
    if events.is_empty() {
        return match name {
            Some(name) => format!("no event of {} among the last 10000\n", shown(name)),
            None => "no events yet\n".to_owned(),
        };
    }
    let mut text = String::new();
    let instants = events.chunk_by(|a, b| a["unix_ms"] == b["unix_ms"]);
    let mut instants = instants.peekable();
    while let Some(instant) = instants.next() {
        for (number, line) in lines_of(instant).iter().enumerate() {
            text += &event_line(line, number == 0, terminal);
        }
        // One push may have the changes of several instants.
        let next = instants.peek().map_or(Vec::new(), |next| pushes_of(next));
        for push in pushes_of(instant) {
            if !next.contains(&push) {
                text += &push_line(push);
            }
        }
    }
    if why["more"] == true {
        text += "older events exist: --limit N\n";
    }
    text
}

/// Returns the events of one instant in groups, each for one line.
fn lines_of<'v>(instant: &[&'v Value]) -> Vec<Vec<&'v Value>> {
    let mut lines: Vec<Vec<&Value>> = Vec::new();
    for event in instant {
        let is_equal = |other: &&Value| {
            let mut fields = EQUAL_FIELDS.iter();
            fields.all(|field| other.get(field) == event.get(field))
        };
        let line = lines
            .iter_mut()
            .find(|line| line.first().is_some_and(is_equal));
        match line {
            Some(line) => line.push(event),
            None => lines.push(vec![event]),
        }
    }
    lines
}

/// Returns the different pushes of these events, in order.
fn pushes_of<'v>(events: &[&'v Value]) -> Vec<&'v Value> {
    let mut pushes: Vec<&Value> = Vec::new();
    for push in events.iter().filter_map(|event| event.get("push")) {
        if !pushes.contains(&push) {
            pushes.push(push);
        }
    }
    pushes
}

fn push_line(push: &Value) -> String {
    if push.is_null() {
        return "    not sent yet\n".to_owned();
    }
    let mut text = format!(
        "    revision {} sent to {}; acknowledged by {} of {}",
        push["rev"],
        count(&push["told"], "peer", "peers"),
        push["acked"],
        count(&push["of"], "session", "sessions")
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
pub(super) fn stream_line(name: &str, data: &str, terminal: Terminal) -> String {
    let event: &Value = &serde_json::from_str(data).unwrap_or_default();
    let start = match name {
        "hello" => "watching",
        "reset" => "some events were missed",
        _ => return event_line(&[event], true, terminal),
    };
    let (entries, rev) = (count(&event["entries"], "node", "nodes"), &event["rev"]);
    format!("{start}: {entries}, revision {rev}\n")
}

/// Formats equal events of one instant.
fn event_line(events: &[&Value], with_time: bool, terminal: Terminal) -> String {
    let (Some(event), Some(last)) = (events.first(), events.last()) else {
        return String::new();
    };
    let at = Duration::from_millis(event["unix_ms"].as_u64().unwrap_or(0));
    let at = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + at).to_string();
    let at = if with_time { at } else { " ".repeat(at.len()) };
    let kind = printable(&event["event"]);
    let mut text = format!(
        "{at}  {}",
        terminal.paint(style_of(&kind), &format!("{kind:<10}"))
    );
    let names = names_of(events);
    if !names.is_empty() {
        let _ = write!(text, "  {names}");
    }
    // Each event has another peer.
    let peer: &[&str] = if events.len() == 1 { &["peer"] } else { &[] };
    for field in peer
        .iter()
        .chain(&["cause", "reason", "errorcode", "restored"])
    {
        if let Some(value) = event.get(field) {
            let _ = match *field {
                "reason" => write!(text, " ({})", printable(value)),
                _ => write!(text, "  {field} {}", printable(value)),
            };
        }
    }
    let _ = write!(text, "  rev {}", event["rev"]);
    if last["rev"] != event["rev"] {
        let _ = write!(text, " to {}", last["rev"]);
    }
    text.push('\n');
    text
}

/// Returns the names of the nodes of these events, each once.
fn names_of(events: &[&Value]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for event in events {
        let name = event.get("name").map_or("-".to_owned(), printable);
        match counts.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    if let [(name, 1)] = &*counts
        && name == "-"
    {
        return String::new();
    }
    let more = counts.iter().skip(MAX_NAMES).map(|(_, count)| count);
    let more: usize = more.sum();
    let shown = counts.iter().take(MAX_NAMES);
    let shown = shown.map(|(name, count)| match count {
        1 => name.clone(),
        _ => format!("{name} ×{count}"),
    });
    let mut names: Vec<String> = shown.collect();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

fn style_of(kind: &str) -> Style {
    match kind {
        "joined" | "claimed" | "recovered" | "complete" => GOOD,
        "left" => BAD,
        "suspect" | "rejected" | "wrong-protocol" | "limit" | "warm-up" => WARNING,
        _ => PLAIN,
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

    fn formatted(events: Value) -> String {
        why(&json!({"events": events, "more": false}), None, FILE)
    }

    #[test]
    fn shows_acknowledgements_of_a_push() {
        let mut push = json!({"rev": 4, "told": 3, "of": 2, "acked": 1, "ack_asked": true, "blind": 1, "last_ack_after_ms": 2.5, "backlogged": 0, "late": 1, "late_names": ["shop"]});
        let event = json!({"unix_ms": 0, "event": "left", "name": "goods", "cause": "closed", "reason": "reset", "rev": 4, "push": push});
        assert_eq!(
            formatted(json!([event])),
            "1970-01-01T00:00:00.000Z  left        goods  cause closed (reset)  rev 4\n    revision 4 sent to 3 peers; acknowledged by 1 of 2 sessions, the last after 2.5 ms; 1 untracked\n    late: 1 (shop)\n"
        );
        // Without a request, sessions acknowledge with their next heartbeat.
        push["ack_asked"] = json!(false);
        assert_eq!(
            push_line(&push),
            "    revision 4 sent to 3 peers; acknowledged by 1 of 2 sessions, the last after 2.5 ms; 1 untracked\n    pending until the next heartbeat: 1 (shop)\n"
        );
    }

    #[test]
    fn folds_events_of_the_same_instant() {
        let push = json!({"rev": 4, "told": 1, "of": 0, "acked": 0, "ack_asked": true, "blind": 0, "backlogged": 0, "late": 0});
        let joined = |at: u64, name: &str, rev: u64| json!({"unix_ms": at, "event": "joined", "name": name, "peer": "127.0.0.1:1", "rev": rev, "push": push});
        let changed = json!({"unix_ms": 7, "event": "changed", "name": "shop", "peer": "127.0.0.1:2", "rev": 3, "push": push});
        let events = json!([
            joined(7, "goods", 1),
            joined(7, "shop", 2),
            changed,
            joined(7, "goods", 3),
            joined(8, "cart", 4),
            {"unix_ms": 9, "event": "warm-up", "rev": 4},
        ]);
        assert_eq!(
            formatted(events),
            "1970-01-01T00:00:00.007Z  joined      goods ×2, shop  rev 1 to 3\n                          changed     shop  peer 127.0.0.1:2  rev 3\n1970-01-01T00:00:00.008Z  joined      cart  peer 127.0.0.1:1  rev 4\n    revision 4 sent to 1 peer; acknowledged by 0 of 0 sessions\n1970-01-01T00:00:00.009Z  warm-up     rev 4\n"
        );
    }

    #[test]
    fn names_the_first_nodes_of_many_events() {
        let joined = (0..20).map(|number| {
            let name = format!("node{number}");
            json!({"unix_ms": 7, "event": "joined", "name": name, "rev": number + 1, "push": null})
        });
        let text = formatted(joined.collect());
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.contains(" node7, and 12 more  rev 1 to 20\n    not sent yet\n"),
            "{text}"
        );
    }

    #[test]
    fn keeps_events_of_another_cause_apart() {
        let left = |cause: &str| json!({"unix_ms": 7, "event": "left", "name": "a", "cause": cause, "rev": 2});
        let text = formatted(json!([left("closed"), left("silent"), left("closed")]));
        assert_eq!(
            text,
            "1970-01-01T00:00:00.007Z  left        a ×2  cause closed  rev 2\n                          left        a  cause silent  rev 2\n"
        );
    }

    #[test]
    fn colors_kinds_of_events() {
        let terminal = Terminal {
            has_colors: true,
            ..FILE
        };
        let data = r#"{"unix_ms":0,"event":"left","name":"a","rev":2}"#;
        assert_eq!(
            stream_line("left", data, terminal),
            "1970-01-01T00:00:00.000Z  \u{1b}[31mleft      \u{1b}[0m  a  rev 2\n"
        );
    }
}
