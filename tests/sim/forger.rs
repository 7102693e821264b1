//! A server that answers what it was asked, and what it was not.

use std::net::SocketAddr;

use pilcrow::testing::sim::{Process, Socket};
use serde::Deserialize;

use crate::calls::Calls;
use crate::model::ActorId;
use crate::raw::find_end;

/// Stands for it where calls are noted by who served them.
pub const FORGER: ActorId = ActorId::MAX;

/// A node numbers its calls in the high bits of their keys, and uses the low ones again.
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

/// What a peer that registers as an echo has behind its listener.
pub struct Forger {
    listener: Socket,
    callers: Vec<Caller>,
}

struct Caller {
    socket: Socket,
    inbox: Vec<u8>,
    out: Vec<u8>,
}

impl Forger {
    pub fn listen(process: &mut Process, addr: SocketAddr) -> std::io::Result<Forger> {
        Ok(Forger {
            listener: process.listen(addr)?,
            callers: Vec::new(),
        })
    }

    pub fn poke(&mut self, process: &mut Process, calls: &mut Calls) {
        while let Ok((socket, _)) = process.accept(self.listener) {
            self.callers.push(Caller {
                socket,
                inbox: Vec::new(),
                out: Vec::new(),
            });
        }
        self.callers.retain_mut(|caller| {
            let is_over = caller.read(process);
            caller.answer(calls);
            if let Ok(count) = process.write(caller.socket, &caller.out) {
                caller.out.drain(..count);
            }
            if is_over {
                process.close(caller.socket);
            }
            !is_over
        });
    }
}

impl Caller {
    /// Reads what there is. `true` if the caller is gone.
    fn read(&mut self, process: &mut Process) -> bool {
        let mut into = [0; 4096];
        loop {
            match process.read(self.socket, &mut into) {
                Ok(0) => return true,
                Ok(count) => self.inbox.extend_from_slice(&into[..count]),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::Interrupted => {}
                    kind => return kind != std::io::ErrorKind::WouldBlock,
                },
            }
        }
    }

    fn answer(&mut self, calls: &mut Calls) {
        while let Some(end) = find_end(&self.inbox) {
            let frame: Vec<u8> = self.inbox.drain(..end + 2).take(end).collect();
            let Ok(request) = serde_json::from_slice::<Request>(&frame) else {
                continue;
            };
            calls.forger_asked(request.params.nonce);
            // First those that it was not asked, as a guesser would.
            for further in [1, -1, 2, -2, 0] {
                for slot in 0..3 {
                    let key = (request.key & !(NEXT_KEY - 1)) + further * NEXT_KEY + slot;
                    self.reply(key);
                }
            }
            self.reply(request.key);
        }
    }

    fn reply(&mut self, key: i64) {
        let reply = format!("{{\"key\":{key},\"errorcode\":0,\"results\":\"forged\"}}¶");
        self.out.extend_from_slice(reply.as_bytes());
    }
}
