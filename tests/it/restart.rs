//! The Distributor is killed, stopped and started again, and nobody's list gets shorter.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use pilcrow::node::{Config, Node};
use pilcrow::reactor::{Limits, Reactor};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, Distributor, Folder, Program, ReservedPort, distributor_command, names, wait_until,
};

/// A Distributor with a state file, on a port that is its own also while it is down.
struct Place {
    folder: Folder,
    port: ReservedPort,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: Folder::new(),
            port: ReservedPort::new(),
        }
    }

    fn state(&self) -> String {
        self.folder.join("state")
    }

    fn saved(&self) -> String {
        fs::read_to_string(self.state()).unwrap_or_default()
    }

    fn start(&self, flags: &[&str]) -> Distributor {
        let state = self.state();
        let flags = [&["--state", &state], flags].concat();
        Distributor::start_at(&self.port.addr.to_string(), &flags)
    }

    /// Waits until these are on disk, and nobody else.
    fn wait_for_saved(&self, names: &[&str]) {
        wait_until(&format!("{names:?} on disk"), || {
            let saved = self.saved();
            let entries = saved.lines().skip(2);
            let mut found = names.iter();
            entries.count() == names.len()
                && found.all(|name| saved.contains(&format!("\"name\":\"{name}\"")))
        });
    }
}

const EVERYBODY: [&str; 5] = ["a", "b", "c", "watcher", "gone"];

fn watcher() -> Value {
    let session = json!({"version": 1, "watch": "delta", "instance": "abcdef0123456789"});
    json!({"uri": "/distributes", "method": "POST", "key": 1, "session": session,
        "params": {"port": 4, "name": "watcher"}})
}

fn gather(distributor: &Distributor) -> Vec<Client> {
    let mut clients: Vec<Client> = ["a", "b", "c"]
        .iter()
        .map(|name| distributor.join(name, 1))
        .collect();
    let mut watching = distributor.connect();
    watching.send(&watcher());
    assert_eq!(watching.next()["errorcode"], 0);
    clients.push(watching);
    clients.push(distributor.join("gone", 1));
    clients
}

/// Reads lists, none of which is other than this, up to one of fewer; returns that.
#[track_caller]
fn wait_for_fewer(client: &mut Client, everybody: &[&str]) -> Vec<String> {
    loop {
        let list = client.next_list();
        if list.len() < everybody.len() {
            return list;
        }
        assert_eq!(list, everybody);
    }
}

#[test]
fn no_list_gets_shorter_when_it_is_killed_and_started_again() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let clients = gather(&distributor);
    place.wait_for_saved(&EVERYBODY);
    let mode = fs::metadata(place.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "instances are secrets");

    // Twice, the second time while nobody is back.
    distributor.program.kill();
    drop(clients);
    let mut distributor = place.start(&[]);
    assert_eq!(Client::connect(distributor.addr).next_list(), EVERYBODY);
    distributor.program.kill();
    let distributor = place.start(&["--warm-up", "15s"]);
    let log = ["list restored", "entries=5"];
    distributor.program.wait_for_log(&log);

    let mut lists = Client::connect(distributor.addr);
    assert_eq!(lists.next_list(), EVERYBODY);
    let mut session = Client::connect(distributor.addr);
    assert_eq!(session.next_list(), EVERYBODY);
    // In another order than before: each has its old place.
    session.send(&watcher());
    let reply = session.next();
    assert_eq!(reply["errorcode"], 0, "{reply}");
    let list = session.next();
    assert_eq!(list["session"]["complete"], false, "{list}");
    assert_eq!(names(&list), EVERYBODY);
    assert_eq!(list["session"]["ids"][3], reply["results"]["id"]);
    let mut back: Vec<Client> = ["c", "b", "a"]
        .iter()
        .map(|name| {
            let mut client = Client::connect(distributor.addr);
            assert_eq!(client.next_list(), EVERYBODY);
            client.register(name, 1);
            assert_eq!(client.next_list(), EVERYBODY);
            client
        })
        .collect();

    // Then who is not back leaves, and that is told as what it is before all is complete.
    let gone = list["session"]["ids"][4].clone();
    let change = session.next();
    assert_eq!(
        change["params"]["left"],
        json!([{"id": gone, "cause": "absent"}]),
        "{change}"
    );
    let list = session.next();
    assert_eq!(list["session"]["complete"], true, "{list}");
    assert_eq!(names(&list), EVERYBODY[..4]);
    for client in &mut back {
        assert_eq!(wait_for_fewer(client, &EVERYBODY), EVERYBODY[..4]);
    }
    let log = ["left", "name=\"gone\"", "cause=absent"];
    distributor.program.wait_for_log(&log);
    place.wait_for_saved(&EVERYBODY[..4]);
    assert_eq!(place.folder.names(), ["state", "state.lock"]);
}

#[test]
fn a_planned_stop_keeps_whoever_was_there_when_it_began() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let clients = gather(&distributor);
    distributor.program.signal(Signal::TERM);
    assert!(distributor.program.wait().success());
    place.wait_for_saved(&EVERYBODY);
    drop(clients);
    let distributor = place.start(&[]);
    assert_eq!(Client::connect(distributor.addr).next_list(), EVERYBODY);
}

#[test]
fn an_orphan_is_claimed_by_its_instance_or_by_all_that_it_says() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let packet = |instance: &str, token: &str, name: &str| {
        let session = json!({"watch": "delta", "instance": instance, "token": token});
        json!({"uri": "/distributes", "method": "POST", "key": 1, "session": session,
            "params": {"port": 1, "name": name}})
    };
    let mut clients = Vec::new();
    for (instance, name) in [("aa", "twin"), ("bb", "twin"), ("cc", "old")] {
        let mut client = distributor.connect();
        client.send(&packet(instance, "sesame", name));
        assert_eq!(client.next()["errorcode"], 0);
        clients.push(client);
    }
    place.wait_for_saved(&["twin", "twin", "old"]);
    assert!(!place.saved().contains("sesame"));
    distributor.program.kill();
    drop(clients);

    let distributor = place.start(&["--max-entries", "3"]);
    let mut client = distributor.connect();
    let mut try_register = |packet: &Value| {
        client.send(packet);
        loop {
            let reply = client.next();
            if !reply["errorcode"].is_null() {
                return reply;
            }
        }
    };
    // Not from elsewhere, and not with another token.
    let reply = try_register(&packet("cc", "other", "old"));
    assert_eq!(reply["errorcode"], 5, "{reply}");
    // Its own, though another one that says the same comes first; there needs to be no room.
    let reply = try_register(&packet("bb", "sesame", "twin"));
    assert_eq!(reply["results"]["id"], 2, "{reply}");
    let mut plain = distributor.connect();
    plain.register("newcomer", 1);
    assert_eq!(plain.next_errorcode(), 4, "there is no room for it");
    let mut plain = distributor.connect();
    plain.post(&json!({"port": 1, "name": "twin"}));
    assert_eq!(plain.next_list(), ["twin", "twin", "old"]);
    // What it says now, in its old place.
    let mut changed = distributor.connect();
    changed.send(&packet("cc", "sesame", "new"));
    assert_eq!(changed.next()["results"]["id"], 3);
    assert_eq!(plain.next_list(), ["twin", "twin", "new"]);
    drop(plain);
    wait_for_departure(&mut changed, 1, "closed");
}

/// Reads up to a change with a departure, which must be this one.
#[track_caller]
fn wait_for_departure(client: &mut Client, id: u64, cause: &str) {
    loop {
        let frame = client.next();
        let left = &frame["params"]["left"];
        if left.is_array() && *left != json!([]) {
            assert_eq!(*left, json!([{"id": id, "cause": cause}]));
            return;
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_orphan_stays_on_its_host() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let mut watching = distributor.connect();
    watching.send(&watcher());
    watching.next();
    let _plain = distributor.join("plain", 1);
    place.wait_for_saved(&["watcher", "plain"]);
    distributor.program.kill();
    let distributor = place.start(&[]);
    let connect = || {
        let mut client = Client::connect_from(distributor.addr, [127, 0, 0, 2].into());
        client.next_list();
        client
    };
    let mut other = connect();
    other.send(&watcher());
    assert_eq!(other.next()["errorcode"], 5);
    let mut other = connect();
    other.register("plain", 1);
    assert_eq!(other.next_list(), ["watcher", "plain", "plain"]);
}

#[test]
fn nodes_lose_no_member_in_a_restart() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let mut nodes: Vec<Node<()>> = (0..4)
        .map(|number| {
            let mut node = Node::new(
                Config {
                    name: format!("node{number}"),
                    listen: Some(([127, 0, 0, 1], 0).into()),
                    distributor: Some(place.port.addr.into()),
                    retry: Duration::from_millis(100),
                    ..Config::default()
                },
                (),
            );
            node.start(reactor.net()).unwrap();
            node
        })
        .collect();
    let mut turn_until =
        |nodes: &mut Vec<Node<()>>, what: &str, wanted: &dyn Fn(&[usize]) -> bool| {
            let mut fewest = usize::MAX;
            wait_until(what, || {
                let wait = Some(Duration::from_millis(10));
                reactor.turn(wait, nodes).unwrap();
                let views: Vec<usize> = nodes
                    .iter_mut()
                    .map(|node| node.context(reactor.net()).roster().members().len())
                    .collect();
                fewest = fewest.min(views.iter().copied().min().unwrap());
                assert!(views.iter().all(|known| *known <= 4), "{views:?}");
                wanted(&views)
            });
            fewest
        };
    turn_until(&mut nodes, "all to know all", &|views| views == [4; 4]);
    place.wait_for_saved(&["node0", "node1", "node2", "node3"]);
    distributor.program.kill();
    let distributor = place.start(&["--warm-up", "15s"]);
    let is_over = || {
        let stderr = distributor.program.stderr();
        let back = stderr.iter().filter(|line| line.contains("entry claimed"));
        back.count() == 4
    };
    let fewest = turn_until(&mut nodes, "all to be back", &|_| is_over());
    assert_eq!(fewest, 4);
    // Without a port it is in no list.
    let mut probe = distributor.connect();
    probe.send(&json!({"uri": "/distributes", "method": "POST", "key": 1,
        "params": {"name": "probe"}, "session": {"watch": "none"}}));
    let probe = RefCell::new(probe);
    let fewest = turn_until(&mut nodes, "the end of the warm-up", &|_| {
        probe.borrow_mut().ask().1["session"]["complete"] == true
    });
    assert_eq!(fewest, 4, "nor when all is complete");
}

#[test]
fn without_a_state_file_lists_are_not_complete() {
    let port = ReservedPort::new();
    let listen = port.addr.to_string();
    let mut distributor = Distributor::start_at(&listen, &[]);
    let _client = distributor.join("a", 1);
    distributor.program.kill();
    let distributor = Distributor::start_at(&listen, &[]);
    let mut client = Client::connect(distributor.addr);
    assert_eq!(client.next_list(), [""; 0]);
    client.send(&watcher());
    client.next();
    assert_eq!(client.next()["session"]["complete"], false);
}

#[test]
fn a_file_that_is_not_the_list_is_set_aside() {
    let place = Place::new();
    let distributor = place.start(&[]);
    let _client = distributor.join("a", 1);
    place.wait_for_saved(&["a"]);
    let good = fs::read(place.state()).unwrap();
    drop(distributor);
    let newer = b"{\"format\":\"pilcrow distributor state\",\"version\":7}\n";
    let texts: [(&[u8], &str); 4] = [
        (&good[..good.len() - 5], "torn"),
        (b"", "torn"),
        (b"#!/bin/sh\n", "not a state file"),
        (newer, "version 7"),
    ];
    for (text, why) in texts {
        let place = Place::new();
        fs::write(place.state(), text).unwrap();
        let distributor = place.start(&[]);
        let log = ["set aside", "state.broken-", why];
        let line = distributor.program.wait_for_log(&log);
        assert!(line.contains("WARN"), "{line}");
        let names = place.folder.names();
        let aside = names.iter().find(|name| name.starts_with("state.broken-"));
        let aside = place.folder.join(aside.expect("it is there"));
        assert_eq!(fs::read(aside).unwrap(), text);
        distributor.assert_serves();
        let _client = distributor.join("new", 1);
        place.wait_for_saved(&["new"]);
    }
}

#[test]
fn a_disk_that_fails_is_said_and_changes_nothing_else() {
    let place = Place::new();
    let inner = place.folder.join("inner");
    let path = format!("{inner}/state");
    let listen = place.port.addr.to_string();
    let mut distributor = Distributor::start_at(&listen, &["--state", &path]);
    distributor
        .program
        .wait_for_log(&["WARN", "failed to write state file", "failures=1"]);
    let _client = distributor.join("a", 1);
    distributor.assert_serves();
    // What has not changed since is written as soon as it can be.
    fs::create_dir(&inner).unwrap();
    let has = |name: &str| fs::read_to_string(&path).is_ok_and(|text| text.contains(name));
    wait_until("the list on disk", || has("\"a\""));
    distributor
        .program
        .wait_for_log(&["state file written again"]);
    // A folder in its place.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let _other = distributor.join("b", 1);
    wait_until("a second complaint", || {
        let stderr = distributor.program.stderr();
        let lines = stderr
            .iter()
            .filter(|line| line.contains("failed to write state file"));
        lines.count() >= 2
    });
    distributor.assert_serves();
    fs::remove_dir(&path).unwrap();
    wait_until("the list on disk", || has("\"b\""));
    distributor.program.signal(Signal::TERM);
    assert!(distributor.program.wait().success());
    let line = distributor.program.wait_for_log(&["stopped"]);
    assert!(!line.contains("snapshot_failures=0"), "{line}");
    // A folder is there from the start.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let distributor = Distributor::start_at(&listen, &["--state", &path]);
    distributor.program.wait_for_log(&["not a file"]);
    distributor.assert_serves();
}

#[test]
fn what_is_no_file_is_left_alone_and_a_link_stays_one() {
    let folder = Folder::new();
    let (socket, file, link) = (
        folder.join("socket"),
        folder.join("file"),
        folder.join("link"),
    );
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let distributor = Distributor::start(&["--state", &socket]);
    distributor
        .program
        .wait_for_log(&["failed to write state file"]);
    distributor.assert_serves();
    assert!(!fs::metadata(&socket).unwrap().is_file());

    let distributor = Distributor::start(&["--state", &file]);
    wait_until("a file", || fs::metadata(&file).is_ok());
    drop(distributor);
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let distributor = Distributor::start(&["--state", &link]);
    let _client = distributor.join("a", 1);
    wait_until("the list in the file", || {
        fs::read_to_string(&file).is_ok_and(|text| text.contains("\"a\""))
    });
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn two_do_not_keep_their_lists_in_one_file() {
    let place = Place::new();
    let first = place.start(&[]);
    let state = place.state();
    let flags = ["--state", &state, "--listen", "127.0.0.1:0"];
    let mut second = Program::start(&mut distributor_command(&flags));
    assert_eq!(second.wait().code(), Some(1));
    second.wait_for_log(&["another Distributor", &state]);
    first.assert_serves();
}

#[test]
fn locks_the_state_file_again_after_its_folder_was_replaced() {
    let place = Place::new();
    let inner = place.folder.join("inner");
    let path = format!("{inner}/state");
    fs::create_dir(&inner).unwrap();
    let first = Distributor::start(&["--state", &path]);
    wait_until("a state file", || fs::metadata(&path).is_ok());
    fs::remove_dir_all(&inner).unwrap();
    fs::create_dir(&inner).unwrap();
    let _client = first.join("a", 1);
    wait_until("a new state file", || fs::metadata(&path).is_ok());
    let flags = ["--state", &path, "--listen", "127.0.0.1:0"];
    let mut second = Program::start(&mut distributor_command(&flags));
    assert_eq!(second.wait().code(), Some(1));
    second.wait_for_log(&["another Distributor", &path]);
    first.assert_serves();
}

#[test]
fn does_not_write_a_state_file_that_another_distributor_has_locked() {
    let place = Place::new();
    let inner = place.folder.join("inner");
    let path = format!("{inner}/state");
    fs::create_dir(&inner).unwrap();
    let first = Distributor::start(&["--state", &path]);
    wait_until("a state file", || fs::metadata(&path).is_ok());
    fs::remove_dir_all(&inner).unwrap();
    fs::create_dir(&inner).unwrap();
    let second = Distributor::start(&["--state", &path]);
    let _here = second.join("second", 1);
    wait_until("its state file", || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("\"second\""))
    });
    let _client = first.join("first", 1);
    first.program.wait_for_log(&["WARN", "another Distributor"]);
    assert!(!fs::read_to_string(&path).unwrap().contains("\"first\""));
    first.assert_serves();
}

#[test]
fn the_folder_that_systemd_gives_is_used() {
    let folder = Folder::new();
    let first = folder.join("");
    let mut command = distributor_command(&["--listen", "127.0.0.1:0"]);
    command.env("STATE_DIRECTORY", format!("{first}:/nowhere"));
    let _program = Program::start(&mut command);
    wait_until("a file in it", || {
        folder.names().contains(&"distributor.state".to_owned())
    });
}

#[test]
fn a_hangup_and_full_pipes_do_no_harm() {
    let port = ReservedPort::new();
    let listen = port.addr.to_string();
    let mut command = distributor_command(&[
        "--listen",
        &listen,
        "--log-level",
        "trace",
        "--log-format",
        "json",
    ]);
    let full = || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        writer.write_all(&[b'x'; 4096]).unwrap();
        (reader, Stdio::from(writer))
    };
    let (_out, stdout) = full();
    let (_err, stderr) = full();
    let mut program = Program::start_as_is(command.stdout(stdout).stderr(stderr));
    wait_until("somebody who serves", || {
        TcpStream::connect(port.addr).is_ok()
    });
    for round in 0..300 {
        let mut client = Client::connect(port.addr);
        client.next_list();
        client.register(&format!("{round} {}", "x".repeat(100)), 1);
        client.next_list();
        program.signal(Signal::HUP);
        program.signal(Signal::PIPE);
    }
    assert!(program.is_running());
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));

    let distributor = Distributor::start(&[]);
    distributor.program.signal(Signal::HUP);
    distributor.program.wait_for_log(&["nothing to reload"]);
    distributor.assert_serves();
}
