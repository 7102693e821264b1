//! A Distributor with many nodes.

use std::io::Write;
use std::net::IpAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::admin::AdminServer;
use crate::support::{Client, Folder, wait_until};
use pilcrow_test_client::registration;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const ADMIN_TOKEN: &str = "fedcba9876543210";

const NAMES: [&str; 25] = [
    "auth",
    "billing",
    "cart",
    "catalog",
    "checkout",
    "gateway",
    "goods",
    "images",
    "inventory",
    "logs",
    "mail",
    "members",
    "orders",
    "payments",
    "pricing",
    "purchases",
    "recommendations",
    "reports",
    "reviews",
    "search",
    "sessions",
    "shipping",
    "stock",
    "suppliers",
    "users",
];

pub struct Fleet {
    pub admin: AdminServer,
    pub nodes: Vec<Client>,
    _files: Folder,
}

impl Fleet {
    /// Starts a Distributor with this many nodes. They have a token, and connections without one
    /// are sent no list: each join would be sent to all that have not registered yet.
    pub fn start(count: usize) -> Fleet {
        raise_fd_limit();
        let files = Folder::new();
        let [tokens, admin_token] =
            [("tokens", TOKEN), ("admin", ADMIN_TOKEN)].map(|(name, token)| {
                let path = files.join(name);
                std::fs::write(&path, token).unwrap();
                path
            });
        let admin = AdminServer::start_ready(&[
            "--token-file",
            &tokens,
            "--admin-token-file",
            &admin_token,
            "--allow-from",
            "127.0.0.1/32",
            "--max-connections",
            "6000",
            "--silence-timeout",
            "1h",
            "--first-byte-timeout",
            "1h",
            // A busy kernel may lose probes of thousands of idle connections.
            "--keepalive-idle",
            "1h",
            "--tcp-user-timeout",
            "1h",
        ]);
        let mut fleet = Fleet {
            admin,
            nodes: Vec::new(),
            _files: files,
        };
        for number in 0..count {
            fleet.join(NAMES[number * 7 % NAMES.len()], number);
        }
        wait_until("all to be registered", || {
            let status = fleet.admin.get("/status").body;
            status.contains(&format!("\"entries\":{count},"))
        });
        fleet
    }

    /// Registers a node with a session that receives no lists.
    pub fn join(&mut self, name: &str, number: usize) {
        let host = IpAddr::from([127, 0, 0, 2 + u8::try_from(number % 7).unwrap()]);
        let mut node = Client::connect_from(self.admin.distributor.addr, host);
        let urls = ["GET", "POST", "PUT"].map(|method| format!("{method}/{name}"));
        let params = json!({"port": 9000 + number, "name": name, "urls": urls});
        let session = json!({"version": 1, "watch": "none", "token": TOKEN});
        let packet = registration(0, params, &session);
        node.stream.write_all(packet.as_bytes()).unwrap();
        self.nodes.push(node);
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.admin.http)
    }
}

/// Each node is an open file.
fn raise_fd_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
