//! The list as nodes are sent it: what a Distributor without --http sends, and a plain one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::token_in;
use crate::cli::failure::{Failure, failed};
use crate::protocol::{ListedNode, Reply, Update};
use crate::reactor::{CloseReason, ConnId, ConnectOptions, Handler, Limits, Net, Origin, Reactor};

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// No list that nodes could take is longer.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Returns the list in the form that `/nodes` has, with null for what nodes are not sent. Tries the
/// addresses in turn.
pub(super) fn ask(
    addresses: &[SocketAddr],
    token_file: Option<&Path>,
    name: Option<&str>,
    url: Option<&str>,
) -> Result<Value, Failure> {
    let cannot_turn = failed("cannot run the event loop");
    let mut reactor = Reactor::new(Limits {
        connect_timeout: DEADLINE / u32::try_from(addresses.len()).unwrap_or(u32::MAX),
        ..Limits::default()
    })
    .map_err(&cannot_turn)?;
    let mut reader = ListReader {
        token: token_file.map(token_in).transpose()?,
        name,
        url,
        end: None,
    };
    let until = reactor.now() + DEADLINE;
    let mut failure = Failure::failed("there is no address to ask");
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
                    "{address}: no list came within {DEADLINE:?}; if it asks for a token, give it \
                     with --token-file FILE"
                )));
            }
            reactor
                .turn(Some(left), &mut reader)
                .map_err(&cannot_turn)?;
        };
        let why = match end {
            End::List(list) => return Ok(list),
            End::Refused(why) => return Err(Failure::failed(format!("{address}: {why}"))),
            End::Closed(why) => why,
        };
        let why = match why {
            CloseReason::ConnectFailed(error) | CloseReason::Failed(error) => error.to_string(),
            CloseReason::ConnectTimeout => "it does not answer".to_owned(),
            CloseReason::FrameTooLarge => format!("its list is longer than {MAX_LIST_BYTES} bytes"),
            _ => "it closed the connection".to_owned(),
        };
        failure = Failure::failed(format!("{address}: {why}; is a Distributor there?"));
    }
    Err(failure)
}

/// Reads up to the first list.
struct ListReader<'a> {
    token: Option<String>,
    name: Option<&'a str>,
    url: Option<&'a str>,
    end: Option<End>,
}

enum End {
    List(Value),
    Refused(String),
    Closed(CloseReason),
}

impl Handler for ListReader<'_> {
    /// Registers only to show a token, and without a port: a Distributor that has tokens does not list
    /// that. A plain one would.
    fn on_open(&mut self, net: &mut Net, conn: ConnId, _: Origin) {
        if let Some(token) = &self.token {
            let packet = json!({
                "uri": "/distributes", "method": "POST", "key": 1, "params": {"name": "distributor nodes"},
                "session": {"version": 1, "watch": "list", "token": token},
            });
            net.send_with(conn, |out| serde_json::to_writer(out, &packet));
        }
    }

    fn on_frame(&mut self, _: &mut Net, _: ConnId, frame: &[u8]) {
        if self.end.is_none() {
            self.end = read(frame, self.name, self.url);
        }
    }

    fn on_close(&mut self, _: &mut Net, _: ConnId, why: CloseReason) {
        self.end.get_or_insert(End::Closed(why));
    }
}

/// Returns the list, if the frame is one, or why it is refused.
fn read(frame: &[u8], name: Option<&str>, url: Option<&str>) -> Option<End> {
    let Some(Update::List { entries, session }) = Update::parse(frame) else {
        let reply = Reply::parse(frame).filter(|reply| reply.errorcode != 0)?;
        let (code, message) = (reply.errorcode, reply.message());
        return Some(End::Refused(format!("errorcode {code}: {message}")));
    };
    let count = entries.len();
    let nodes = entries.into_iter().map(ListedNode::parse);
    let is_wanted = |node: &ListedNode| {
        name.is_none_or(|name| node.name == name) && url.is_none_or(|url| node.serves(url))
    };
    let nodes: Vec<Value> = nodes
        .filter(is_wanted)
        .map(|node| json!({"name": node.name, "host": node.host, "port": node.port, "urls": node.urls}))
        .collect();
    Some(End::List(json!({
        "epoch": session.as_ref().map(|session| &session.epoch),
        "rev": session.as_ref().map(|session| session.rev),
        "complete": session.as_ref().and_then(|session| session.complete),
        "entries": count,
        "nodes": nodes,
    })))
}
