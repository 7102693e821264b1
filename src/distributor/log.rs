//! Log lines that a peer can cause: its text made harmless, and not one line for each mistake.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::protocol::ErrorCode;
use crate::rate_limit::RateLimit;
use crate::reactor::CloseReason;
use crate::time::Time;

/// Text of a peer, for a field of a log line: at most 256 bytes, and nothing in it that a terminal
/// or a log reader would act on.
///
/// It is to be logged as a string, `name = escaped.to_string()`, not as `%escaped`: then it is put
/// in quotes, and can't pose as other fields.
#[derive(Clone, Debug)]
pub(crate) struct Escaped<'a>(Cow<'a, str>);

const MAX_ESCAPED_BYTES: usize = 256;

impl<'a> Escaped<'a> {
    pub(crate) fn text(text: &'a str) -> Escaped<'a> {
        Escaped(Cow::Borrowed(text))
    }

    /// What came on a connection, without tokens and instances.
    pub(crate) fn frame(bytes: &'a [u8]) -> Escaped<'a> {
        let secrets = SECRETS_FOLLOW
            .iter()
            .filter_map(|word| memchr::memmem::find(bytes, word));
        match secrets.min().and_then(|at| bytes.get(..at)) {
            Some(shown) if shown.len() <= MAX_ESCAPED_BYTES => {
                let shown = String::from_utf8_lossy(shown);
                Escaped(Cow::Owned(format!("{shown}…")))
            }
            _ => Escaped::bytes(bytes),
        }
    }

    fn bytes(bytes: &'a [u8]) -> Escaped<'a> {
        // A character is escaped to no fewer bytes than it has, so no more than these can show.
        let shown = bytes.get(..MAX_ESCAPED_BYTES + 1).unwrap_or(bytes);
        Escaped(String::from_utf8_lossy(shown))
    }
}

/// Behind the first of these a frame may hold what is nobody's but its sender's.
const SECRETS_FOLLOW: [&[u8]; 3] = [b"session", b"token", b"uthorization"];

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const QUOTES_AND_MORE: usize = "\"\"…".len();
        let mut left = MAX_ESCAPED_BYTES - QUOTES_AND_MORE;
        for character in self.0.chars() {
            let escaped = character.escape_debug();
            let is_plain = matches!(character, '"' | '\'' | '\\');
            // As it is when the whole is put in quotes, which escapes some of it again.
            let bytes: usize = escaped.clone().map(char::len_utf8).sum();
            let bytes = bytes + usize::from(escaped.len() > 1 && !is_plain);
            if bytes > left {
                return f.write_char('…');
            }
            left -= bytes;
            if is_plain {
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
    OldList,
    Joined,
    Registered,
    Left,
    Suspect,
    Suspicion,
}

impl Subject {
    const COUNT: usize = 16 + 8;

    /// How many lines a second are let through. Mistakes are of a kind; each join is one.
    fn lines_per_second(self) -> u32 {
        match self {
            Subject::Joined | Subject::Registered | Subject::Left | Subject::Suspect => 200,
            _ => 1,
        }
    }

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
            Subject::OldList => 10,
            Subject::Joined => 11,
            Subject::Registered => 12,
            Subject::Left => 13,
            Subject::Suspect => 14,
            Subject::Suspicion => 15,
            Subject::Refused(code) => 16 + code as usize,
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

/// Lets few lines a second through for each subject, and counts the others.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    subjects: [Option<RateLimit>; Subject::COUNT],
}

impl LogLimiter {
    /// Calls `log`, with the number of lines that were left out since the last if there were any; or
    /// does not.
    pub(super) fn say(&mut self, now: Time, subject: Subject, log: impl FnOnce(Option<u64>)) {
        let Some(limit) = self.subjects.get_mut(subject.index()) else {
            return;
        };
        let limit = limit.get_or_insert(RateLimit::per_second(subject.lines_per_second()));
        if limit.allow(now) {
            let more = limit.take_suppressed();
            log((more > 0).then_some(more));
        }
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
        let text = "{\"name\":\"상품 'ö' \\\\\"}";
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

    #[test]
    fn what_is_its_senders_secret_is_not_shown() {
        for (frame, shown) in [
            (
                &b"{\"params\":{},\"session\":{\"token\":\"s3cret\"}}"[..],
                "{\"params\":{},\"…",
            ),
            (b"{\"token\":\"s3cret", "{\"…"),
            (
                b"GET / HTTP/1.1\r\nAuthorization: s3cret",
                "GET / HTTP/1.1\\r\\nA…",
            ),
            (b"{\"params\":7}", "{\"params\":7}"),
        ] {
            assert_eq!(Escaped::frame(frame).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_long_line_or_a_second_one(bytes: Vec<u8>, repeat in 1..50usize) {
            let shown = Escaped::bytes(&bytes.repeat(repeat)).to_string();
            let quoted = format!("{shown:?}");
            prop_assert!(quoted.len() <= MAX_ESCAPED_BYTES, "{}", quoted);
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
        assert_eq!(said, [(0, None), (1000, Some(2)), (2500, Some(1))]);
        limiter.say(Time::from_millis(2501), Subject::Accept, |more| {
            said.push((2501, more))
        });
        assert_eq!(said.last(), Some(&(2501, None)));
    }

    #[test]
    fn joins_are_told_one_by_one_unless_there_are_very_many() {
        let mut limiter = LogLimiter::default();
        let mut said = 0;
        for _ in 0..500 {
            limiter.say(Time::ZERO, Subject::Joined, |_| said += 1);
        }
        assert_eq!(said, 200);
        let mut left_out = None;
        limiter.say(Time::from_millis(1000), Subject::Joined, |more| {
            left_out = more
        });
        assert_eq!(left_out, Some(300));
    }
}
