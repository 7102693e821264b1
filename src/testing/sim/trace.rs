//! A trace of events: a hash that two equal runs share, and the last lines as text.

use std::collections::VecDeque;

use crate::time::Time;

/// A hash of all events, and the last lines as text.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    last: VecDeque<Note>,
    kept: usize,
}

#[derive(Debug)]
struct Note {
    at: Time,
    what: &'static str,
    numbers: [u64; 3],
    words: Option<Box<str>>,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            last: VecDeque::new(),
            kept: 80,
        }
    }

    /// Sets the number of lines that are kept. The hash covers all.
    pub(super) fn keep(&mut self, notes: usize) {
        self.kept = notes;
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    fn fold(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }

    pub(super) fn note(&mut self, at: Time, what: &'static str, numbers: [u64; 3]) {
        self.push(Note {
            at,
            what,
            numbers,
            words: None,
        });
    }

    pub(super) fn log(&mut self, at: Time, words: &str) {
        for byte in words.bytes() {
            self.fold(u64::from(byte));
        }
        self.push(Note {
            at,
            what: "",
            numbers: [0; 3],
            words: Some(words.into()),
        });
    }

    fn push(&mut self, note: Note) {
        // Kinds of lines mostly differ by their length, and otherwise by their numbers.
        self.fold(note.at.as_nanos() ^ (note.what.len() as u64) << 56);
        let [a, b, c] = note.numbers;
        self.fold(a.rotate_left(40) ^ b.rotate_left(20) ^ c);
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back(note);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let line = |note: &Note| {
            let at = note.at.as_nanos() / 1000;
            let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
            match &note.words {
                Some(words) => format!("{seconds:4}.{micros:06}  {words}"),
                None => {
                    let [a, b, c] = note.numbers;
                    format!("{seconds:4}.{micros:06}      {} {a} {b} {c}", note.what)
                }
            }
        };
        self.last.iter().map(line).collect()
    }
}
