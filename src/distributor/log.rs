//! Log lines that a peer can cause: its text made harmless, and not one line for each mistake.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::protocol::ErrorCode;
use crate::reactor::CloseReason;
use crate::time::Time;

/// Text of a peer, for a log line: at most 256 bytes, and nothing in it that a terminal or a log
/// reader would act on.
#[derive(Clone, Debug)]
pub(super) struct Escaped<'a>(Cow<'a, str>);

const MAX_ESCAPED_BYTES: usize = 256;

impl<'a> Escaped<'a> {
    pub(super) fn text(text: &'a str) -> Escaped<'a> {
        Escaped(Cow::Borrowed(text))
    }

    pub(super) fn bytes(bytes: &'a [u8]) -> Escaped<'a> {
        // A character is escaped to no fewer bytes than it has, so no more than these can show.
        let shown = bytes.get(..MAX_ESCAPED_BYTES + 1).unwrap_or(bytes);
        Escaped(String::from_utf8_lossy(shown))
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MORE: &str = "…";
        let mut left = MAX_ESCAPED_BYTES - MORE.len();
        for character in self.0.chars() {
            // Quotes mean nothing here; everything that is not printable does.
            let plain = matches!(character, '"' | '\'');
            let escaped = character.escape_debug();
            let bytes = if plain {
                1
            } else {
                escaped.clone().map(char::len_utf8).sum()
            };
            if bytes > left {
                return f.write_str(MORE);
            }
            left -= bytes;
            if plain {
                f.write_char(character)?;
            } else {
                write!(f, "{escaped}")?;
            }
        }
        Ok(())
    }
}

/// What a limited log line is about. Each subject is limited by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Refused(ErrorCode),
    Foreign,
    Unlisted,
    ListSize,
    Connections,
    Accept,
    FrameTooLarge,
    FrameTimeout,
    NoFirstByte,
    TooMuchUnsent,
    WriteTimeout,
}

impl Subject {
    const COUNT: usize = 10 + 8;

    fn index(self) -> usize {
        match self {
            Subject::Foreign => 0,
            Subject::Unlisted => 1,
            Subject::ListSize => 2,
            Subject::Connections => 3,
            Subject::Accept => 4,
            Subject::FrameTooLarge => 5,
            Subject::FrameTimeout => 6,
            Subject::NoFirstByte => 7,
            Subject::TooMuchUnsent => 8,
            Subject::WriteTimeout => 9,
            Subject::Refused(code) => 10 + code as usize,
        }
    }

    /// The subject of a connection that broke a limit.
    pub(super) fn of_limit(why: CloseReason) -> Option<Subject> {
        match why {
            CloseReason::FrameTooLarge => Some(Subject::FrameTooLarge),
            CloseReason::FrameTimeout => Some(Subject::FrameTimeout),
            CloseReason::NoFirstByte => Some(Subject::NoFirstByte),
            CloseReason::TooMuchUnsent => Some(Subject::TooMuchUnsent),
            CloseReason::WriteTimeout => Some(Subject::WriteTimeout),
            _ => None,
        }
    }
}

/// Lets one line a second through for each subject, and counts the others.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    subjects: [Spoken; Subject::COUNT],
}

#[derive(Clone, Copy, Debug, Default)]
struct Spoken {
    last_at: Option<Time>,
    suppressed: u64,
}

const QUIET: Duration = Duration::from_secs(1);

impl LogLimiter {
    /// Calls `log` with the number of lines that were left out since the last, or not at all.
    pub(super) fn say(&mut self, now: Time, subject: Subject, log: impl FnOnce(u64)) {
        let Some(spoken) = self.subjects.get_mut(subject.index()) else {
            return;
        };
        if spoken
            .last_at
            .is_some_and(|last| now.saturating_since(last) < QUIET)
        {
            spoken.suppressed += 1;
            return;
        }
        spoken.last_at = Some(now);
        log(std::mem::take(&mut spoken.suppressed));
    }
}

/// Why a connection ended, for people.
pub(super) fn in_words(why: CloseReason) -> &'static str {
    match why {
        CloseReason::Local => "closed by the Distributor",
        CloseReason::PeerClosed => "closed by the peer",
        CloseReason::Failed(_) => "reset",
        CloseReason::PeerVanished => "the peer's host no longer answers",
        CloseReason::ConnectFailed(_) | CloseReason::ConnectTimeout => "never connected",
        CloseReason::FrameTooLarge => "a frame was too large",
        CloseReason::FrameTimeout => "a frame did not end in time",
        CloseReason::NoFirstByte => "it sent nothing",
        CloseReason::TooMuchUnsent => "it reads too slowly for what it asks",
        CloseReason::WriteTimeout => "it has stopped reading",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_that_people_read_stays_readable() {
        let text = "{\"name\":\"상품 'ö'\"}";
        assert_eq!(Escaped::text(text).to_string(), text);
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let shown = Escaped::bytes(b"a\x1b[31m\nb\r\0\xff\x9b \xe2\x80\xae").to_string();
        assert!(shown.starts_with("a\\u{1b}[31m\\nb\\r\\0"), "{shown}");
        assert!(
            shown.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_long_line_or_a_second_one(bytes: Vec<u8>, repeat in 1..50usize) {
            let shown = Escaped::bytes(&bytes.repeat(repeat)).to_string();
            prop_assert!(shown.len() <= MAX_ESCAPED_BYTES);
            prop_assert!(!shown.contains(char::is_control));
        }
    }

    #[test]
    fn one_line_a_second_with_a_count_of_the_others() {
        let mut limiter = LogLimiter::default();
        let mut said = Vec::new();
        for millis in [0, 1, 999, 1000, 1500, 2500] {
            let now = Time::from_millis(millis);
            limiter.say(now, Subject::Foreign, |more| said.push((millis, more)));
        }
        assert_eq!(said, [(0, 0), (1000, 2), (2500, 1)]);
        limiter.say(Time::from_millis(2501), Subject::Accept, |more| {
            said.push((2501, more))
        });
        assert_eq!(said.last(), Some(&(2501, 0)));
    }
}
