//! Distributors that are given by name: all addresses are tried, and a lookup that fails is
//! retried.

use std::net::TcpListener;

use crate::support::{
    Client, Distributor, Program, command, distributor_command, output_of, wait_until,
};

const GATEWAY: &str = "gateway";

/// A Distributor on one of the two addresses of `localhost`, and its address by that name.
fn start_on(loopback: &str) -> (Distributor, String) {
    let distributor = Distributor::start_at(&format!("{loopback}:0"), &["--warm-up", "0s"]);
    let name = format!("localhost:{}", distributor.addr.port());
    (distributor, name)
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// The loopback addresses that this machine has.
fn loopbacks() -> Vec<&'static str> {
    let ipv6 = has_ipv6().then_some("[::1]");
    [Some("127.0.0.1"), ipv6].into_iter().flatten().collect()
}

#[test]
fn gateway_tries_all_addresses_of_its_distributor() {
    for loopback in loopbacks() {
        let (distributor, name) = start_on(loopback);
        let flags = ["--listen", "127.0.0.1:0", "--distributor", &name];
        let _gateway = Program::start(&mut command(GATEWAY, &flags));
        wait_until("the gateway", || {
            Client::connect(distributor.addr).next_list() == ["gate"]
        });
    }
}

#[test]
fn gateway_retries_a_name_without_an_address() {
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--distributor",
        "no-such-host.invalid:9000",
        "--log-level",
        "debug",
    ];
    let mut gateway = Program::start(&mut command(GATEWAY, &flags));
    gateway.wait_for_line("address", |line| line.strip_prefix("serving").map(drop));
    gateway.wait_for_log(&["WARN", "failed to resolve", "no-such-host.invalid:9000"]);
    assert!(gateway.is_running());
}

#[test]
fn commands_try_all_addresses_of_a_name() {
    for loopback in loopbacks() {
        let (distributor, name) = start_on(loopback);
        let _goods = distributor.join("goods", 9010);
        let nodes = output_of(&mut distributor_command(&["nodes", "--distributor", &name]));
        let stdout = String::from_utf8_lossy(&nodes.stdout);
        assert!(
            stdout.contains("goods") && nodes.status.success(),
            "{nodes:?}"
        );
        // It is reached, although nothing serves what is called.
        let call = ["call", "GET/none", "--json", "--distributor", &name];
        let call = output_of(&mut distributor_command(&call));
        assert!(
            String::from_utf8_lossy(&call.stdout).contains("unavailable"),
            "{call:?}"
        );
    }
}

#[test]
fn commands_report_a_name_without_an_address() {
    let name = "no-such-host.invalid:9000";
    for words in [&["nodes"][..], &["call", "GET/x"]] {
        let flags = [words, &["--distributor", name]].concat();
        let output = output_of(&mut distributor_command(&flags));
        assert_eq!(
            output.status.code(),
            Some(1),
            "a name may have an address later"
        );
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(name),
            "{output:?}"
        );
    }
}

#[test]
fn flood_tries_all_addresses_of_a_name() {
    for loopback in loopbacks() {
        let (_distributor, name) = start_on(loopback);
        let flags = ["storm", "--to", &name, "--nodes", "3", "--rounds", "1"];
        let output = output_of(&mut command("flood", &flags));
        assert!(output.status.success(), "{output:?}");
    }
    let nowhere = ["storm", "--to", "no-such-host.invalid:9000"];
    let output = output_of(&mut command("flood", &nowhere));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
