//! `framing`: cutting a stream into frames, beside the plain search for their end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod side_by_side;

use std::hint::black_box;
use std::ops::ControlFlow;

// Not in the interface of `pilcrow`.
use pilcrow_testing::fuzzing::{BufferPool, FrameBuffer};
use side_by_side::{compare, cpu_of_all, is_selected, print_head};

const STREAM_BYTES: usize = 1 << 20;
const MAX_FRAME_BYTES: usize = 1 << 20;
const ROUNDS: usize = 50;
/// Number of times that a stream is cut in a round.
const PASSES: u32 = 10;

/// Returns frames of about this many bytes, with umlauts as in real text.
fn stream(frame_bytes: usize) -> Vec<u8> {
    let text = "Bestellung für Größe ".repeat(frame_bytes / 24 + 1);
    let frame =
        format!("{{\"uri\":\"/goods\",\"method\":\"GET\",\"key\":7,\"params\":\"{text}\"}}¶");
    frame.repeat(STREAM_BYTES / frame.len()).into_bytes()
}

fn main() {
    print_head();
    for frame_bytes in [256, 4096, 65_536] {
        let stream = stream(frame_bytes);
        let frames = u32::try_from(find_ends(&stream)).unwrap();
        for piece_bytes in [1448, 16_384, 65_536] {
            let row = format!("framing/{frame_bytes}-byte frames/cut every {piece_bytes}");
            if !is_selected(&row) {
                continue;
            }
            let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
            let mut cut = || {
                let mut bytes = 0;
                for piece in black_box(&stream).chunks(piece_bytes) {
                    buffer.feed(piece, MAX_FRAME_BYTES, &mut pool, &mut |frame| {
                        bytes += frame.len();
                        ControlFlow::Continue(())
                    });
                }
                bytes
            };
            compare(
                &row,
                ROUNDS,
                PASSES * frames,
                || cpu_of_all(PASSES, &mut cut),
                || cpu_of_all(PASSES, || find_ends(black_box(&stream))),
            );
        }
    }
}

/// Returns the number of frames, by a plain search.
fn find_ends(stream: &[u8]) -> usize {
    let (mut rest, mut found) = (stream, 0);
    while let Some(at) = memchr::memchr(0xC2, rest) {
        rest = &rest[at + 1..];
        found += 1;
    }
    found
}
