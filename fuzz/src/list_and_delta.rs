//! A node that receives lists and changes has the view of the registry.

use crate::node_link::Bench;
use crate::script::Script;
use pilcrow::node::Member;
use pilcrow::fuzzing::{Stamp, write_delta, write_session_list};
use pilcrow::protocol::Route;
use pilcrow::registry::{Cause, Entry, EntryId, Keys, Registry, write_entries, write_ids};

/// The input decides how the registry changes, and when the node receives a list or a change.
pub fn list_and_delta(input: &[u8]) {
    let mut script = Script::new(input);
    let mut registry = Registry::default();
    let mut ids: Vec<EntryId> = Vec::new();
    let mut bench = Bench::new();
    bench.open();
    bench.send(
        r#"{"key":1,"errorcode":0,"results":{"id":0,"epoch":"e1","rev":0,"heartbeat_ms":5000}}¶"#
            .as_bytes(),
    );
    let mut sent = None;
    while !script.is_over() {
        match script.pick(8) {
            0 | 1 => ids.extend(registry.join(entry(&mut script))),
            2 if !ids.is_empty() => {
                let id = ids[script.pick(ids.len())];
                let changed = registry.replace(id, entry(&mut script));
                changed.expect("there is room");
            }
            3 | 4 if !ids.is_empty() => {
                let id = ids.swap_remove(script.pick(ids.len()));
                let left = registry.leave(id, script.one_of(&[Cause::Closed, Cause::Drained]));
                assert!(left.is_some());
            }
            5 => {
                sent = Some(send_list(&mut bench, &registry));
                assert_same(&mut bench, &registry);
            }
            _ => {
                // Without a change nothing is sent.
                if sent == Some(registry.revision()) {
                    continue;
                }
                sent = Some(
                    match sent.and_then(|from| send_delta(&mut bench, &registry, from)) {
                        Some(revision) => revision,
                        None => send_list(&mut bench, &registry),
                    },
                );
                assert_same(&mut bench, &registry);
            }
        }
    }
}

/// Draws from few entries, so that equal ones meet.
fn entry(script: &mut Script<'_>) -> Entry {
    let (port, url) = (1 + script.pick(3), script.pick(2));
    let text = format!(
        "{{\"port\":{port},\"name\":\"n{port}\",\"urls\":[\"GET/{url}\"],\"host\":\"10.0.0.1\"}}"
    );
    Entry {
        encoded: text.into_bytes().into(),
        keys: Keys {
            name: format!("n{port}").into(),
            urls: [format!("GET/{url}").into()].into(),
        },
        listed: script.pick(4) > 0,
        is_plain: false,
    }
}

fn send_list(bench: &mut Bench, registry: &Registry) -> u64 {
    let mut frame = Vec::new();
    let rev = registry.revision();
    let stamp = Stamp {
        epoch: "e1",
        rev,
        ack: false,
    };
    let entries = |out: &mut Vec<u8>| write_entries(out, registry.listed());
    let ids = |out: &mut Vec<u8>| write_ids(out, registry.listed());
    write_session_list(&mut frame, "0", stamp, true, entries, ids, |_| {});
    frame.extend_from_slice("¶".as_bytes());
    bench.send(&frame);
    rev
}

fn send_delta(bench: &mut Bench, registry: &Registry, from: u64) -> Option<u64> {
    let delta = registry.delta_since(from)?;
    let mut frame = Vec::new();
    let rev = registry.revision();
    let stamp = Stamp {
        epoch: "e1",
        rev,
        ack: false,
    };
    let joined = |out: &mut Vec<u8>| write_entries(out, registry.select(&delta.joined));
    let left = delta
        .left
        .iter()
        .map(|(id, cause)| (id.number(), cause.as_str()));
    let ids = |out: &mut Vec<u8>| write_ids(out, registry.select(&delta.joined));
    write_delta(&mut frame, stamp, from, joined, left, ids, |_| {});
    frame.extend_from_slice("¶".as_bytes());
    bench.send(&frame);
    Some(rev)
}

fn assert_same(bench: &mut Bench, registry: &Registry) {
    let listed = registry.iter().filter(|(_, entry)| entry.listed);
    let expected: Vec<&[u8]> = listed.map(|(_, entry)| &*entry.encoded).collect();
    let cx = bench.context();
    let roster = cx.roster();
    let members = roster.members();
    let seen: Vec<&[u8]> = members
        .iter()
        .map(|member| member.entry.as_bytes())
        .collect();
    assert_eq!(seen, expected);
    let count =
        |wanted: &dyn Fn(&Member) -> bool| members.iter().filter(|member| wanted(member)).count();
    for port in 1..=3u16 {
        let named = roster.named(&format!("n{port}")).count();
        assert_eq!(named, count(&|member| member.node.port == Some(port)));
    }
    for url in ["GET/0", "GET/1"] {
        let serving = roster.serving(&Route::parse(url)).count();
        assert_eq!(serving, count(&|member| member.node.urls == [url]));
    }
}
