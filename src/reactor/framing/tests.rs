use super::*;
use proptest::prelude::*;

/// Returns the frames of a stream, computed in the simplest way.
fn model(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut begun = Vec::new();
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == LEAD && bytes.peek() == Some(&TRAIL) {
            bytes.next();
            frames.push(std::mem::take(&mut begun).trim_ascii().to_vec());
        } else {
            begun.push(byte);
        }
    }
    frames.retain(|frame| !frame.is_empty());
    frames
}

fn pieces(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.push(stream.len());
    cuts.sort_unstable();
    let mut from = 0;
    let piece = |to: usize| stream[std::mem::replace(&mut from, to)..to].to_vec();
    cuts.into_iter().map(piece).collect()
}

/// Bytes with many ends, half ends and white space.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(vec![LEAD]),
        Just(vec![TRAIL]),
        Just(FRAME_END.to_vec()),
        Just(b" ".to_vec()),
        Just(b"\r\n".to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
        Just("ö".as_bytes().to_vec()),
    ];
    prop::collection::vec(byte, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn finds_the_same_frames_however_the_stream_is_cut(
        stream in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
        let mut frames = Vec::new();
        for piece in pieces(&stream, &cuts) {
            let fed = buffer.feed(&piece, 1 << 20, &mut pool, &mut |frame| {
                frames.push(frame.to_vec());
                ControlFlow::Continue(())
            });
            prop_assert_eq!(fed, Fed::Drained);
        }
        prop_assert_eq!(frames, model(&stream));
    }

    #[test]
    fn loses_and_repeats_no_frame_after_a_stop(
        stream in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        stops in prop::collection::vec(any::<bool>(), 1..12),
    ) {
        let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
        let mut frames = Vec::new();
        let mut stops = stops.iter().cycle();
        for piece in pieces(&stream, &cuts) {
            let mut input = piece.as_slice();
            loop {
                let fed = buffer.feed(input, 1 << 20, &mut pool, &mut |frame| {
                    frames.push(frame.to_vec());
                    if *stops.next().unwrap() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                input = &[];
                if fed == Fed::Drained {
                    break;
                }
            }
        }
        prop_assert_eq!(frames, model(&stream));
    }

    #[test]
    fn limits_each_frame_however_the_stream_is_cut(
        stream in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        limit in 0..20usize,
    ) {
        let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
        let mut frames = Vec::new();
        let mut too_large = false;
        for piece in pieces(&stream, &cuts) {
            let fed = buffer.feed(&piece, limit, &mut pool, &mut |frame| {
                frames.push(frame.to_vec());
                ControlFlow::Continue(())
            });
            too_large |= fed == Fed::TooLarge;
            if too_large {
                break;
            }
        }
        prop_assert!(frames.iter().all(|frame| frame.len() <= limit));
        if model(&stream).iter().any(|frame| frame.len() > limit) {
            prop_assert!(too_large);
        }
        if !too_large {
            prop_assert_eq!(frames, model(&stream));
            prop_assert!(buffer.unfinished().len() <= limit + 1);
        }
    }

    #[test]
    fn offers_raw_bytes_in_order_until_they_are_consumed(
        stream: Vec<u8>,
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        appetite in prop::collection::vec(0..9usize, 1..12),
    ) {
        let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
        let mut consumed = Vec::new();
        let mut appetite = appetite.iter().cycle();
        for piece in pieces(&stream, &cuts) {
            buffer.feed_raw(&piece, 1 << 20, &mut pool, &mut |bytes| {
                let count = bytes.len().min(*appetite.next().unwrap());
                consumed.extend_from_slice(&bytes[..count]);
                (count, ControlFlow::Continue(()))
            });
        }
        consumed.extend_from_slice(buffer.unfinished());
        prop_assert_eq!(consumed, stream);
    }
}

#[test]
fn holds_no_memory_between_frames() {
    let (mut buffer, mut pool) = (FrameBuffer::default(), BufferPool::default());
    for piece in [&b"{\"a\""[..], b":1}\xC2", b"\xB6 \r\n"] {
        buffer.feed(piece, 100, &mut pool, &mut |_| ControlFlow::Continue(()));
    }
    assert!(buffer.unfinished().is_empty());
    assert_eq!(buffer.kept.capacity(), 0);
}
