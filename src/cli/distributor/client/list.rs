//! The list as nodes receive it, from a Distributor without the admin API or a plain one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use humantime::format_duration;
use serde_json::{Value, json};

use crate::cli::failure::{Failure, failed};
use crate::cli::text_file;
use crate::protocol::{ListedNode, Reply, Update};
use crate::reactor::{CloseReason, ConnId, ConnectOptions, Handler, Limits, Net, Origin, Reactor};

/// Usual maximum time for all addresses.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Maximum length of a list, longer than any list that nodes accept.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Reads the list from the first of these addresses that responds, without registering.
pub(super) fn read(
    addresses: &[SocketAddr],
    token_file: Option<&Path>,
    deadline: Duration,
) -> Result<Vec<ListedNode>, Failure> {
    let cannot_turn = failed("cannot run the event loop");
    let mut reactor = Reactor::new(Limits {
        connect_timeout: deadline / u32::try_from(addresses.len()).unwrap_or(u32::MAX),
        ..Limits::default()
    })
    .map_err(&cannot_turn)?;
    let mut reader = ListReader {
        token: text_file::token(token_file)?,
        end: None,
    };
    let until = reactor.now() + deadline;
    let mut failures = Vec::new();
    for address in addresses {
        let options = ConnectOptions {
            max_frame_bytes: Some(MAX_LIST_BYTES),
            ..ConnectOptions::default()
        };
        reactor.net().connect(*address, options);
        let end = loop {
            if let Some(end) = reader.end.take() {
                break end;
            }
            let left = until.saturating_since(reactor.now());
            if left.is_zero() {
                return Err(Failure::failed(format!(
                    "cannot read the list from {address}: no list within {}; pass a token with \
                     --token-file FILE if the Distributor requires one, or set the address for \
                     nodes with --distributor ADDR",
                    format_duration(deadline)
                )));
            }
            let turned = reactor.turn(Some(left), &mut reader);
            turned.map_err(&cannot_turn)?;
        };
        let why = match end {
            End::List(nodes) => return Ok(nodes),
            End::Rejected(why) => {
                let remedy = "pass a valid token with --token-file FILE";
                return Err(Failure::failed(format!(
                    "cannot read the list from {address}: {why}; {remedy}"
                )));
            }
            End::Closed(CloseReason::FrameTooLarge) => {
                format!("list longer than {MAX_LIST_BYTES} bytes")
            }
            End::Closed(why) => why.to_string(),
        };
        failures.push(format!("{address}: {why}"));
    }
    Err(Failure::failed(format!(
        "cannot read the list from {}; start a Distributor there, or set its address for nodes \
         with --distributor ADDR",
        failures.join(", ")
    )))
}

/// Returns the nodes with this name or url in the form of `/nodes`, with null for data that nodes
/// do not receive.
pub(super) fn to_json(nodes: &[ListedNode], name: Option<&str>, url: Option<&str>) -> Value {
    let is_wanted = |node: &&ListedNode| {
        name.is_none_or(|name| node.name == name) && url.is_none_or(|url| node.serves(url))
    };
    let wanted = nodes.iter().filter(is_wanted).map(
        |node| json!({"name": node.name, "host": node.host, "port": node.port, "urls": node.urls}),
    );
    json!({
        "epoch": null,
        "rev": null,
        "complete": null,
        "entries": nodes.len(),
        "nodes": wanted.collect::<Vec<Value>>(),
    })
}

/// Reads frames up to the first list.
struct ListReader {
    token: Option<String>,
    end: Option<End>,
}

enum End {
    List(Vec<ListedNode>),
    Rejected(String),
    Closed(CloseReason),
}

impl Handler for ListReader {
    /// Sends the token, if there is one. Connections that need none receive the list without a
    /// request.
    fn on_open(&mut self, net: &mut Net, conn: ConnId, _: Origin) {
        if let Some(token) = &self.token {
            let packet = json!({
                "uri": "/distributes", "method": "GET", "key": 1,
                "session": {"version": 1, "token": token},
            });
            net.send_with(conn, |out| serde_json::to_writer(out, &packet));
        }
    }

    fn on_frame(&mut self, _: &mut Net, _: ConnId, frame: &[u8]) {
        if self.end.is_none() {
            self.end = parse(frame);
        }
    }

    fn on_close(&mut self, _: &mut Net, _: ConnId, why: CloseReason) {
        self.end.get_or_insert(End::Closed(why));
    }
}

/// Returns the list or the rejection in a frame.
fn parse(frame: &[u8]) -> Option<End> {
    let Some(Update::List { entries, .. }) = Update::parse(frame) else {
        let reply = Reply::parse(frame).filter(|reply| reply.errorcode != 0)?;
        let (code, message) = (reply.errorcode, reply.message());
        return Some(End::Rejected(format!("errorcode {code}: {message}")));
    };
    let nodes = entries.into_iter().map(ListedNode::parse);
    Some(End::List(nodes.collect()))
}
