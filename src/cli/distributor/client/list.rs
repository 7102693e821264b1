//! The list as nodes are sent it: what a Distributor without --http tells, and that of the book.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::protocol::{ListedNode, Reply, Update};
use memchr::memmem;
use serde_json::{Value, json};

use super::http::token_in;
use crate::cli::failure::Failure;

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// No list that nodes could take is longer.
const MAX_LIST_BYTES: usize = 64 << 20;
const FRAME_END: &[u8] = "¶".as_bytes();

/// Who is listed, in the form that `/nodes` has, with null for what nodes are not told.
pub(super) fn ask(
    distributor: SocketAddr,
    token_file: Option<&Path>,
    name: Option<&str>,
    url: Option<&str>,
) -> Result<Value, Failure> {
    let token = token_file.map(token_in).transpose()?;
    let not_reached = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::failed(format!(
            "{distributor}: no list came within {DEADLINE:?}; if it asks for a token, give it with \
             --token-file FILE"
        )),
        _ => Failure::failed(format!("{distributor}: {error}; is a Distributor there?")),
    };
    let until = Instant::now() + DEADLINE;
    let mut stream = TcpStream::connect_timeout(&distributor, DEADLINE).map_err(not_reached)?;
    if let Some(token) = &token {
        stream
            .write_all(registration(token).as_bytes())
            .map_err(not_reached)?;
    }
    let mut received = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || received.len() > MAX_LIST_BYTES {
            return Err(not_reached(io::ErrorKind::TimedOut.into()));
        }
        stream.set_read_timeout(Some(left)).map_err(not_reached)?;
        let searched = received.len().saturating_sub(FRAME_END.len() - 1);
        let bytes = stream.read(&mut chunk).map_err(not_reached)?;
        if bytes == 0 {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
            return Err(not_reached(error));
        }
        received.extend_from_slice(chunk.get(..bytes).unwrap_or_default());
        let unsearched = received.get(searched..).unwrap_or_default();
        if memmem::find(unsearched, FRAME_END).is_none() {
            continue;
        }
        let mut rest = &*received;
        while let Some(end) = memmem::find(rest, FRAME_END) {
            let (frame, after) = rest.split_at(end);
            if let Some(list) = read(frame, distributor, name, url)? {
                return Ok(list);
            }
            rest = after.get(FRAME_END.len()..).unwrap_or_default();
        }
        received = rest.to_vec();
    }
}

/// Only who must show a token registers: without a port, which a Distributor that knows of tokens lists
/// nowhere, but that of the book does.
fn registration(token: &str) -> String {
    let packet = json!({
        "uri": "/distributes", "method": "POST", "key": 1, "params": {"name": "distributor nodes"},
        "session": {"version": 1, "watch": "list", "token": token},
    });
    packet.to_string().replace('¶', "\\u00b6") + "¶"
}

/// The list, if the frame is one.
fn read(
    frame: &[u8],
    distributor: SocketAddr,
    name: Option<&str>,
    url: Option<&str>,
) -> Result<Option<Value>, Failure> {
    let Some(Update::List { entries, session }) = Update::parse(frame) else {
        return match Reply::parse(frame) {
            Some(reply) if reply.errorcode != 0 => Err(Failure::failed(format!(
                "{distributor}: errorcode {}: {}",
                reply.errorcode,
                reply.message()
            ))),
            _ => Ok(None),
        };
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
    Ok(Some(json!({
        "epoch": session.as_ref().map(|session| &session.epoch),
        "rev": session.as_ref().map(|session| session.rev),
        "complete": session.as_ref().and_then(|session| session.complete),
        "entries": count,
        "nodes": nodes,
    })))
}
