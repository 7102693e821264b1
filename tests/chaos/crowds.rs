//! Thousands at once.

use std::thread;

use serde_json::json;

use crate::plain_peers::{Baseline, PlainPeer, affordable, converge};
use crate::support::{Client, Distributor};
use crate::{note, scale};

#[test]
fn lists_and_forgets_a_crowd_that_joins_and_leaves_at_once() {
    let (crowd, watchers) = (affordable(scale(500, 5000)), scale(4, 20));
    let distributor = Distributor::start(&["--silence-timeout", "60s"]);
    let baseline = Baseline::of(&distributor);
    let own: Vec<String> = (0..watchers)
        .map(|number| format!("watcher{number}"))
        .collect();
    for round in 0..2 {
        let peers: Vec<PlainPeer> = own
            .iter()
            .map(|name| PlainPeer::start(distributor.addr, name))
            .collect();
        converge(&peers, &own);
        // All connect before the list is long: one that is slow to register receives it.
        let mut clients: Vec<Client> = (0..crowd)
            .map(|_| Client::connect(distributor.addr))
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&json!({"uri": "/distributes", "method": "POST", "key": 1,
                "params": {"port": 1, "name": format!("n{number}")},
                "session": {"version": 1, "watch": "none"}}));
        }
        let crowd_names = (0..crowd).map(|number| format!("n{number}"));
        let all: Vec<String> = own.iter().cloned().chain(crowd_names).collect();
        converge(&peers, &all);
        drop(clients);
        converge(&peers, &own);
        let lists = peers[0].lists().len();
        note(format_args!(
            "{crowd} joined and left: {lists} lists for a watcher"
        ));
        drop(peers);
        baseline.wait_for(
            &distributor,
            if round == 0 {
                "a crowd"
            } else {
                "another crowd"
            },
        );
    }
}

#[test]
fn resets_leak_nothing() {
    let resets = scale(300, 5000);
    let distributor = Distributor::start(&[]);
    let baseline = Baseline::of(&distributor);
    let watcher = [PlainPeer::start(distributor.addr, "watcher")];
    let addr = distributor.addr;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                for number in 0..resets / 4 {
                    let mut client = Client::connect(addr);
                    match number % 4 {
                        // Before, during and after its registration, and with a list on the way.
                        0 => {}
                        1 => client.send_raw(b"{\"uri\":\"/distri"),
                        2 => client.register(&format!("n{thread}-{number}"), 1),
                        _ => {
                            client.register(&format!("n{thread}-{number}"), 1);
                            client.next_list();
                        }
                    }
                    client.reset();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    converge(&watcher, &["watcher".to_owned()]);
    distributor.assert_serves();
    drop(watcher);
    baseline.wait_for(&distributor, "resets");
    note(format_args!("{resets} connections were reset"));
}
