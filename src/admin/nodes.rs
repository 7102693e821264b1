//! Who is there, as JSON: for people, and for Prometheus to find.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::answer::Answer;
use super::events::unix_ms;
use crate::distributor::{Distributor, Journal, NodeView};
use crate::protocol::ListedNode;
use crate::reactor::{ConnId, Net};
use crate::registry::EntryId;
use crate::time::Time;

/// What was made of the nodes' own words: they rarely change, and are long to read.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<EntryId, Parsed>);

#[derive(Debug)]
struct Parsed {
    encoded: Box<[u8]>,
    node: ListedNode,
    /// What of the node's JSON is its own, without the `}` at its end.
    own: Vec<u8>,
}

#[derive(Serialize)]
struct Own<'a> {
    name: &'a str,
    host: &'a str,
    port: Option<u16>,
    urls: &'a [String],
}

/// What a list begins with. Its nodes follow.
#[derive(Serialize)]
struct Head<'a> {
    epoch: &'a str,
    /// Who comes and goes while the list is written may be in it, or not.
    rev: u64,
    complete: bool,
    /// All that are registered, those who do not match included.
    entries: usize,
    nodes: [(); 0],
}

/// What is known of a node beside its own words.
#[derive(Serialize)]
struct Seen {
    id: u64,
    listed: bool,
    peer: Option<std::net::SocketAddr>,
    session: &'static str,
    state: &'static str,
    sent: Option<u64>,
    acked: Option<u64>,
    pending_bytes: usize,
    joined_unix_ms: Option<u64>,
    age_seconds: Option<f64>,
}

/// A list that is being written, some nodes at a time: a long one holds nobody up.
#[derive(Debug)]
pub(super) struct Listing {
    wanted: Wanted,
    left: std::vec::IntoIter<(EntryId, Option<ConnId>)>,
    body: Vec<u8>,
}

/// What the list is for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// All nodes with this name, and with this url or path.
    Nodes {
        name: Option<String>,
        url: Option<String>,
    },
    /// The listed nodes as `http_sd` of Prometheus wants them.
    Targets,
}

/// So many nodes are written at a time.
const AT_A_TIME: usize = 128;
/// Finding the connections of all costs about this for each,
const PER_CONNECTION: Duration = Duration::from_nanos(100);
/// writing one node this,
const PER_NODE: Duration = Duration::from_nanos(1500);
/// and reading first what it said of itself, this.
const PER_PARSED: Duration = Duration::from_nanos(4000);

impl Listing {
    /// Begins a list. Returns it, and what that cost, about.
    pub(super) fn begin(
        wanted: Wanted,
        now: Time,
        distributor: &Distributor,
    ) -> (Listing, Duration) {
        let registry = distributor.registry();
        let body = match wanted {
            Wanted::Targets => b"[".to_vec(),
            Wanted::Nodes { .. } => {
                let head = Head {
                    epoch: distributor.epoch(),
                    rev: registry.revision(),
                    complete: distributor.warms_up_for(now).is_zero(),
                    entries: registry.len(),
                    nodes: [],
                };
                let mut body = serde_json::to_vec(&head).unwrap_or_default();
                // They go in between.
                body.truncate(body.len().saturating_sub(CLOSING.len()));
                body
            }
        };
        let all = distributor.entries_and_connections();
        let cost = PER_CONNECTION * u32::try_from(all.len()).unwrap_or(u32::MAX);
        let left = all.into_iter();
        (Listing { wanted, left, body }, cost)
    }

    /// All of it, when no node is left.
    pub(super) fn finish(mut self) -> Answer {
        if self.body.last() == Some(&b',') {
            self.body.pop();
        }
        self.body.extend_from_slice(match self.wanted {
            Wanted::Targets => b"]",
            Wanted::Nodes { .. } => CLOSING,
        });
        Answer::json(self.body)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left.len() == 0
    }
}

/// Behind the last node.
const CLOSING: &[u8] = b"]}";

impl Nodes {
    /// Of how many it was made.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes some more nodes of a list. Returns what that cost, about.
    pub(super) fn write_some(
        &mut self,
        listing: &mut Listing,
        net: &Net,
        distributor: &Distributor,
    ) -> Duration {
        let Listing { wanted, left, body } = listing;
        let mut cost = Duration::ZERO;
        for (id, conn) in left.take(AT_A_TIME) {
            let Some(view) = distributor.node(net, id, conn) else {
                continue;
            };
            let Some(parsed) = self.read(&view, &mut cost) else {
                continue;
            };
            cost += PER_NODE;
            let before = body.len();
            let written = match wanted {
                Wanted::Nodes { name, url } => {
                    if !parsed.matches(name.as_deref(), url.as_deref()) {
                        continue;
                    }
                    let seen = Seen::new(&view, net.now(), distributor.journal());
                    parsed.write(&seen, body)
                }
                Wanted::Targets => match Group::new(&view, &parsed.node) {
                    None => continue,
                    Some(group) => serde_json::to_writer(&mut *body, &group),
                },
            };
            match written {
                Ok(()) => body.push(b','),
                Err(_) => body.truncate(before),
            }
        }
        if listing.is_complete() {
            self.forget_who_left(distributor);
        }
        cost
    }

    /// What a node said of itself. If that is new, `cost` rises.
    fn read(&mut self, view: &NodeView<'_>, cost: &mut Duration) -> Option<&Parsed> {
        let encoded = &view.entry.encoded;
        let is_known = |parsed: &Parsed| parsed.encoded == *encoded;
        if !self.0.get(&view.id).is_some_and(is_known) {
            *cost += PER_PARSED;
            self.0.insert(view.id, Parsed::new(encoded)?);
        }
        self.0.get(&view.id)
    }

    /// Seldom, as it looks at all.
    fn forget_who_left(&mut self, distributor: &Distributor) {
        let registry = distributor.registry();
        if self.0.len() > registry.len() + registry.len() / 4 + 64 {
            self.0.retain(|id, _| registry.get(*id).is_some());
        }
    }
}

impl Parsed {
    fn new(encoded: &[u8]) -> Option<Parsed> {
        let node = ListedNode::parse(serde_json::from_slice(encoded).ok()?);
        let mut own = serde_json::to_vec(&Own {
            name: &node.name,
            host: &node.host,
            port: node.port,
            urls: &node.urls,
        })
        .ok()?;
        own.pop();
        let encoded = encoded.into();
        Some(Parsed { encoded, node, own })
    }

    fn matches(&self, name: Option<&str>, url: Option<&str>) -> bool {
        name.is_none_or(|name| self.node.name == name)
            && url.is_none_or(|url| self.node.serves(url))
    }

    /// Writes one object of two.
    fn write(&self, seen: &Seen, out: &mut Vec<u8>) -> serde_json::Result<()> {
        out.extend_from_slice(&self.own);
        let border = out.len();
        serde_json::to_writer(&mut *out, seen)?;
        if let Some(brace) = out.get_mut(border) {
            *brace = b',';
        }
        Ok(())
    }
}

impl Seen {
    fn new(view: &NodeView<'_>, now: Time, journal: Option<&Journal>) -> Seen {
        let age = view.joined_at.map(|at| now.saturating_since(at));
        Seen {
            id: view.id.number(),
            listed: view.entry.listed,
            peer: view.peer,
            session: view.session.as_str(),
            state: view.state.as_str(),
            sent: view.sent,
            acked: view.acked,
            pending_bytes: view.pending_bytes,
            joined_unix_ms: view
                .joined_at
                .zip(journal)
                .map(|(at, journal)| unix_ms(at, journal)),
            age_seconds: age.map(|age| (age.as_secs_f64() * 1000.0).round() / 1000.0),
        }
    }
}

#[derive(Serialize)]
struct Group<'a> {
    targets: [String; 1],
    labels: Labels<'a>,
}

impl<'a> Group<'a> {
    /// `None` for who can't be connected to.
    fn new(view: &NodeView<'_>, node: &'a ListedNode) -> Option<Group<'a>> {
        let port = node.port.filter(|_| view.entry.listed)?;
        let host = &node.host;
        let target = match host.parse() {
            Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        Some(Group {
            targets: [target],
            labels: Labels {
                name: &node.name,
                id: view.id.number().to_string(),
                session: view.session.as_str(),
                state: view.state.as_str(),
                // With a comma at both ends, so that one of them is found by `.*,GET/goods,.*`.
                urls: format!(",{},", node.urls.join(",")),
            },
        })
    }
}

#[derive(Serialize)]
struct Labels<'a> {
    #[serde(rename = "__meta_pilcrow_name")]
    name: &'a str,
    #[serde(rename = "__meta_pilcrow_id")]
    id: String,
    #[serde(rename = "__meta_pilcrow_session")]
    session: &'a str,
    #[serde(rename = "__meta_pilcrow_state")]
    state: &'a str,
    #[serde(rename = "__meta_pilcrow_urls")]
    urls: String,
}
