//! Health checks and metrics of a gateway.

use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::plain_node::PlainNode;
use super::{Gateway, Shopkeeper, gateway_command, request};
use crate::http::{Answer, Client};
use crate::support::{Distributor, Folder, Program, ReservedPort, wait_until};

const ADMIN: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];

impl Gateway {
    /// Returns the address of `--admin-listen`.
    fn admin(&mut self) -> SocketAddr {
        self.program.wait_for_line("admin address", |line| {
            line.strip_prefix("admin on http://")?
                .strip_suffix('/')?
                .parse()
                .ok()
        })
    }
}

/// Returns the metrics of a new gateway.
pub fn metrics_of(distributor: SocketAddr) -> String {
    let mut gateway = Gateway::start(distributor, &ADMIN);
    fetch(gateway.admin(), "GET", "/metrics").body
}

fn fetch(addr: SocketAddr, method: &str, target: &str) -> Answer {
    let mut client = Client::new(TcpStream::connect(addr).unwrap());
    client.send(&request(method, target, "", ""));
    if method == "HEAD" {
        client.head()
    } else {
        client.answer()
    }
}

fn readiness(addr: SocketAddr) -> (u16, String) {
    let answer = fetch(addr, "GET", "/readyz");
    assert_eq!(answer.header("Retry-After").is_some(), answer.status == 503);
    (answer.status, answer.body)
}

#[test]
fn is_ready_while_it_has_a_complete_list() {
    let port = ReservedPort::new();
    let mut gateway = Gateway::start(port.addr, &ADMIN);
    let admin = gateway.admin();
    assert_eq!(fetch(admin, "GET", "/healthz").body, "ok\n");
    assert_eq!(
        readiness(admin),
        (503, "not registered with a Distributor\n".to_owned())
    );

    let addr = port.addr.to_string();
    let warming = Distributor::start_at(&addr, &["--warm-up", "1h"]);
    wait_until("the incomplete list", || {
        readiness(admin).1.contains("incomplete")
    });
    assert_eq!(readiness(admin).0, 503);
    drop(warming);
    let complete = Distributor::start_at(&addr, &["--warm-up", "0s"]);
    wait_until("the complete list", || {
        readiness(admin) == (200, "ready\n".to_owned())
    });
    // The nodes of the last list are still called.
    drop(complete);
    wait_until("the loss", || {
        readiness(admin).1.contains("Distributor is lost")
    });
    assert_eq!(readiness(admin).0, 200);
    let _warming = Distributor::start_at(&addr, &["--warm-up", "1h"]);
    wait_until("the link", || {
        readiness(admin) == (200, "ready\n".to_owned())
    });
    assert_eq!(fetch(admin, "GET", "/healthz").status, 200);
}

#[test]
fn is_not_ready_while_it_stops() {
    let distributor = Distributor::start(&["--warm-up", "0s"]);
    let shop = Shopkeeper::start(distributor.addr, "shop", &["GET/goods", "GET/held"]);
    let mut gateway = Gateway::start(
        distributor.addr,
        &[&ADMIN[..], &["--deadline", "60s"]].concat(),
    );
    let admin = gateway.admin();
    gateway.wait_for("/goods");
    wait_until("readiness", || readiness(admin).0 == 200);
    let served = shop.served();
    let mut waiting = gateway.connect();
    waiting.send(&request("GET", "/held", "", ""));
    wait_until("the request", || shop.served() > served);
    gateway.program.signal(Signal::TERM);
    wait_until("the stop", || {
        readiness(admin) == (503, "stopping\n".to_owned())
    });
    assert_eq!(fetch(admin, "GET", "/healthz").status, 200);
    shop.release();
    assert_eq!(waiting.answer().status, 200);
    assert!(gateway.program.wait().success());
}

#[test]
fn hides_no_path_of_a_node() {
    let distributor = Distributor::start(&[]);
    let urls = ["GET/metrics", "GET/healthz", "GET/readyz"];
    let _shop = Shopkeeper::start(distributor.addr, "shop", &urls);
    let mut gateway = Gateway::start(distributor.addr, &ADMIN);
    let admin = gateway.admin();
    for target in ["/metrics", "/healthz", "/readyz"] {
        gateway.wait_for(target);
        assert!(
            gateway.get(target).body.contains("\"by\":\"shop\""),
            "{target}"
        );
        let head = fetch(admin, "HEAD", target);
        assert!(head.header("Content-Length").is_some());
        assert_eq!(head.header("Cache-Control").as_deref(), Some("no-store"));
        let answer = fetch(admin, "POST", target);
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("Allow").as_deref(), Some("GET, HEAD"));
    }
    // Nodes are not called there.
    assert_eq!(fetch(admin, "GET", "/goods").status, 404);
    assert_eq!(fetch(admin, "GET", "/").status, 404);
}

/// Returns the value of a sample, which may have labels.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn counts_responses_and_replies() {
    let distributor = Distributor::start(&["--warm-up", "0s"]);
    let fails = |request: &Value| {
        let code = i64::from(request["uri"] == "/goods/none");
        json!({"errorcode": code, "errormessage": "", "results": null})
    };
    let _node = PlainNode::start(distributor.addr, &["GET/goods"], fails);
    let shop = Shopkeeper::start(distributor.addr, "shop", &["GET/held"]);
    let mut gateway = Gateway::start(distributor.addr, &ADMIN);
    let admin = gateway.admin();
    gateway.wait_for("/goods");
    wait_until("readiness", || readiness(admin).0 == 200);
    let metrics = || {
        let answer = fetch(admin, "GET", "/metrics");
        assert_eq!(answer.status, 200);
        let content_type = answer.header("Content-Type").unwrap();
        assert!(
            content_type.starts_with("text/plain; version=0.0.4"),
            "{content_type}"
        );
        answer.body
    };
    let before = metrics();
    gateway.get("/goods");
    gateway.get("/goods/none");
    gateway.get("/unknown");
    gateway.fetch("PUT", "/goods", "", "");
    gateway.fetch("POST", "/goods", "Content-Type: text/plain\r\n", "x");
    let mut broken = gateway.connect();
    broken.send("GET / HTTP/2.0\r\n\r\n");
    assert_eq!(broken.answer().status, 505);
    let mut waiting = gateway.connect();
    waiting.send(&request("GET", "/held", "", ""));
    wait_until("the request", || shop.served() > 0);

    let after = metrics();
    for (name, more) in [
        ("pilcrow_gateway_responses_total{status=\"200\"}", 2.0),
        ("pilcrow_gateway_responses_total{status=\"404\"}", 1.0),
        ("pilcrow_gateway_responses_total{status=\"405\"}", 2.0),
        ("pilcrow_gateway_responses_total{status=\"505\"}", 1.0),
        ("pilcrow_gateway_replies_total", 2.0),
        ("pilcrow_gateway_error_replies_total", 1.0),
        ("pilcrow_gateway_request_seconds_count", 5.0),
        ("pilcrow_gateway_requests_in_flight", 1.0),
        ("pilcrow_http_refused_total", 1.0),
    ] {
        let value = |metrics: &str| sample(metrics, name).unwrap_or(0.0);
        assert_eq!(value(&after) - value(&before), more, "{name}\n{after}");
    }
    for (name, value) in [
        ("pilcrow_ready", 1.0),
        ("pilcrow_gateway_registered", 1.0),
        ("pilcrow_gateway_nodes", 3.0),
        ("pilcrow_gateway_request_seconds_bucket{le=\"+Inf\"}", 0.0),
    ] {
        let found = sample(&after, name).unwrap();
        assert!(found == value || value == 0.0, "{name} {found}");
    }
    assert!(sample(&after, "pilcrow_http_connections").unwrap() >= 1.0);
    assert!(sample(&after, "pilcrow_read_bytes_total").unwrap() > 0.0);
    shop.release();
    assert_eq!(waiting.answer().status, 200);
}

#[test]
fn listens_for_health_checks_on_request_only() {
    let distributor = Distributor::start(&[]);
    let gateway = Gateway::start(distributor.addr, &[]);
    let lines = gateway.program.stdout();
    assert!(
        !lines.iter().any(|line| line.contains("admin")),
        "{lines:?}"
    );

    for (flags, words) in [
        (&["--admin-listen", "0.0.0.0:0"][..], "--allow-anonymous"),
        (
            &["--admin-listen", "none,127.0.0.1:0"],
            "combined with an address",
        ),
        (&["--admin-listen", "8001"], "ADDRESS:PORT"),
    ] {
        let mut program = Program::start(&mut gateway_command(flags));
        assert_eq!(program.wait().code(), Some(2), "{flags:?}");
        program.wait_for_log(&[words]);
    }
    let mut command = gateway_command(&["--admin-listen", "0.0.0.0:0", "--allow-anonymous"]);
    let mut public = Program::start(command.args(["--listen", "127.0.0.1:0"]));
    public.wait_for_line("address", |line| {
        line.strip_prefix("admin on http://0.0.0.0:").map(drop)
    });

    // As all flags, by a variable and by a file.
    let folder = Folder::new();
    let file = folder.join("gateway.toml");
    std::fs::write(&file, "admin-listen = \"127.0.0.1:0\"\n").unwrap();
    let by_file = ["--config", &file, "--listen", "127.0.0.1:0"];
    let mut by_file = Program::start(&mut gateway_command(&by_file));
    by_file.wait_for_line("address", |line| line.strip_prefix("admin on ").map(drop));
    let mut by_variable = gateway_command(&["--listen", "127.0.0.1:0"]);
    by_variable.env("PILCROW_GATEWAY_ADMIN_LISTEN", "127.0.0.1:0");
    let mut by_variable = Program::start(&mut by_variable);
    by_variable.wait_for_line("address", |line| line.strip_prefix("admin on ").map(drop));
    let off = [
        "--config",
        &file,
        "--admin-listen",
        "none",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut off = Program::start(&mut gateway_command(&off));
    off.wait_for_line("start", |line| line.strip_prefix("serving").map(drop));
    assert!(!off.stdout().iter().any(|line| line.contains("admin")));
}
