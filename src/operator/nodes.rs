//! Who is there, as JSON: for people, and for Prometheus to find.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::events::unix_ms;
use crate::distributor::{Distributor, NodeView, Observed};
use crate::protocol::ListedNode;
use crate::reactor::Net;
use crate::registry::EntryId;
use crate::time::Time;

/// What was made of the nodes' own words: they rarely change, and are long to read.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<EntryId, Parsed>);

#[derive(Debug)]
struct Parsed {
    encoded: Box<[u8]>,
    node: ListedNode,
    /// What of the node's JSON is its own.
    own: String,
}

#[derive(Serialize)]
struct Own<'a> {
    name: &'a str,
    host: &'a str,
    port: Option<u16>,
    urls: &'a [String],
}

#[derive(Serialize)]
struct List<'a> {
    epoch: &'a str,
    rev: u64,
    complete: bool,
    /// All that are registered, those who do not match included.
    entries: usize,
    nodes: Vec<&'a RawValue>,
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

/// What a look at all nodes takes, about.
pub(super) fn cost(distributor: &Distributor) -> Duration {
    Duration::from_nanos(300) * u32::try_from(distributor.registry().len()).unwrap_or(u32::MAX)
}

impl Nodes {
    /// All nodes with this name, and with this url or path.
    pub(super) fn list(
        &mut self,
        net: &mut Net,
        distributor: &Distributor,
        name: Option<&str>,
        url: Option<&str>,
    ) -> Answer {
        self.read(net, distributor);
        let now = net.now();
        let observed = distributor.observed();
        let mut found: Vec<Box<RawValue>> = Vec::new();
        for view in distributor.nodes(net) {
            let Some(parsed) = self.0.get(&view.id) else {
                continue;
            };
            let has_url = |url: &str| parsed.node.urls.iter().any(|own| serves(own, url));
            let is_named = name.is_none_or(|name| parsed.node.name == name);
            if !(is_named && url.is_none_or(has_url)) {
                continue;
            }
            let seen = serde_json::to_string(&Seen::new(&view, now, observed)).unwrap_or_default();
            // One object of two.
            let text = match (parsed.own.strip_suffix('}'), seen.strip_prefix('{')) {
                (Some(own), Some(seen)) => format!("{own},{seen}"),
                _ => continue,
            };
            found.extend(RawValue::from_string(text));
        }
        let list = List {
            epoch: distributor.epoch(),
            rev: distributor.registry().revision(),
            complete: distributor.warms_up_for(now).is_zero(),
            entries: distributor.registry().len(),
            nodes: found.iter().map(|node| &**node).collect(),
        };
        Answer::json(serde_json::to_vec(&list).unwrap_or_default())
    }

    /// The listed nodes as `http_sd` of Prometheus wants them.
    pub(super) fn targets(&mut self, net: &Net, distributor: &Distributor) -> Answer {
        self.read(net, distributor);
        let mut groups = Vec::new();
        for view in distributor.nodes(net).filter(|view| view.entry.listed) {
            let Some(parsed) = self.0.get(&view.id) else {
                continue;
            };
            let Some(port) = parsed.node.port else {
                continue;
            };
            let host = &parsed.node.host;
            let target = match host.parse() {
                Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
                _ => format!("{host}:{port}"),
            };
            groups.push(Group {
                targets: [target],
                labels: Labels {
                    name: &parsed.node.name,
                    id: view.id.number().to_string(),
                    session: view.session.as_str(),
                    state: view.state.as_str(),
                    // With a comma at both ends, so that one of them is found by `.*,GET/goods,.*`.
                    urls: format!(",{},", parsed.node.urls.join(",")),
                },
            });
        }
        Answer::json(serde_json::to_vec(&groups).unwrap_or_default())
    }

    /// Reads what is new, and forgets who is gone.
    fn read(&mut self, net: &Net, distributor: &Distributor) {
        let registry = distributor.registry();
        self.0.retain(|id, _| registry.get(*id).is_some());
        for view in distributor.nodes(net) {
            let encoded = &view.entry.encoded;
            if self
                .0
                .get(&view.id)
                .is_some_and(|parsed| parsed.encoded == *encoded)
            {
                continue;
            }
            let Ok(raw) = serde_json::from_slice(encoded) else {
                continue;
            };
            let node = ListedNode::parse(raw);
            let own = Own {
                name: &node.name,
                host: &node.host,
                port: node.port,
                urls: &node.urls,
            };
            let own = serde_json::to_string(&own).unwrap_or_default();
            let encoded = encoded.clone();
            self.0.insert(view.id, Parsed { encoded, node, own });
        }
    }
}

/// Whether `own`, as in `GET/goods`, is the url that is looked for; one without a method is a path.
fn serves(own: &str, url: &str) -> bool {
    let path = own.find('/').and_then(|slash| own.get(slash..));
    own == url || path == Some(url)
}

impl Seen {
    fn new(view: &NodeView<'_>, now: Time, observed: Option<&Observed>) -> Seen {
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
                .zip(observed)
                .map(|(at, observed)| unix_ms(at, observed)),
            age_seconds: age.map(|age| (age.as_secs_f64() * 1000.0).round() / 1000.0),
        }
    }
}

#[derive(Serialize)]
struct Group<'a> {
    targets: [String; 1],
    labels: Labels<'a>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_looked_for_with_its_method_or_without() {
        for (own, url) in [
            ("GET/goods", "GET/goods"),
            ("GET/goods", "/goods"),
            ("POST/a/b", "/a/b"),
        ] {
            assert!(serves(own, url));
        }
        for (own, url) in [
            ("GET/goods", "POST/goods"),
            ("GET/goods", "/good"),
            ("GET/goods", "goods"),
            ("GET/goods", ""),
        ] {
            assert!(!serves(own, url), "{own} {url}");
        }
    }
}
