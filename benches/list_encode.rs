//! `list_encode`: encoding a list and a change of it, beside bare copying of the same bytes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pilcrow::registry::{Capacity, Cause, Entry, EntryId, Registry, write_entries};

criterion_group!(benches, snapshot, delta, change);
criterion_main!(benches);

const NODES: usize = 1000;

fn entry(n: usize) -> Entry {
    let encoded = format!(
        r#"{{"port":9010,"name":"svc-{n:04}","urls":["GET/svc-{n:04}","POST/svc-{n:04}"],"host":"127.0.0.1"}}"#
    );
    Entry {
        encoded: encoded.into_bytes().into(),
        name: format!("svc-{n:04}").into(),
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

fn snapshot(criterion: &mut Criterion) {
    let (registry, _) = registry();
    let mut list = Vec::new();
    write_entries(&mut list, registry.listed());
    let pieces: Vec<Vec<u8>> = (0..NODES).map(|n| entry(n).encoded.into()).collect();

    let mut group = criterion.benchmark_group("list_encode/list of 1,000");
    group.throughput(Throughput::Bytes(list.len() as u64));
    let mut out = Vec::with_capacity(2 * list.len());
    group.bench_function("bare copy of its pieces", |bencher| {
        bencher.iter(|| {
            out.clear();
            for piece in black_box(&pieces) {
                out.extend_from_slice(piece);
                out.push(b',');
            }
            out.len()
        });
    });
    group.bench_function("registry", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_entries(&mut out, black_box(&registry).listed());
            out.len()
        });
    });
    group.finish();
}

fn delta(criterion: &mut Criterion) {
    let (mut registry, mut ids) = registry();
    let revision = registry.revision();
    for n in 0..10 {
        registry.leave(ids.remove(0), Cause::Closed);
        ids.push(registry.join(entry(n)).unwrap());
    }
    let pieces: Vec<Vec<u8>> = (0..10).map(|n| entry(n).encoded.into()).collect();

    let mut group = criterion.benchmark_group("list_encode/delta of 10 joined and 10 left");
    let mut out = Vec::with_capacity(4096);
    group.bench_function("bare copy of its pieces", |bencher| {
        bencher.iter(|| {
            out.clear();
            for piece in black_box(&pieces) {
                out.extend_from_slice(piece);
                out.push(b',');
            }
            out.len()
        });
    });
    group.bench_function("registry", |bencher| {
        bencher.iter(|| {
            out.clear();
            let delta = registry.delta_since(black_box(revision)).unwrap();
            write_entries(&mut out, registry.select(&delta.joined));
            out.len() + delta.left.len()
        });
    });
    group.finish();
}

fn change(criterion: &mut Criterion) {
    let (mut registry, mut ids) = registry();
    let mut group = criterion.benchmark_group("list_encode/one leaves and another joins");
    let mut next = 0;
    group.bench_function("registry of 1,000", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % NODES;
            registry.leave(ids[next], Cause::Closed);
            ids[next] = registry.join(entry(next)).unwrap();
        });
    });
    group.finish();
}
