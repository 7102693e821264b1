//! What the baseline of churn sends: what ours sent.

use crate::cli::flood::herd::{FRAME_END, Herd};
use crate::cli::flood::view::{NUMBER_DIGITS, Names, Who};

/// What the baseline sends: frames of ours, and where a joiner's number is.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    /// The answer to a watcher's registration, and its first list.
    pub(super) welcome: Vec<u8>,
    pub(super) joined: Vec<u8>,
    pub(super) left: Vec<u8>,
    pub(super) number_at: usize,
}

impl Frames {
    /// From what the herd was sent. `None` as long as it wasn't sent enough.
    pub(super) fn of(herd: &Herd, names: &Names) -> Option<Frames> {
        let (joined, number) = herd.joins.joined_frame.as_ref()?;
        let name = names.of(Who::Joiner(*number));
        // Only the name is unlike that of others; the urls may hold anything.
        let at = memchr::memmem::find(&joined.frame, format!("\"name\":\"{name}").as_bytes())?;
        let number_at = at + "\"name\":\"".len() + name.len() - NUMBER_DIGITS;
        let list = herd.last_list.as_ref()?;
        let left = herd.joins.left_frame.as_ref().unwrap_or(list);
        let mut welcome = Vec::new();
        for frame in [herd.reply.as_ref(), Some(&list.frame)]
            .into_iter()
            .flatten()
        {
            welcome.extend_from_slice(frame);
            welcome.extend_from_slice(FRAME_END);
        }
        Some(Frames {
            welcome,
            joined: [&joined.frame, FRAME_END].concat(),
            left: [&left.frame, FRAME_END].concat(),
            number_at,
        })
    }
}
