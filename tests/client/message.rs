//! Frames from a Distributor, as far as its clients read them.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A packet from a Distributor.
pub enum Message<'a> {
    /// The whole list. Plain connections receive it without a session.
    List {
        entries: Vec<Rc<str>>,
        session: Option<SessionFields>,
        is_reply: bool,
    },
    /// Changes since an earlier revision.
    Changes {
        joined: Vec<Rc<str>>,
        left: Vec<Departure>,
        session: SessionFields,
    },
    /// The announcement of a planned stop.
    Draining,
    Reply {
        errorcode: u8,
        results: Option<&'a RawValue>,
    },
    /// A packet that clients ignore.
    Other,
}

/// The session of a list or a change.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct SessionFields {
    pub epoch: String,
    /// The revision that a change leads from.
    pub from: Option<u64>,
    pub rev: u64,
    pub ids: Vec<u64>,
    pub ack: bool,
    pub complete: Option<bool>,
    draining: bool,
}

impl SessionFields {
    /// The revision that is to be acknowledged, if any.
    pub fn acknowledge(&self) -> Option<u64> {
        self.ack.then_some(self.rev)
    }
}

#[derive(Deserialize)]
pub struct Departure {
    pub id: u64,
    pub cause: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Packet<'a> {
    uri: Option<String>,
    method: Option<String>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    session: Option<SessionFields>,
    errorcode: Option<u8>,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow)]
    joined: Vec<&'a RawValue>,
    left: Vec<Departure>,
}

impl Message<'_> {
    /// Reads a frame. Fails for one that a Distributor must not send.
    pub fn read(frame: &str) -> serde_json::Result<Message<'_>> {
        let packet: Packet<'_> = serde_json::from_str(frame)?;
        if let Some(errorcode) = packet.errorcode {
            let results = packet.results;
            return Ok(Message::Reply { errorcode, results });
        }
        if packet.uri.as_deref() != Some("/distributes") {
            return Ok(Message::Other);
        }
        match (packet.method.as_deref(), packet.params, packet.session) {
            (Some("GET"), Some(params), session) => Ok(Message::List {
                entries: texts(&serde_json::from_str::<Vec<&RawValue>>(params.get())?),
                session,
                is_reply: packet.key.is_some_and(|key| key.get() != "0"),
            }),
            (Some("PATCH"), _, Some(session)) if session.draining => Ok(Message::Draining),
            (Some("PATCH"), Some(params), Some(session)) => {
                let Changes { joined, left } = serde_json::from_str(params.get())?;
                Ok(Message::Changes {
                    joined: texts(&joined),
                    left,
                    session,
                })
            }
            _ => Ok(Message::Other),
        }
    }
}

fn texts(entries: &[&RawValue]) -> Vec<Rc<str>> {
    entries.iter().map(|entry| entry.get().into()).collect()
}
