//! A node of the library as a process: this program, configured by its environment.

use std::net::SocketAddr;
use std::process::Command;

use pilcrow::node::{Config, Node};
use pilcrow::reactor::{Limits, Reactor};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::support::{Program, wait_until};

const DISTRIBUTOR: &str = "CHAOS_DISTRIBUTOR";
const NAME: &str = "CHAOS_NAME";

#[test]
#[ignore = "started by other tests as a process"]
fn runs_a_node() {
    let Ok(distributor) = std::env::var(DISTRIBUTOR) else {
        return;
    };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let config = Config::default()
        .name(std::env::var(NAME).unwrap())
        .listen(SocketAddr::from(([0, 0, 0, 0], 0)))
        .distributor(distributor.parse::<SocketAddr>().unwrap());
    let mut node = Node::new(config, ());
    node.start(reactor.net()).unwrap();
    let mut printed = usize::MAX;
    loop {
        reactor.turn(None, &mut node).unwrap();
        let view = node.context(reactor.net()).roster().members().len();
        if printed != view {
            println!("\nview {view}");
            printed = view;
        }
    }
}

/// A node that prints the size of its view.
pub struct NodeProcess {
    pub program: Program,
}

impl NodeProcess {
    pub fn start(distributor: SocketAddr, name: &str) -> NodeProcess {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--ignored",
                "--exact",
                "node_process::runs_a_node",
                "--nocapture",
            ])
            .env(DISTRIBUTOR, distributor.to_string())
            .env(NAME, name);
        NodeProcess {
            program: Program::start(&mut command),
        }
    }

    /// Returns the sizes that its view has had.
    pub fn views(&self) -> Vec<usize> {
        let lines = self.program.stdout();
        let views = lines.iter().filter_map(|line| line.strip_prefix("view "));
        views.map(|view| view.parse().unwrap()).collect()
    }

    #[track_caller]
    pub fn wait_for_view(&self, view: usize) {
        wait_until(&format!("a view of {view}"), || {
            self.views().last() == Some(&view)
        });
    }
}
