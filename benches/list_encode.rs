//! `list_encode`: encoding a list and a change of it, beside bare copying of the same bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod side_by_side;

use std::hint::black_box;

use pilcrow::registry::{Capacity, Cause, Entry, EntryId, Keys, Registry, write_entries};
use side_by_side::{compare, cpu_of_all, is_selected, measure, print_head};

const NODES: usize = 1000;
const ROUNDS: usize = 50;

type Row = (&'static str, fn(&str));

fn main() {
    print_head();
    let rows: [Row; 3] = [
        ("list_encode/list of 1,000", snapshot),
        ("list_encode/delta of 10 joined and 10 left", delta),
        ("list_encode/one leaves and another joins", change),
    ];
    for (row, run) in rows {
        if is_selected(row) {
            run(row);
        }
    }
}

fn entry(n: usize) -> Entry {
    let encoded = format!(
        r#"{{"port":9010,"name":"svc-{n:04}","urls":["GET/svc-{n:04}","POST/svc-{n:04}"],"host":"127.0.0.1"}}"#
    );
    Entry {
        encoded: encoded.into_bytes().into(),
        keys: Keys {
            name: format!("svc-{n:04}").into(),
            urls: ["GET", "POST"]
                .map(|method| format!("{method}/svc-{n:04}").into())
                .into(),
        },
        listed: true,
        is_plain: false,
    }
}

fn registry() -> (Registry, Vec<EntryId>) {
    let mut registry = Registry::new(Capacity::default());
    let ids = (0..NODES)
        .map(|n| registry.join(entry(n)).unwrap())
        .collect();
    (registry, ids)
}

/// Copies the pieces of a list, each with a comma.
fn copy(pieces: &[Vec<u8>], out: &mut Vec<u8>) -> usize {
    out.clear();
    for piece in pieces {
        out.extend_from_slice(piece);
        out.push(b',');
    }
    out.len()
}

fn snapshot(row: &str) {
    let (registry, _) = registry();
    let pieces: Vec<Vec<u8>> = (0..NODES).map(|n| entry(n).encoded.into()).collect();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let encode = || {
        ours.clear();
        write_entries(&mut ours, black_box(&registry).listed());
        ours.len()
    };
    compare_with_copy(row, 100, encode, || copy(black_box(&pieces), &mut bare));
}

fn delta(row: &str) {
    let (mut registry, mut ids) = registry();
    let revision = registry.revision();
    for n in 0..10 {
        registry.leave(ids.remove(0), Cause::Closed);
        ids.push(registry.join(entry(n)).unwrap());
    }
    let pieces: Vec<Vec<u8>> = (0..10).map(|n| entry(n).encoded.into()).collect();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let encode = || {
        ours.clear();
        let delta = registry.delta_since(black_box(revision)).unwrap();
        write_entries(&mut ours, registry.select(&delta.joined));
        ours.len() + delta.left.len()
    };
    compare_with_copy(row, 10_000, encode, || copy(black_box(&pieces), &mut bare));
}

fn compare_with_copy(
    row: &str,
    times: u32,
    mut encode: impl FnMut() -> usize,
    mut copy: impl FnMut() -> usize,
) {
    compare(
        row,
        ROUNDS,
        times,
        || cpu_of_all(times, &mut encode),
        || cpu_of_all(times, &mut copy),
    );
}

fn change(row: &str) {
    let (mut registry, mut ids) = registry();
    let mut next = 0;
    measure(row, ROUNDS, 10_000, || {
        cpu_of_all(10_000, || {
            next = (next + 1) % NODES;
            registry.leave(ids[next], Cause::Closed);
            ids[next] = registry.join(entry(next)).unwrap();
        })
    });
}
