//! Registered nodes as JSON, and listed ones as targets of Prometheus.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::event_json::unix_ms;
use super::request::PendingRequest;
use super::router::Route;
use crate::distributor::{Distributor, Journal, NodeView};
use crate::protocol::ListedNode;
use crate::reactor::Net;
use crate::registry::EntryId;
use crate::time::Time;

/// What nodes registered, parsed: it rarely changes, and takes long to parse.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<EntryId, Parsed>);

#[derive(Debug)]
struct Parsed {
    encoded: Box<[u8]>,
    node: ListedNode,
    /// The part of the node's JSON that it registered, without the `}` at its end.
    own: Vec<u8>,
}

#[derive(Serialize)]
struct Own<'a> {
    name: &'a str,
    host: &'a str,
    port: Option<u16>,
    urls: &'a [String],
}

/// The beginning of a list. Its nodes follow.
#[derive(Serialize)]
struct Head<'a> {
    epoch: &'a str,
    /// Nodes that join or leave while the list is written may be in it or not.
    rev: u64,
    complete: bool,
    /// All registered nodes, including those that do not match.
    entries: usize,
    nodes: [(); 0],
}

/// What the Distributor knows of a node.
#[derive(Serialize)]
struct Known {
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

/// A list that is being written, some nodes at a time: a long one must not hold up the loop.
#[derive(Debug)]
pub(super) struct Listing {
    filter: Filter,
    left: std::vec::IntoIter<EntryId>,
    body: Vec<u8>,
}

/// Which nodes a list contains, and in which form.
#[derive(Debug)]
pub(super) enum Filter {
    /// Nodes with this name and this url or path.
    Nodes {
        name: Option<String>,
        url: Option<String>,
    },
    /// Listed nodes in the form of `http_sd` of Prometheus.
    Targets,
}

impl Filter {
    pub(super) fn new(request: &PendingRequest) -> Result<Filter, Answer> {
        if request.route == Route::ServiceDiscovery {
            return Ok(Filter::Targets);
        }
        request.allow_params(&["name", "url"])?;
        let [name, url] = ["name", "url"].map(|name| request.param(name).map(ToOwned::to_owned));
        Ok(Filter::Nodes { name, url })
    }
}

/// Nodes that are written at a time.
const AT_A_TIME: usize = 128;
/// About the cost of collecting one entry,
const PER_ENTRY: Duration = Duration::from_nanos(20);
/// of writing one node,
const PER_NODE: Duration = Duration::from_nanos(1500);
/// and of parsing what it registered.
const PER_PARSED: Duration = Duration::from_nanos(4000);

impl Listing {
    /// Begins a list. Returns it with the cost of that, about.
    pub(super) fn begin(
        filter: Filter,
        now: Time,
        distributor: &Distributor,
    ) -> (Listing, Duration) {
        let registry = distributor.registry();
        let body = match filter {
            Filter::Targets => b"[".to_vec(),
            Filter::Nodes { .. } => {
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
        let all: Vec<EntryId> = registry.iter().map(|(id, _)| id).collect();
        let cost = PER_ENTRY * u32::try_from(all.len()).unwrap_or(u32::MAX);
        let left = all.into_iter();
        (Listing { filter, left, body }, cost)
    }

    /// Returns the response. To be called when the list is complete.
    pub(super) fn finish(mut self) -> Answer {
        if self.body.last() == Some(&b',') {
            self.body.pop();
        }
        self.body.extend_from_slice(match self.filter {
            Filter::Targets => b"]",
            Filter::Nodes { .. } => CLOSING,
        });
        Answer::json(self.body)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left.len() == 0
    }
}

/// After the last node.
const CLOSING: &[u8] = b"]}";

impl Nodes {
    /// Returns the number of nodes that are parsed.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes some more nodes of a list. Returns the cost of that, about.
    pub(super) fn write_some(
        &mut self,
        listing: &mut Listing,
        net: &Net,
        distributor: &Distributor,
    ) -> Duration {
        let Listing { filter, left, body } = listing;
        let mut cost = Duration::ZERO;
        for id in left.take(AT_A_TIME) {
            let Some(view) = distributor.view().node(net, id) else {
                continue;
            };
            let Some(parsed) = self.parse(&view, &mut cost) else {
                continue;
            };
            cost += PER_NODE;
            let before = body.len();
            let written = match filter {
                Filter::Nodes { name, url } => {
                    if !parsed.matches(name.as_deref(), url.as_deref()) {
                        continue;
                    }
                    let known = Known::new(&view, net.now(), distributor.journal());
                    parsed.write(&known, body)
                }
                Filter::Targets => match target(&view, &parsed.node) {
                    None => continue,
                    Some(target) => serde_json::to_writer(&mut *body, &target),
                },
            };
            match written {
                Ok(()) => body.push(b','),
                Err(_) => body.truncate(before),
            }
        }
        if listing.is_complete() {
            self.forget_departed(distributor);
        }
        cost
    }

    /// Returns what a node registered. Parsing it adds to `cost`.
    fn parse(&mut self, view: &NodeView<'_>, cost: &mut Duration) -> Option<&Parsed> {
        let encoded = &view.entry.encoded;
        let is_known = |parsed: &Parsed| parsed.encoded == *encoded;
        if !self.0.get(&view.id).is_some_and(is_known) {
            *cost += PER_PARSED;
            self.0.insert(view.id, Parsed::new(encoded)?);
        }
        self.0.get(&view.id)
    }

    /// Drops nodes that left. Done rarely, since it looks at all.
    fn forget_departed(&mut self, distributor: &Distributor) {
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

    /// Joins the two objects into one.
    fn write(&self, known: &Known, out: &mut Vec<u8>) -> serde_json::Result<()> {
        out.extend_from_slice(&self.own);
        let brace = out.len();
        serde_json::to_writer(&mut *out, known)?;
        if let Some(byte) = out.get_mut(brace) {
            *byte = b',';
        }
        Ok(())
    }
}

impl Known {
    fn new(view: &NodeView<'_>, now: Time, journal: Option<&Journal>) -> Known {
        let joined = view.joined_at.zip(journal);
        let age = view.joined_at.map(|at| now.saturating_since(at));
        Known {
            id: view.id.number(),
            listed: view.entry.listed,
            peer: view.peer,
            session: view.session.as_str(),
            state: view.state.as_str(),
            sent: view.sent,
            acked: view.acked,
            pending_bytes: view.pending_bytes,
            joined_unix_ms: joined.map(|(at, journal)| unix_ms(at, journal)),
            age_seconds: age.map(|age| (age.as_secs_f64() * 1000.0).round() / 1000.0),
        }
    }
}

/// Returns a node in the form of `http_sd`, or `None` if it cannot be connected to.
fn target(view: &NodeView<'_>, node: &ListedNode) -> Option<Value> {
    let port = node.port.filter(|_| view.entry.listed)?;
    let host = &node.host;
    let target = match host.parse() {
        Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    Some(json!({"targets": [target], "labels": {
        "__meta_pilcrow_name": node.name,
        "__meta_pilcrow_id": view.id.number().to_string(),
        "__meta_pilcrow_session": view.session.as_str(),
        "__meta_pilcrow_state": view.state.as_str(),
        // With a comma at both ends, so that `.*,GET/goods,.*` matches one of them.
        "__meta_pilcrow_urls": format!(",{},", node.urls.join(",")),
    }}))
}
