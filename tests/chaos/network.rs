//! Partitions: a Distributor in a network namespace, with two wires to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::node_process::NodeProcess;
use crate::plain_peers::{PlainPeer, converge};
use crate::support::{
    Client, Distributor, Program, copy_env, distributor_command, skip_or_require,
};
use crate::{is_full, note, scale};

/// A network namespace with two wires to this one. Removed when dropped.
struct Network {
    name: String,
    /// The ends of the wires on this side.
    wires: [String; 2],
    /// The third number of the addresses of the first wire.
    subnet: u8,
}

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        let why = String::from_utf8_lossy(&output.stderr);
        Err(format!("{command}: {}", why.trim()))
    }
}

impl Network {
    fn new(number: u8) -> Result<Network, String> {
        let id = std::process::id();
        let network = Network {
            name: format!("pilcrow-{id}-{number}"),
            // The name of an interface has at most 15 bytes.
            wires: [0, 1].map(|wire| format!("pc{}n{number}w{wire}", id % 10_000_000)),
            subnet: u8::try_from(id % 100).unwrap() * 2 + 50,
        };
        run(&format!("ip netns add {}", network.name))?;
        run(&format!("ip -n {} link set lo up", network.name))?;
        for (wire, name) in network.wires.iter().enumerate() {
            let (there, ns) = (format!("{name}x"), &network.name);
            let (near, far) = (network.near(wire, number), network.far(wire, number));
            for command in [
                format!("ip link add {name} type veth peer name {there} netns {ns}"),
                format!("ip addr add {near}/30 dev {name}"),
                format!("ip link set {name} up"),
                format!("ip -n {ns} addr add {far}/30 dev {there}"),
                format!("ip -n {ns} link set {there} up"),
            ] {
                run(&command)?;
            }
        }
        Ok(network)
    }

    fn addr(&self, wire: usize, number: u8, end: u8) -> Ipv4Addr {
        let wire = u8::try_from(wire).unwrap();
        Ipv4Addr::new(10, 200 + number, self.subnet + wire, end)
    }

    fn near(&self, wire: usize, number: u8) -> Ipv4Addr {
        self.addr(wire, number, 1)
    }

    fn far(&self, wire: usize, number: u8) -> Ipv4Addr {
        self.addr(wire, number, 2)
    }

    /// Drops all packets on this wire from now on, without an error.
    fn cut(&self, wire: usize) {
        run(&format!("ip link set {} down", self.wires[wire])).unwrap();
    }

    fn mend(&self, wire: usize) {
        run(&format!("ip link set {} up", self.wires[wire])).unwrap();
    }

    fn distributor(&self, flags: &[&str]) -> Distributor {
        let inner = distributor_command(flags);
        let mut command = Command::new("ip");
        copy_env(&inner, &mut command);
        command.args(["netns", "exec", &self.name]);
        command.arg(inner.get_program()).args(inner.get_args());
        let program =
            Program::start(command.args(["--listen", "0.0.0.0:9000", "--allow-anonymous"]));
        let mut distributor = Distributor {
            program,
            addr: SocketAddr::from(([127, 0, 0, 1], 9000)),
        };
        distributor.program.wait_for_line("address", |line| {
            line.strip_prefix("listening on ").map(drop)
        });
        distributor
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Removing one end of a wire removes the other.
        let _ = run(&format!("ip netns del {}", self.name));
        for wire in &self.wires {
            let _ = run(&format!("ip link del {wire}"));
        }
    }
}

fn network(number: u8, what: &str) -> Option<Network> {
    match Network::new(number) {
        Ok(network) => Some(network),
        Err(why) => {
            skip_or_require("netns", &format!("{what}: {why}"));
            None
        }
    }
}

/// The time within which the entry of a lost host leaves.
const HOST_GONE: Duration = Duration::from_secs(20);
/// The time that a busy machine may take to notice.
const MACHINE: Duration = Duration::from_secs(3);

#[test]
fn a_lost_host_leaves_with_and_without_unacknowledged_data() {
    let what = "lost hosts";
    if !is_full() {
        return note(format_args!(
            "SKIPPED: {what}: only CHAOS=full waits 20 s for the kernel"
        ));
    }
    let Some(network) = network(1, what) else {
        return;
    };
    let distributor = network.distributor(&[]);
    let (cut, whole) = (network.far(0, 1), network.far(1, 1));
    let watcher = [PlainPeer::start(SocketAddr::from((whole, 9000)), "watcher")];
    let all = ["watcher", "gone"].map(str::to_owned);
    for right_after_a_push in [false, true] {
        let mut gone = Client::connect(SocketAddr::from((cut, 9000)));
        gone.register("gone", 1);
        converge(&watcher, &all);
        network.cut(0);
        let began = Instant::now();
        if right_after_a_push {
            let mut other = Client::connect(SocketAddr::from((whole, 9000)));
            other.register("other", 1);
            other.wait_for_list("itself", |names| names.contains(&"other".to_owned()));
            drop(other);
        }
        converge(&watcher, &all[..1]);
        let took = began.elapsed();
        note(format_args!(
            "a lost host (right after a push: {right_after_a_push}) left after {took:?}"
        ));
        assert!(took < HOST_GONE + MACHINE, "{took:?}");
        network.mend(0);
        drop(gone);
    }
    distributor
        .program
        .wait_for_log(&["left", "name=\"gone\"", "cause=silent"]);
}

#[test]
fn a_partition_heals_and_the_cut_off_node_keeps_its_view() {
    let Some(network) = network(2, "a partition") else {
        return;
    };
    let (heartbeat, silence, rounds) = scale(("1s", "3s", 1), ("5s", "15s", 2));
    let distributor =
        network.distributor(&["--heartbeat", heartbeat, "--silence-timeout", silence]);
    let (cut, whole) = (network.far(0, 2), network.far(1, 2));
    let names: Vec<String> = ["a", "b", "c", "d", "e", "node"].map(str::to_owned).into();
    let peers: Vec<PlainPeer> = names[..5]
        .iter()
        .map(|name| PlainPeer::start(SocketAddr::from((whole, 9000)), name))
        .collect();
    let node = NodeProcess::start(SocketAddr::from((cut, 9000)), "node");
    for _ in 0..rounds {
        converge(&peers, &names);
        node.wait_for_view(names.len());
        network.cut(0);
        let began = Instant::now();
        converge(&peers, &names[..5]);
        note(format_args!("cut off: left after {:?}", began.elapsed()));
        // A list that the node does not receive.
        drop(PlainPeer::start(
            SocketAddr::from((whole, 9000)),
            "passer-by",
        ));
        thread::sleep(Duration::from_secs(1));
        network.mend(0);
        converge(&peers, &names);
        node.wait_for_view(names.len());
        let views = node.views();
        let full = views.iter().position(|view| *view == names.len()).unwrap();
        assert!(
            views[full..].iter().all(|view| *view >= names.len()),
            "{views:?}"
        );
        note(format_args!(
            "mended: all are listed after {:?}",
            began.elapsed()
        ));
    }
    distributor
        .program
        .wait_for_log(&["left", "name=\"node\"", "cause=silent"]);
}
