//! `framing`: cutting a stream into frames, beside the plain search for their end.

#![allow(clippy::indexing_slicing)]

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
// Not in the interface of `pilcrow`.
use pilcrow_testing::fuzzing::{BufferPool, FrameBuffer};

const STREAM_BYTES: usize = 1 << 20;
const MAX_FRAME_BYTES: usize = 1 << 20;

/// Returns frames of about this many bytes, with umlauts as in real text.
fn stream(frame_bytes: usize) -> Vec<u8> {
    let text = "Bestellung für Größe ".repeat(frame_bytes / 24 + 1);
    let frame =
        format!("{{\"uri\":\"/goods\",\"method\":\"GET\",\"key\":7,\"params\":\"{text}\"}}¶");
    frame.repeat(STREAM_BYTES / frame.len()).into_bytes()
}

fn framing(criterion: &mut Criterion) {
    for frame_bytes in [256, 4096, 65_536] {
        let stream = stream(frame_bytes);
        let mut group = criterion.benchmark_group(format!("framing/{frame_bytes}-byte frames"));
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function("plain memchr", |bencher| {
            bencher.iter(|| {
                let (mut rest, mut found) = (black_box(stream.as_slice()), 0);
                while let Some(at) = memchr::memchr(0xC2, rest) {
                    rest = &rest[at + 1..];
                    found += 1;
                }
                found
            });
        });
        for cut in [1448, 16_384, 65_536] {
            group.bench_with_input(BenchmarkId::new("cut every", cut), &cut, |bencher, cut| {
                let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
                bencher.iter(|| {
                    let mut bytes = 0;
                    for piece in black_box(&stream).chunks(*cut) {
                        buffer.feed(piece, MAX_FRAME_BYTES, &mut pool, &mut |frame| {
                            bytes += frame.len();
                            ControlFlow::Continue(())
                        });
                    }
                    bytes
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, framing);
criterion_main!(benches);
