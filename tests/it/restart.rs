//! Restarts of the Distributor: kills and planned stops that shrink no list.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use pilcrow::node::{Config, Node};
use pilcrow::reactor::{Limits, Reactor};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, Distributor, Folder, Program, ReservedPort, distributor_command, names,
    skip_or_require, wait_until,
};

/// A state file and a reserved port for the runs of a Distributor.
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

    /// Waits until exactly these are on disk.
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

const ALL: [&str; 5] = ["a", "b", "c", "watcher", "gone"];

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

/// Reads lists that equal `all`, up to a shorter one, which is returned.
#[track_caller]
fn wait_for_fewer(client: &mut Client, all: &[&str]) -> Vec<String> {
    loop {
        let list = client.next_list();
        if list.len() < all.len() {
            return list;
        }
        assert_eq!(list, all);
    }
}

#[test]
fn no_list_shrinks_when_it_is_killed_and_restarted() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let clients = gather(&distributor);
    place.wait_for_saved(&ALL);
    let mode = fs::metadata(place.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "instances are secrets");

    // Twice, the second time before a node has reconnected.
    distributor.program.kill();
    drop(clients);
    let mut distributor = place.start(&[]);
    assert_eq!(Client::connect(distributor.addr).next_list(), ALL);
    distributor.program.kill();
    let distributor = place.start(&["--warm-up", "15s", "--silence-timeout", "10m"]);
    let log = ["list restored", "entries=5"];
    distributor.program.wait_for_log(&log);

    let mut lists = Client::connect(distributor.addr);
    assert_eq!(lists.next_list(), ALL);
    let mut session = Client::connect(distributor.addr);
    assert_eq!(session.next_list(), ALL);
    // Each keeps its old place, in any order of registrations.
    session.send(&watcher());
    let reply = session.next();
    assert_eq!(reply["errorcode"], 0, "{reply}");
    let list = session.next();
    assert_eq!(list["session"]["complete"], false, "{list}");
    assert_eq!(names(&list), ALL);
    assert_eq!(list["session"]["ids"][3], reply["results"]["id"]);
    let mut back: Vec<Client> = ["c", "b", "a"]
        .iter()
        .map(|name| {
            let mut client = Client::connect(distributor.addr);
            assert_eq!(client.next_list(), ALL);
            client.register(name, 1);
            assert_eq!(client.next_list(), ALL);
            client
        })
        .collect();

    // After the warm-up, the missing node leaves as absent before the list is complete.
    let gone = list["session"]["ids"][4].clone();
    let change = session.next();
    assert_eq!(
        change["params"]["left"],
        json!([{"id": gone, "cause": "absent"}]),
        "{change}"
    );
    let list = session.next();
    assert_eq!(list["session"]["complete"], true, "{list}");
    assert_eq!(names(&list), ALL[..4]);
    for client in &mut back {
        assert_eq!(wait_for_fewer(client, &ALL), ALL[..4]);
    }
    let log = ["left", "name=\"gone\"", "cause=absent"];
    distributor.program.wait_for_log(&log);
    place.wait_for_saved(&ALL[..4]);
    assert_eq!(place.folder.names(), ["state", "state.lock"]);
}

#[test]
fn a_planned_stop_persists_the_list_from_before_it() {
    let place = Place::new();
    let mut distributor = place.start(&[]);
    let clients = gather(&distributor);
    distributor.program.signal(Signal::TERM);
    assert!(distributor.program.wait().success());
    place.wait_for_saved(&ALL);
    drop(clients);
    let distributor = place.start(&[]);
    assert_eq!(Client::connect(distributor.addr).next_list(), ALL);
}

#[test]
fn claims_entries_by_instance_or_equal_params() {
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
    // Not with another token.
    let reply = try_register(&packet("cc", "other", "old"));
    assert_eq!(reply["errorcode"], 5, "{reply}");
    // An instance claims its own entry, not an equal one before it. It needs no free entry.
    let reply = try_register(&packet("bb", "sesame", "twin"));
    assert_eq!(reply["results"]["id"], 2, "{reply}");
    let mut plain = distributor.connect();
    plain.register("newcomer", 1);
    assert_eq!(plain.next_errorcode(), 4, "there is no room for it");
    let mut plain = distributor.connect();
    plain.post(&json!({"port": 1, "name": "twin"}));
    assert_eq!(plain.next_list(), ["twin", "twin", "old"]);
    // Its new params, in its old place.
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
fn claims_no_entry_of_another_host() {
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
                Config::default()
                    .name(format!("node{number}"))
                    .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
                    .distributor(place.port.addr)
                    .retry(Duration::from_millis(100)),
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
    let distributor = place.start(&["--warm-up", "15s", "--silence-timeout", "10m"]);
    let is_over = || {
        let stderr = distributor.program.stderr();
        let back = stderr.iter().filter(|line| line.contains("entry claimed"));
        back.count() == 4
    };
    let fewest = turn_until(&mut nodes, "all to reconnect", &|_| is_over());
    assert_eq!(fewest, 4);
    // Without a port it is not listed.
    let mut probe = distributor.connect();
    probe.send(&json!({"uri": "/distributes", "method": "POST", "key": 1,
        "params": {"name": "probe"}, "session": {"watch": "none"}}));
    let probe = RefCell::new(probe);
    let fewest = turn_until(&mut nodes, "the end of the warm-up", &|_| {
        probe.borrow_mut().request_list().1["session"]["complete"] == true
    });
    assert_eq!(fewest, 4, "not even at the end of the warm-up");
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
fn sets_an_invalid_state_file_aside() {
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
fn logs_disk_failures_and_keeps_serving() {
    let place = Place::new();
    let inner = place.folder.join("inner");
    let path = format!("{inner}/state");
    let listen = place.port.addr.to_string();
    let flags = ["--state", &path, "--log-level", "debug"];
    fs::create_dir(&inner).unwrap();
    let mut distributor = Distributor::start_at(&listen, &flags);
    wait_until("a state file", || fs::metadata(&path).is_ok());
    fs::remove_dir_all(&inner).unwrap();
    let _client = distributor.join("a", 1);
    distributor
        .program
        .wait_for_log(&["WARN", "failed to write state file", "failures=1"]);
    distributor.assert_serves();
    // The list is written once the disk works, without another change.
    fs::create_dir(&inner).unwrap();
    let has = |name: &str| fs::read_to_string(&path).is_ok_and(|text| text.contains(name));
    wait_until("the list on disk", || has("\"a\""));
    distributor
        .program
        .wait_for_log(&["state file written again"]);
    // A folder with the name of the file.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let _other = distributor.join("b", 1);
    wait_until("a second failure", || {
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
    let line = distributor.program.wait_for_log(&["totals"]);
    assert!(!line.contains("snapshot_failures=0"), "{line}");
    // The same from the start.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let distributor = Distributor::start_at(&listen, &["--state", &path]);
    distributor.program.wait_for_log(&["not a file"]);
    distributor.assert_serves();
}

#[test]
fn exits_with_1_if_the_folder_of_the_state_file_is_missing() {
    let folder = Folder::new();
    let missing = folder.join("no such/inner");
    let state = format!("{missing}/state");
    let flags = ["--state", &state, "--listen", "127.0.0.1:0"];
    let mut program = Program::start(&mut distributor_command(&flags));
    assert_eq!(program.wait().code(), Some(1));
    assert_eq!(program.stdout(), [""; 0], "it does not listen before");
    let advice = format!("create it with mkdir -p \"{missing}\"");
    program.wait_for_log(&[&format!("--state \"{state}\": folder "), &advice]);
    // As a service manager restarts it, once the folder is there.
    fs::create_dir_all(&missing).unwrap();
    let distributor = Distributor::start(&["--state", &state]);
    wait_until("a state file", || fs::metadata(&state).is_ok());
    drop(distributor);

    let below_a_file = format!("{state}/state");
    let flags = ["--state", &below_a_file, "--listen", "127.0.0.1:0"];
    let mut program = Program::start(&mut distributor_command(&flags));
    assert_eq!(program.wait().code(), Some(1));
    program.wait_for_log(&["is not a folder; choose a file in a folder"]);
    // The configuration can be checked on another machine.
    let flags = ["--state", "/nowhere/state", "--print-config"];
    let mut program = Program::start(&mut distributor_command(&flags));
    assert!(program.wait().success());
}

/// A small file system, read-only or full. Unmounted when dropped.
struct BrokenDisk(String);

impl BrokenDisk {
    fn mount(at: &str, options: &str) -> Result<BrokenDisk, String> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "pilcrow-test", at]);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(BrokenDisk(at.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    fn repair(&self) {
        let remount = ["-o", "remount,rw,nr_inodes=100", &self.0];
        let repaired = Command::new("mount").args(remount).status();
        assert!(repaired.unwrap().success());
    }
}

impl Drop for BrokenDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

#[test]
fn serves_from_the_start_with_a_full_or_read_only_disk() {
    for (options, why) in [
        ("size=1m,ro", "Read-only file system"),
        // The folder takes the inode.
        ("size=1m,nr_inodes=1", "No space left on device"),
    ] {
        let folder = Folder::new();
        let disk = match BrokenDisk::mount(&folder.join("."), options) {
            Ok(disk) => disk,
            Err(error) => {
                return skip_or_require("mount", &format!("no small file system: {error}"));
            }
        };
        let state = folder.join("state");
        let distributor = Distributor::start(&["--state", &state]);
        let _client = distributor.join("a", 1);
        let log = ["WARN", "failed to write state file, retrying", why];
        distributor.program.wait_for_log(&log);
        distributor.assert_serves();
        disk.repair();
        wait_until("the list on disk", || {
            fs::read_to_string(&state).is_ok_and(|text| text.contains("\"a\""))
        });
        distributor.assert_serves();
    }
}

#[test]
fn leaves_special_files_alone_and_follows_links() {
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
fn rejects_a_state_file_in_use() {
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
fn uses_the_state_folder_of_systemd() {
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
fn survives_hangups_and_full_pipes() {
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
    wait_until("the program to listen", || {
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
