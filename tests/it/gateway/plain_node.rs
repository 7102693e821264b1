//! A node without a session, on blocking sockets: its replies can be anything.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::support::Client;

/// A node that replies with what a function returns. It ends with the test.
pub struct PlainNode {
    /// The requests so far.
    pub requests: Receiver<Value>,
    _registration: Client,
}

impl PlainNode {
    /// Registers a node with these urls. `reply` returns the fields of a reply besides its key.
    pub fn start(
        distributor: SocketAddr,
        urls: &[&str],
        reply: impl Fn(&Value) -> Value + Clone + Send + 'static,
    ) -> PlainNode {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, reply) = (sender.clone(), reply.clone());
                thread::spawn(move || {
                    let mut caller = Client::on(stream.unwrap());
                    while let Some(text) = caller.next_text() {
                        let request: Value = serde_json::from_str(&text).unwrap();
                        let mut packet = reply(&request);
                        packet["key"] = request["key"].clone();
                        let _ = sender.send(request);
                        caller.send(&packet);
                    }
                });
            }
        });
        let mut registration = Client::connect(distributor);
        registration.post(&json!({"port": port, "name": "plain", "urls": urls}));
        registration.request_list();
        PlainNode {
            requests,
            _registration: registration,
        }
    }
}
