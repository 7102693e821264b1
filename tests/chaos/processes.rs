//! Processes that are killed or stopped.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::node_process::NodeProcess;
use crate::plain_peers::{Baseline, PlainPeer, converge};
use crate::support::{Distributor, Folder, ReservedPort, wait_until};
use crate::{note, scale};

fn numbered(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{what}{number}")).collect()
}

#[test]
fn no_list_shrinks_when_the_distributor_is_killed() {
    let (peers, nodes, rounds) = scale((6, 2, 2), (50, 4, 8));
    let (folder, port) = (Folder::new(), ReservedPort::new());
    let state = folder.join("state");
    let start = || Distributor::start_at(&port.addr.to_string(), &["--state", &state]);
    let mut distributor = start();
    let names = [numbered("peer", peers), numbered("node", nodes)].concat();
    let (of_peers, of_nodes) = names.split_at(peers);
    let peers: Vec<PlainPeer> = of_peers
        .iter()
        .map(|name| PlainPeer::start(port.addr, name))
        .collect();
    let mut nodes: Vec<NodeProcess> = of_nodes
        .iter()
        .map(|name| NodeProcess::start(port.addr, name))
        .collect();
    for round in 0..rounds {
        converge(&peers, &names);
        nodes
            .iter()
            .for_each(|node| node.wait_for_view(names.len()));
        wait_until("all on disk", || {
            let saved = fs::read_to_string(&state).unwrap_or_default();
            saved.lines().skip(2).count() == names.len()
        });
        peers.iter().for_each(PlainPeer::forget_lists);
        distributor.program.kill();
        // Some peers reconnect at once, others fail to.
        thread::sleep(Duration::from_millis(700 * round));
        distributor = start();
        // A peer that received a list has registered again.
        for peer in &peers {
            wait_until("the peer to reconnect", || !peer.lists().is_empty());
        }
    }
    converge(&peers, &names);
    let short = |lists: Vec<Vec<String>>| lists.into_iter().find(|list| list.len() < names.len());
    for peer in &peers {
        assert_eq!(short(peer.lists()), None, "a list shrank");
    }
    for node in &nodes {
        let views = node.views();
        let full = views.iter().position(|view| *view == names.len());
        let after = &views[full.unwrap()..];
        assert!(after.iter().all(|view| *view >= names.len()), "{views:?}");
    }

    // A killed node leaves at once.
    nodes[0].program.kill();
    let left: Vec<String> = names
        .iter()
        .filter(|name| *name != "node0")
        .cloned()
        .collect();
    converge(&peers, &left);
    note(format_args!("killed {rounds} times, and no list shrank"));
}

/// Flags for a silence that some of the stops exceed.
const SILENCE: [&str; 4] = ["--heartbeat", "1s", "--silence-timeout", "3s"];

#[test]
fn all_stay_listed_when_the_distributor_is_stopped() {
    let (flags, stops): (&[&str], &[u64]) = scale((&SILENCE, &[1, 4]), (&[], &[1, 5, 20]));
    let distributor = Distributor::start(flags);
    let baseline = Baseline::of(&distributor);
    let names = [numbered("peer", 4), numbered("node", 3)].concat();
    let peers: Vec<PlainPeer> = names[..4]
        .iter()
        .map(|name| PlainPeer::start(distributor.addr, name))
        .collect();
    let nodes: Vec<NodeProcess> = names[4..]
        .iter()
        .map(|name| NodeProcess::start(distributor.addr, name))
        .collect();
    for seconds in stops {
        converge(&peers, &names);
        nodes
            .iter()
            .for_each(|node| node.wait_for_view(names.len()));
        distributor.program.freeze();
        thread::sleep(Duration::from_secs(*seconds));
        distributor.program.thaw();
        distributor.assert_serves();
        converge(&peers, &names);
        for node in &nodes {
            node.wait_for_view(names.len());
            let views = node.views();
            let full = views.iter().position(|view| *view == names.len());
            let after = &views[full.unwrap()..];
            assert!(after.iter().all(|view| *view >= names.len()), "{views:?}");
        }
        note(format_args!(
            "the Distributor was stopped for {seconds} s, and all stayed listed"
        ));
    }
    drop((peers, nodes));
    baseline.wait_for(&distributor, "stops");
}

#[test]
fn a_stopped_node_leaves_when_silent_and_returns() {
    let (flags, stops): (&[&str], &[u64]) = scale((&SILENCE, &[1, 5]), (&[], &[1, 5, 20]));
    let silence = scale(3, 15);
    let distributor = Distributor::start(flags);
    let watcher = [PlainPeer::start(distributor.addr, "watcher")];
    let node = NodeProcess::start(distributor.addr, "node");
    let both = ["watcher", "node"].map(str::to_owned);
    for seconds in stops {
        converge(&watcher, &both);
        let lists = watcher[0].lists().len();
        let began = Instant::now();
        node.program.freeze();
        thread::sleep(Duration::from_secs(*seconds));
        if *seconds > silence {
            converge(&watcher, &both[..1]);
            distributor
                .program
                .wait_for_log(&["left", "name=\"node\"", "cause=silent"]);
        } else {
            let lists_after = watcher[0].lists().len();
            // The last heartbeat may be older than the stop by a third of the silence.
            if began.elapsed() < Duration::from_secs(silence) * 2 / 3 {
                assert_eq!(lists_after, lists, "it is not silent yet");
            } else {
                note("a short stop took too long to count");
            }
        }
        node.program.thaw();
        if *seconds > silence {
            converge(&watcher, &both);
        }
        node.wait_for_view(2);
        note(format_args!("a node was stopped for {seconds} s"));
    }
}
