//! Updates from a Distributor: lists, deltas and its stop.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::route::Route;

/// An update of the list, borrowed from its frame.
#[derive(Clone, Debug)]
pub enum Update<'a> {
    /// A whole list.
    List {
        /// The entries.
        entries: Vec<&'a RawValue>,
        /// Session of the list, if it has one.
        session: Option<UpdateSession<'a>>,
    },
    /// Changes of a list.
    Delta {
        /// New entries, or replacements of known ones.
        joined: Vec<&'a RawValue>,
        /// Entries that are gone.
        left: Vec<Left>,
        /// Session of the delta.
        session: UpdateSession<'a>,
    },
    /// The Distributor is about to stop.
    Draining {
        /// Time after which to reconnect, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// An entry that is gone.
#[derive(Clone, Debug, Deserialize)]
pub struct Left {
    /// Id of the entry.
    pub id: u64,
}

/// The `session` of a list or delta.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UpdateSession<'a> {
    /// The run of the Distributor to which the revisions belong.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// Revision that a delta starts from.
    pub from: Option<u64>,
    /// The revision after the update.
    pub rev: u64,
    /// True if the list has all nodes.
    pub complete: Option<bool>,
    /// True if it is to be acknowledged at once.
    pub ack: bool,
    /// The ids of the entries, in their order.
    pub ids: Vec<u64>,
    /// The ids of entries of peers without a session, sorted.
    pub plain: Vec<u64>,
    draining: bool,
    retry_after_ms: Option<u64>,
}

impl UpdateSession<'_> {
    /// Returns whether an entry belongs to a peer without a session.
    pub fn is_plain(&self, id: Option<u64>) -> bool {
        id.is_some_and(|id| self.plain.binary_search(&id).is_ok())
    }
}

impl<'a> Update<'a> {
    /// Reads an update; `None` if the frame is not one.
    pub fn parse(frame: &'a [u8]) -> Option<Update<'a>> {
        #[derive(Deserialize)]
        struct Frame<'a> {
            #[serde(borrow, default)]
            uri: Cow<'a, str>,
            #[serde(borrow, default)]
            method: Cow<'a, str>,
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
            #[serde(borrow, default)]
            session: Option<UpdateSession<'a>>,
        }
        #[derive(Deserialize)]
        struct Changes<'a> {
            #[serde(borrow, default)]
            joined: Vec<&'a RawValue>,
            #[serde(default)]
            left: Vec<Left>,
        }

        let text = std::str::from_utf8(frame).ok()?;
        if !text.starts_with('{') {
            return None;
        }
        let mut frame: Frame<'a> = serde_json::from_str(text).ok()?;
        if let Some(session) = &mut frame.session {
            session.plain.sort_unstable();
        }
        if frame.uri != super::DISTRIBUTES {
            return None;
        }
        match (&*frame.method, frame.params, frame.session) {
            ("GET", Some(params), session) => Some(Update::List {
                entries: serde_json::from_str(params.get()).ok()?,
                session,
            }),
            ("PATCH", _, Some(session)) if session.draining => Some(Update::Draining {
                retry_after_ms: session.retry_after_ms,
            }),
            ("PATCH", Some(params), Some(session)) => {
                let changes: Changes<'a> = serde_json::from_str(params.get()).ok()?;
                Some(Update::Delta {
                    joined: changes.joined,
                    left: changes.left,
                    session,
                })
            }
            _ => None,
        }
    }
}

/// The fields of an entry that a node needs. Fields of another type count as absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListedNode {
    /// The name.
    pub name: String,
    /// Address, as seen by the Distributor.
    pub host: String,
    /// The port that it listens on.
    pub port: Option<u16>,
    /// Routes of the node, as `METHOD/path`.
    pub urls: Vec<String>,
}

impl ListedNode {
    /// Reads an entry of a list.
    pub(crate) fn parse(entry: &RawValue) -> ListedNode {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Fields<'a> {
            #[serde(borrow)]
            name: Option<&'a RawValue>,
            #[serde(borrow)]
            host: Option<&'a RawValue>,
            #[serde(borrow)]
            port: Option<&'a RawValue>,
            #[serde(borrow)]
            urls: Option<&'a RawValue>,
        }
        let text = entry.get();
        let fields: Fields<'_> = if text.starts_with('{') {
            serde_json::from_str(text).unwrap_or_default()
        } else {
            Fields::default()
        };
        let string = |value: Option<&RawValue>| {
            let value = value.and_then(super::json::decode);
            value.map(Cow::into_owned).unwrap_or_default()
        };
        ListedNode {
            name: string(fields.name),
            host: string(fields.host),
            port: fields.port.and_then(super::registration::port_number),
            urls: fields
                .urls
                .and_then(|urls| serde_json::from_str(urls.get()).ok())
                .unwrap_or_default(),
        }
    }

    /// Returns whether it lists this url, such as `GET/goods`, or path, such as `/goods`.
    pub fn serves(&self, url: &str) -> bool {
        self.urls
            .iter()
            .any(|own| own == url || Route::parse(own).path == url && !url.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_with_and_without_a_session() {
        let plain = br#"{"uri":"/distributes","method":"GET","key":0,"params":[{"port":1}]}"#;
        let Some(Update::List {
            entries,
            session: None,
        }) = Update::parse(plain)
        else {
            panic!("a plain list");
        };
        assert_eq!(entries[0].get(), r#"{"port":1}"#);
        let other = br#"{"uri":"/distributes","method":"GET","key":0,"params":[{}],
            "session":{"epoch":"e","rev":3,"complete":false,"ids":[9]}}"#;
        let Some(Update::List {
            session: Some(session),
            ..
        }) = Update::parse(other)
        else {
            panic!("a list with a session");
        };
        assert_eq!(
            (&*session.epoch, session.rev, session.complete),
            ("e", 3, Some(false))
        );
        assert_eq!(session.ids, [9]);
    }

    #[test]
    fn reads_deltas_and_the_stop() {
        let delta = br#"{"uri":"/distributes","method":"PATCH","key":0,
            "params":{"joined":[{"port":1}],"left":[{"id":3,"cause":"closed"}]},
            "session":{"epoch":"e","from":12,"rev":14,"ack":true,"ids":[5]}}"#;
        let Some(Update::Delta {
            joined,
            left,
            session,
        }) = Update::parse(delta)
        else {
            panic!("a delta");
        };
        assert_eq!((joined.len(), left[0].id), (1, 3));
        assert_eq!(
            (session.from, session.rev, session.ack),
            (Some(12), 14, true)
        );
        let goodbye = br#"{"uri":"/distributes","method":"PATCH","session":{"draining":true,"retry_after_ms":7}}"#;
        assert!(matches!(
            Update::parse(goodbye),
            Some(Update::Draining {
                retry_after_ms: Some(7)
            })
        ));
    }

    #[test]
    fn ignores_other_frames() {
        for frame in [
            "null",
            "[]",
            r#"{"key":1,"errorcode":0}"#,
            r#"{"uri":"/distributes","method":"GET","key":0}"#,
            r#"{"uri":"/distributes","method":"PATCH","params":{}}"#,
            r#"{"uri":"/goods","method":"GET","params":[]}"#,
        ] {
            assert!(Update::parse(frame.as_bytes()).is_none(), "{frame}");
        }
    }

    #[test]
    fn reads_entries_with_fields_of_other_types() {
        let node = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            ListedNode::parse(&raw)
        };
        let good = node(r#"{"port":"9010","name":"goods","urls":["GET/goods"],"host":"10.0.0.1"}"#);
        assert_eq!(
            (good.port, &*good.name, &*good.host),
            (Some(9010), "goods", "10.0.0.1")
        );
        assert_eq!(good.urls, ["GET/goods"]);
        for text in [
            "null",
            "7",
            "[1]",
            r#"{"port":null,"name":7,"urls":"x","host":[]}"#,
        ] {
            assert_eq!(node(text), ListedNode::default(), "{text}");
        }
    }

    #[test]
    fn matches_a_url_with_or_without_its_method() {
        for (own, url, is_served) in [
            ("GET/goods", "GET/goods", true),
            ("GET/goods", "/goods", true),
            ("POST/a/b", "/a/b", true),
            ("GET/goods", "POST/goods", false),
            ("GET/goods", "/good", false),
            ("GET/goods", "goods", false),
            ("GET/goods", "", false),
        ] {
            let urls = vec!["GET/other".to_owned(), own.to_owned()];
            let node = ListedNode {
                urls,
                ..ListedNode::default()
            };
            assert_eq!(node.serves(url), is_served, "{own} {url}");
        }
    }
}
