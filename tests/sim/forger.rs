//! A server that answers the requests that it received, and requests that it did not.

use std::io::ErrorKind;
use std::net::SocketAddr;

use pilcrow::testing::sim::{Process, Socket};
use pilcrow_test_client::frame;
use serde::Deserialize;

use crate::calls::Calls;
use crate::model::ActorId;
use crate::wire::Wire;

/// The number of every forger in the record of calls.
pub const FORGER: ActorId = ActorId::MAX;

/// More than there are nodes, and faults in a row.
const MAX_ACCEPTS: usize = 1000;

/// A node numbers its calls in the high bits of their keys, and reuses the low ones.
const NEXT_KEY: i64 = 1 << 21;

#[derive(Deserialize)]
struct Request {
    key: i64,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    nonce: u64,
}

/// The listener of a peer that registers as an echo, and its connections.
pub struct Forger {
    listener: Socket,
    callers: Vec<Wire>,
}

impl Forger {
    pub fn listen(process: &mut Process, addr: SocketAddr) -> std::io::Result<Forger> {
        Ok(Forger {
            listener: process.listen(addr)?,
            callers: Vec::new(),
        })
    }

    pub fn poke(&mut self, process: &mut Process, calls: &mut Calls) {
        // No event follows an accept that fails, so it is repeated.
        for _ in 0..MAX_ACCEPTS {
            match process.accept(self.listener) {
                Ok((socket, _)) => self.callers.push(Wire::new(socket)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        self.callers.retain_mut(|caller| {
            let read = caller.read(process);
            answer(caller, calls);
            let is_open = caller.write(process).is_ok() && read.is_ok();
            if !is_open {
                process.close(caller.socket);
            }
            is_open
        });
    }
}

fn answer(caller: &mut Wire, calls: &mut Calls) {
    while let Some(frame) = caller.frames.next_frame() {
        let Ok(request) = serde_json::from_slice::<Request>(&frame) else {
            continue;
        };
        calls.received_by_forger(request.params.nonce);
        // Guessed keys of other requests first.
        for further in [1, -1, 2, -2, 0] {
            for slot in 0..3 {
                let key = (request.key & !(NEXT_KEY - 1)) + further * NEXT_KEY + slot;
                reply(caller, key);
            }
        }
        reply(caller, request.key);
    }
}

fn reply(caller: &mut Wire, key: i64) {
    let reply = format!(r#"{{"key":{key},"errorcode":0,"results":"forged"}}"#);
    caller.out.extend_from_slice(frame(reply).as_bytes());
}
