//! Registered nodes as JSON, and listed ones as targets of Prometheus.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::context::{Answer, Context, JSON};
use super::event_json::unix_ms;
use super::request::PendingRequest;
use crate::distributor::{Distributor, Journal, NodeView};
use crate::protocol::{ListedNode, Subscription};
use crate::registry::EntryId;
use crate::time::Time;

/// Parsed registrations. They rarely change, and take long to parse.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<EntryId, (Box<[u8]>, ListedNode)>);

/// A node as JSON.
#[derive(Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    host: &'a str,
    port: Option<u16>,
    urls: &'a [String],
    id: u64,
    listed: bool,
    peer: Option<SocketAddr>,
    session: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a Subscription>,
    state: &'static str,
    sent: Option<u64>,
    acked: Option<u64>,
    pending_bytes: usize,
    joined_unix_ms: Option<u64>,
    age_seconds: Option<f64>,
}

/// A list that is written in parts, since a long one would block the reactor.
#[derive(Debug)]
pub(super) struct Listing {
    filter: Filter,
    left: std::vec::IntoIter<EntryId>,
    body: Vec<u8>,
}

/// The nodes in a list, and their form.
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
    /// Returns the filter of a request for nodes.
    pub(super) fn nodes(request: &PendingRequest) -> Result<Filter, Answer> {
        request.allow_params(&["name", "url"])?;
        let [name, url] = ["name", "url"].map(|name| request.param(name).map(ToOwned::to_owned));
        Ok(Filter::Nodes { name, url })
    }
}

/// Maximum number of nodes that are written at a time.
const AT_A_TIME: usize = 128;
/// The approximate cost of collecting one entry.
const COST_PER_ENTRY: Duration = Duration::from_nanos(20);
/// The approximate cost of writing one node, without its bytes.
const COST_PER_NODE: Duration = Duration::from_nanos(1500);
/// The approximate cost of writing one byte of a node.
const COST_PER_BYTE: Duration = Duration::from_nanos(2);
/// The approximate cost of parsing one registration.
const COST_PER_PARSED: Duration = Duration::from_nanos(4000);

impl Listing {
    pub(super) fn begin(cx: &mut Context<'_>, filter: Filter) -> Listing {
        let registry = cx.distributor.registry();
        let body = match filter {
            Filter::Targets => "[".to_owned(),
            // Nodes that join or leave while the list is written may be in it or not.
            Filter::Nodes { .. } => format!(
                "{{\"epoch\":\"{}\",\"rev\":{},\"complete\":{},\"entries\":{},\"nodes\":[",
                cx.distributor.epoch(),
                registry.revision(),
                cx.distributor.warms_up_for(cx.net.now()).is_zero(),
                registry.len(),
            ),
        };
        let all: Vec<EntryId> = registry.iter().map(|(id, _)| id).collect();
        cx.cost += COST_PER_ENTRY * u32::try_from(all.len()).unwrap_or(u32::MAX);
        Listing {
            filter,
            left: all.into_iter(),
            body: body.into_bytes(),
        }
    }

    /// Returns the response. Call it when the list is complete.
    pub(super) fn finish(mut self) -> Answer {
        self.body.pop_if(|last| *last == b',');
        self.body.extend_from_slice(match self.filter {
            Filter::Targets => b"]",
            Filter::Nodes { .. } => b"]}",
        });
        Answer::new(JSON, self.body)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left.len() == 0
    }
}

impl Nodes {
    /// Returns the number of parsed registrations.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes some more nodes of a list.
    pub(super) fn write_some(&mut self, listing: &mut Listing, cx: &mut Context<'_>) {
        let Listing { filter, left, body } = listing;
        let (distributor, now) = (&*cx.distributor, cx.net.now());
        for id in left.take(AT_A_TIME) {
            let Some(view) = distributor.view().node(cx.net, id) else {
                continue;
            };
            let Some(node) = self.parse(&view, &mut cx.cost) else {
                continue;
            };
            cx.cost += COST_PER_NODE;
            let before = body.len();
            let written = match filter {
                Filter::Nodes { name, url } => {
                    if name.as_ref().is_some_and(|name| node.name != *name)
                        || url.as_ref().is_some_and(|url| !node.serves(url))
                    {
                        continue;
                    }
                    let json = NodeJson::new(&view, node, now, distributor.journal());
                    serde_json::to_writer(&mut *body, &json)
                }
                Filter::Targets => match target(&view, node) {
                    None => continue,
                    Some(target) => serde_json::to_writer(&mut *body, &target),
                },
            };
            let bytes = body.len() - before;
            cx.cost += COST_PER_BYTE * u32::try_from(bytes).unwrap_or(u32::MAX);
            match written {
                Ok(()) => body.push(b','),
                Err(_) => body.truncate(before),
            }
        }
        if listing.is_complete() {
            self.forget_departed(distributor);
        }
    }

    /// Returns the registration of a node. Parsing it adds to `cost`.
    fn parse(&mut self, view: &NodeView<'_>, cost: &mut Duration) -> Option<&ListedNode> {
        let encoded = &view.entry.encoded;
        let known = self.0.get(&view.id);
        if known.is_none_or(|(old, _)| old != encoded) {
            *cost += COST_PER_PARSED;
            let node = ListedNode::parse(serde_json::from_slice(encoded).ok()?);
            self.0.insert(view.id, (encoded.clone(), node));
        }
        self.0.get(&view.id).map(|(_, node)| node)
    }

    /// Drops the registrations of nodes that left. Done rarely, since it iterates over all.
    fn forget_departed(&mut self, distributor: &Distributor) {
        let registry = distributor.registry();
        if self.0.len() > registry.len() + registry.len() / 4 + 64 {
            self.0.retain(|id, _| registry.get(*id).is_some());
        }
    }
}

impl<'a> NodeJson<'a> {
    fn new(
        view: &NodeView<'a>,
        node: &'a ListedNode,
        now: Time,
        journal: Option<&Journal>,
    ) -> NodeJson<'a> {
        let joined = view.joined_at.zip(journal);
        let age = view.joined_at.map(|at| now.saturating_since(at));
        NodeJson {
            name: &node.name,
            host: &node.host,
            port: node.port,
            urls: &node.urls,
            id: view.id.number(),
            listed: view.entry.listed,
            peer: view.peer,
            session: view.session.as_str(),
            subscription: view.subscription,
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
    if !view.entry.listed {
        return None;
    }
    let port = node.port?;
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
