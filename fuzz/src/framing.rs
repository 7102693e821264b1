//! The frames of a stream do not depend on how it is cut.

use std::ops::ControlFlow;

use crate::script::Script;
use pilcrow::fuzzing::{BufferPool, Fed, FrameBuffer};

/// Returns the frames of a stream and their lengths before trimming, found in the simplest way.
fn model(stream: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while let Some(end) = rest.windows(2).position(|pair| pair == "¶".as_bytes()) {
        let begun = rest[..end].trim_ascii_start();
        frames.push((begun.trim_ascii_end().to_vec(), begun.len()));
        rest = &rest[end + 2..];
    }
    frames
}

/// The input is a limit, stops, cuts, and the stream.
pub fn framing(input: &[u8]) {
    let mut script = Script::new(input);
    let limit = usize::from(script.byte());
    let stops = script.byte();
    let cuts = script.bytes();
    let stream = script.rest();

    let whole = cut(stream, &[], limit, 0);
    let pieces = cut(stream, cuts, limit, stops);
    let model = model(stream);
    let fitting = model.iter().take_while(|(_, bytes)| *bytes <= limit);
    let frames: Vec<Vec<u8>> = fitting
        .map(|(frame, _)| frame.clone())
        .filter(|frame| !frame.is_empty())
        .collect();
    assert_eq!(whole.0, frames, "in one piece");
    assert_eq!(pieces.0, frames, "in pieces");
    assert_eq!(whole.1, pieces.1, "over the limit or not");
    if model.iter().any(|(_, bytes)| *bytes > limit) {
        assert!(whole.1, "a frame is over the limit");
    }
}

/// Returns the frames, and whether one was over the limit.
fn cut(stream: &[u8], cuts: &[u8], limit: usize, stops: u8) -> (Vec<Vec<u8>>, bool) {
    let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
    let mut frames = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().map(|cut| usize::from(*cut));
    loop {
        let (mut piece, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
        loop {
            let fed = buffer.feed(piece, limit, &mut pool, &mut |frame| {
                assert!(!frame.is_empty() && frame.len() <= limit);
                frames.push(frame.to_vec());
                match stops >> (frames.len() % 8) & 1 {
                    0 => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            });
            match fed {
                Fed::TooLarge => return (frames, true),
                Fed::Stopped => piece = &[],
                Fed::Drained => break,
            }
        }
        // Half a frame end may follow the limit.
        assert!(buffer.unfinished().len() <= limit + 1);
        if buffer.unfinished().is_empty() {
            assert_eq!(buffer.capacity(), 0, "memory is held between frames");
        }
        if after.is_empty() {
            return (frames, false);
        }
        rest = after;
    }
}
