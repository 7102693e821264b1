//! The list as nodes receive it, from a Distributor without the admin API or a plain one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::failure::{Failure, failed};
use crate::cli::text_file;
use crate::protocol::{ListedNode, Reply, Update};
use crate::reactor::{CloseReason, ConnId, ConnectOptions, Handler, Limits, Net, Origin, Reactor};

/// Maximum time for all addresses.
const DEADLINE: Duration = Duration::from_secs(5);
/// Maximum length of a list, longer than any list that nodes accept.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Reads the list from the first of these addresses that responds. The result has the form of
/// `/nodes`, with null for data that nodes do not receive.
pub(super) fn read(
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
        token: text_file::token(token_file)?,
        name,
        url,
        end: None,
    };
    let until = reactor.now() + DEADLINE;
    let mut failure = Failure::failed("no address");
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
                    "{address}: no list within {DEADLINE:?}; pass a token with --token-file FILE \
                     if the Distributor requires one"
                )));
            }
            let turned = reactor.turn(Some(left), &mut reader);
            turned.map_err(&cannot_turn)?;
        };
        let why = match end {
            End::List(list) => return Ok(list),
            End::Rejected(why) => return Err(Failure::failed(format!("{address}: {why}"))),
            End::Closed(CloseReason::ConnectFailed(error) | CloseReason::Failed(error)) => {
                error.to_string()
            }
            End::Closed(CloseReason::ConnectTimeout) => "connection timed out".to_owned(),
            End::Closed(CloseReason::FrameTooLarge) => {
                format!("list longer than {MAX_LIST_BYTES} bytes")
            }
            End::Closed(_) => "connection closed".to_owned(),
        };
        failure = Failure::failed(format!("{address}: {why}; is a Distributor there?"));
    }
    Err(failure)
}

/// Reads frames up to the first list.
struct ListReader<'a> {
    token: Option<String>,
    name: Option<&'a str>,
    url: Option<&'a str>,
    end: Option<End>,
}

enum End {
    List(Value),
    Rejected(String),
    Closed(CloseReason),
}

impl Handler for ListReader<'_> {
    /// Registers only to send a token. A Distributor with tokens does not list a node without a
    /// port, but a plain Distributor would.
    fn on_open(&mut self, net: &mut Net, conn: ConnId, _: Origin) {
        if let Some(token) = &self.token {
            let packet = json!({
                "uri": "/distributes", "method": "POST", "key": 1,
                "params": {"name": "distributor nodes"},
                "session": {"version": 1, "watch": "list", "token": token},
            });
            net.send_with(conn, |out| serde_json::to_writer(out, &packet));
        }
    }

    fn on_frame(&mut self, _: &mut Net, _: ConnId, frame: &[u8]) {
        if self.end.is_none() {
            self.end = parse(frame, self.name, self.url);
        }
    }

    fn on_close(&mut self, _: &mut Net, _: ConnId, why: CloseReason) {
        self.end.get_or_insert(End::Closed(why));
    }
}

/// Returns the list or the rejection in a frame.
fn parse(frame: &[u8], name: Option<&str>, url: Option<&str>) -> Option<End> {
    let Some(Update::List { entries, session }) = Update::parse(frame) else {
        let reply = Reply::parse(frame).filter(|reply| reply.errorcode != 0)?;
        let (code, message) = (reply.errorcode, reply.message());
        return Some(End::Rejected(format!("errorcode {code}: {message}")));
    };
    let count = entries.len();
    let is_wanted = |node: &ListedNode| {
        name.is_none_or(|name| node.name == name) && url.is_none_or(|url| node.serves(url))
    };
    let nodes = entries.into_iter().map(ListedNode::parse).filter(is_wanted);
    let nodes = nodes.map(
        |node| json!({"name": node.name, "host": node.host, "port": node.port, "urls": node.urls}),
    );
    Some(End::List(json!({
        "epoch": session.as_ref().map(|session| &session.epoch),
        "rev": session.as_ref().map(|session| session.rev),
        "complete": session.as_ref().and_then(|session| session.complete),
        "entries": count,
        "nodes": nodes.collect::<Vec<Value>>(),
    })))
}
