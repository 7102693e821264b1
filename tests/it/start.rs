//! The start and the stop: what a Distributor prints, and the admin API at its default address.
//!
//! Tests of the default address run in a network of their own.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::activation::with_sockets;
use crate::admin::send_request;
use crate::flood::ENDLESS;
use crate::support::{
    Client, Distributor, Folder, Program, command, distributor_command, is_in_own_network,
    output_of, program, wait_until,
};

const DEFAULTS: [&str; 2] = ["127.0.0.1:9001", "[::1]:9001"];
const TOKEN: &str = "6f0a7c9e1b5d4f8299d3c1a2b4e6f807";

/// Returns a terminal: the side that a person would see, and the side of a program.
pub(crate) fn terminal() -> (File, File) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let mut options = File::options();
    let side = options.read(true).write(true).open(name.to_str().unwrap());
    (terminal.into(), side.unwrap())
}

/// A Distributor whose standard output and standard error are a terminal. Killed when dropped.
struct OnTerminal {
    pid: Pid,
    shown: Arc<Mutex<String>>,
    exited: Option<thread::JoinHandle<bool>>,
}

impl OnTerminal {
    fn start(flags: &[&str]) -> OnTerminal {
        OnTerminal::run(distributor_command(flags))
    }

    fn run(mut command: Command) -> OnTerminal {
        let (mut terminal, side) = terminal();
        command.env("TERM", "dumb");
        command.stdout(side.try_clone().unwrap()).stderr(side);
        let mut child = command.spawn().unwrap();
        // It holds copies of the program's side.
        drop(command);
        let shown = Arc::<Mutex<String>>::default();
        let (sink, pid) = (Arc::clone(&shown), Pid::from_child(&child));
        let exited = thread::spawn(move || {
            let mut piece = [0; 4096];
            // It ends with an error when the other side is closed.
            while let Ok(count @ 1..) = terminal.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..count]);
                sink.lock().unwrap().push_str(&text);
            }
            child.wait().unwrap().success()
        });
        OnTerminal {
            pid,
            shown,
            exited: Some(exited),
        }
    }

    fn lines(&self) -> Vec<String> {
        let shown = self.shown.lock().unwrap();
        shown.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits for a line with this text, and returns all lines up to it.
    #[track_caller]
    fn wait_for(&self, text: &str) -> Vec<String> {
        let is_last = |line: &String| line.contains(text);
        wait_until(text, || {
            let shown = self.shown.lock().unwrap();
            shown.ends_with('\n') && shown.contains(text)
        });
        let mut lines = self.lines();
        let last = lines.iter().position(is_last).unwrap();
        lines.truncate(last + 1);
        lines
    }

    /// Stops it, and returns the lines since the start.
    fn stop(mut self) -> Vec<String> {
        let before = self.lines().len();
        kill_process(self.pid, Signal::INT).unwrap();
        assert!(self.exited.take().unwrap().join().unwrap());
        let shown = self.shown.lock().unwrap();
        shown.lines().skip(before).map(ToOwned::to_owned).collect()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if let Some(exited) = self.exited.take() {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = exited.join();
        }
    }
}

/// A Distributor with its defaults, apart from these flags.
fn with_defaults(flags: &[&str]) -> Program {
    let mut command = distributor_command(flags);
    started(command.env_remove("PILCROW_HTTP"))
}

fn started(command: &mut Command) -> Program {
    let mut program = Program::start(command);
    program.wait_for_line("the start", |line| {
        line.starts_with("serving").then_some(())
    });
    program
}

/// Runs a command of a client to its end.
fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = output_of(&mut distributor_command(words));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn is_open(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

/// Returns the status of a request for the list.
fn status_of(address: &str, headers: &str) -> u16 {
    send_request(address.parse().unwrap(), "GET", "/nodes", headers).status
}

#[test]
fn serves_the_admin_api_on_localhost_by_default() {
    let test = "start::serves_the_admin_api_on_localhost_by_default";
    if !is_in_own_network(test, "true") {
        return;
    }
    let program = with_defaults(&[]);
    let mut lines = program.stdout();
    lines.sort();
    assert_eq!(
        lines,
        [
            "http on http://127.0.0.1:9001/",
            "http on http://[::1]:9001/",
            "listening on 127.0.0.1:9000",
            "listening on [::1]:9000",
            "serving; SIGINT or SIGTERM stops it",
        ]
    );
    for address in DEFAULTS {
        assert_eq!(status_of(address, ""), 200);
        let page = send_request(address.parse().unwrap(), "GET", "/", "");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    }

    // The commands work at once, and name the Distributor on standard error alone.
    let answered = "distributor: answered by the Distributor on 127.0.0.1:9000 and [::1]:9000 \
                    (default --http 127.0.0.1:9001)\n";
    for words in [
        &["nodes"][..],
        &["nodes", "--json"],
        &["why"],
        &["why", "--json"],
    ] {
        let (code, stdout, stderr) = run(words);
        assert_eq!((code, stderr.as_str()), (Some(0), answered), "{words:?}");
        assert!(!stdout.contains("answered"), "{stdout}");
        if words.contains(&"--json") {
            serde_json::from_str::<Value>(&stdout).unwrap();
        }
    }
    let (_, _, stderr) = run(&["check"]);
    assert!(stderr.starts_with(answered), "{stderr}");
    let (code, _, stderr) = run(&["drain", "goods"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("http://127.0.0.1:9001: 403"), "{stderr}");
    let mut watch = Program::start(&mut distributor_command(&["watch"]));
    watch.wait_for_line("greeting", |line| {
        line.starts_with("watching").then_some(())
    });
    watch.wait_for_log(&[answered.trim_end()]);

    // A given address needs no such line.
    let (_, _, stderr) = run(&["nodes", "--http", DEFAULTS[0]]);
    assert_eq!(stderr, "");
}

#[test]
fn default_port_in_use_is_a_warning() {
    if !is_in_own_network("start::default_port_in_use_is_a_warning", "true") {
        return;
    }
    let first = with_defaults(&[]);
    let elsewhere = ["--listen", "127.0.0.1:9100"];
    let mut second = with_defaults(&elsewhere);
    let warning = [
        "WARN",
        "admin API not opened",
        "--http none",
        "address=127.0.0.1:9001",
    ];
    second.wait_for_log(&warning);
    assert_eq!(
        second.stdout(),
        [
            "listening on 127.0.0.1:9100",
            "serving; SIGINT or SIGTERM stops it"
        ]
    );
    Client::connect("127.0.0.1:9100".parse().unwrap()).next_list();
    // The commands say that the first one answers.
    let (_, _, stderr) = run(&["nodes"]);
    assert!(
        stderr.contains("Distributor on 127.0.0.1:9000 and"),
        "{stderr}"
    );

    // It is an error if the address was asked for, in whatever way.
    second.signal(Signal::TERM);
    second.wait();
    let folder = Folder::new();
    let file = folder.join("config.toml");
    fs::write(&file, "http = \"localhost:9001\"\n").unwrap();
    for asked in [["--http", "localhost:9001"], ["--config", &file]] {
        let mut command = distributor_command(&[&elsewhere[..], &asked].concat());
        let output = output_of(command.env_remove("PILCROW_HTTP"));
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
    let mut command = distributor_command(&elsewhere);
    let output = output_of(command.env("PILCROW_HTTP", "127.0.0.1:9001"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");

    // Of one of the two addresses, the other stays.
    drop(first);
    let _holder = TcpListener::bind(DEFAULTS[1]).unwrap();
    let third = with_defaults(&elsewhere);
    third.wait_for_log(&["WARN", "admin API not opened", "address=[::1]:9001"]);
    assert_eq!(status_of(DEFAULTS[0], ""), 200);
}

#[test]
fn opens_no_default_address_where_it_could_be_in_the_way() {
    let test = "start::opens_no_default_address_where_it_could_be_in_the_way";
    if !is_in_own_network(test, "true") {
        return;
    }
    let folder = Folder::new();
    let file = folder.join("config.toml");
    fs::write(&file, "http = []\n").unwrap();
    for flags in [&["--http", "none"][..], &["--config", &file]] {
        let program = with_defaults(flags);
        assert!(!program.stdout().iter().any(|line| line.starts_with("http")));
        assert!(!DEFAULTS.map(is_open).contains(&true), "{flags:?}");
    }
    // --listen takes the port.
    for listen in ["127.0.0.1:9001", "[::1]:9001", "localhost:9001"] {
        let program = with_defaults(&["--listen", listen]);
        program.wait_for_log(&["INFO", "admin API off: --listen takes its default port"]);
        assert!(!program.stdout().iter().any(|line| line.starts_with("http")));
        assert!(!program.stderr().iter().any(|line| line.contains("WARN")));
    }
    // Sockets are inherited.
    let nodes = TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited = || -> Vec<OwnedFd> { vec![nodes.try_clone().unwrap().into()] };
    let mut command = with_sockets(distributor_command(&[]), "nodes", inherited());
    let _program = started_as_is(&mut command);
    assert!(!DEFAULTS.map(is_open).contains(&true));
    // An address that was asked for is opened nevertheless.
    let asked = distributor_command(&["--http", DEFAULTS[0]]);
    let _program = started_as_is(&mut with_sockets(asked, "nodes", inherited()));
    assert_eq!(status_of(DEFAULTS[0], ""), 200);
}

fn started_as_is(command: &mut Command) -> Program {
    let mut program = Program::start_as_is(command);
    program.wait_for_line("the start", |line| {
        line.starts_with("serving").then_some(())
    });
    program
}

#[test]
fn tests_and_floods_open_no_default_address() {
    let test = "start::tests_and_floods_open_no_default_address";
    if !is_in_own_network(test, "true") {
        return;
    }
    let _distributor = Distributor::start(&[]);
    let flags: Vec<&str> = ENDLESS.split(' ').collect();
    let _flood = Program::start(&mut command("flood", &flags));
    let listeners = || {
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap());
        // The local port is in hexadecimal; 0A is the state of a listener.
        let lines = tables.iter().flat_map(|table| table.lines().skip(1));
        let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listening = fields.filter(|fields| fields[3] == "0A");
        let ports = listening.map(|fields| fields[1].rsplit_once(':').unwrap().1.to_owned());
        ports.collect::<Vec<String>>()
    };
    // The Distributor of the test, and the two servers of flood.
    wait_until("the servers", || listeners().len() >= 3);
    let port = format!("{:04X}", 9001);
    assert!(!listeners().contains(&port), "{:?}", listeners());
}

#[test]
fn default_address_obeys_tokens_and_address_ranges() {
    let test = "start::default_address_obeys_tokens_and_address_ranges";
    if !is_in_own_network(test, "true") {
        return;
    }
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (flags, without, with_token) in [
        (&["--token-file", &*file][..], 401, 200),
        (&["--allow-from", "10.0.0.0/8"], 401, 401),
        (&["--allow-from", "127.0.0.0/8"], 200, 200),
        (
            &["--allow-from", "127.0.0.0/8", "--token-file", &file],
            200,
            200,
        ),
    ] {
        let _program = with_defaults(flags);
        assert_eq!(status_of(DEFAULTS[0], ""), without, "{flags:?}");
        assert_eq!(status_of(DEFAULTS[0], &bearer), with_token, "{flags:?}");
    }
    let _program = with_defaults(&["--token-file", &file]);
    let (code, _, stderr) = run(&["nodes"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("pass a token with --token-file"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&["nodes", "--token-file", &file]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("answered by the Distributor on 127.0.0.1:9000"),
        "{stderr}"
    );
    // A probe needs no token, the name of the Distributor does.
    let (_, _, stderr) = run(&["check"]);
    let answered = "distributor: answered by the Distributor (default --http 127.0.0.1:9001)\n";
    assert!(stderr.starts_with(answered), "{stderr}");
}

#[test]
fn commands_try_both_default_addresses() {
    if !is_in_own_network("start::commands_try_both_default_addresses", "true") {
        return;
    }
    let _program = with_defaults(&["--listen", "127.0.0.1:9100", "--http", DEFAULTS[1]]);
    let answered = "distributor: answered by the Distributor on 127.0.0.1:9100 (default --http \
                    [::1]:9001; nothing listens on 127.0.0.1:9001)\n";
    for words in [["why", "--json"], ["nodes", "--json"]] {
        let (code, _, stderr) = run(&words);
        assert_eq!((code, stderr.as_str()), (Some(0), answered));
    }
}

#[test]
fn serves_the_default_where_there_is_no_ipv4() {
    let test = "start::serves_the_default_where_there_is_no_ipv4";
    let prepare = "ip addr del 127.0.0.1/8 dev lo && ip addr show lo | grep ::1";
    if !is_in_own_network(test, prepare) {
        return;
    }
    let program = with_defaults(&["--listen", "[::1]:9000"]);
    let lines = program.stdout();
    assert!(
        lines.contains(&"http on http://[::1]:9001/".to_owned()),
        "{lines:?}"
    );
    assert!(!program.stderr().iter().any(|line| line.contains("WARN")));
    let (code, _, stderr) = run(&["nodes"]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn default_address_takes_no_fds_from_nodes() {
    let test = "start::default_address_takes_no_fds_from_nodes";
    if !is_in_own_network(test, "true") {
        return;
    }
    let script = "ulimit -n 300; exec \"$0\" --max-connections 3";
    let mut shell = command("sh", &["-c", script, &program("distributor")]);
    let full = started(shell.env_remove("PILCROW_HTTP"));
    full.wait_for_log(&["serving", "max_connections=3 "]);
    let address: SocketAddr = "127.0.0.1:9000".parse().unwrap();
    let _nodes = [(); 3].map(|()| {
        let mut node = Client::connect(address);
        node.next_list();
        node
    });
    assert_eq!(Client::connect(address).next_errorcode(), 6);
    assert_eq!(status_of(DEFAULTS[0], ""), 200);
    drop(full);

    let script = "ulimit -n 300; exec \"$0\"";
    let mut shell = command("sh", &["-c", script, &program("distributor")]);
    let program = started(shell.env_remove("PILCROW_HTTP"));
    program.wait_for_log(&["serving", "max_connections=236 "]);
}

#[test]
fn terminal_shows_what_to_do_next() {
    if !is_in_own_network("start::terminal_shows_what_to_do_next", "true") {
        return;
    }
    let mut command = distributor_command(&[]);
    command.env_remove("PILCROW_HTTP");
    let distributor = OnTerminal::run(command);
    let lines = distributor.wait_for("printf");
    assert_eq!(
        lines[..4],
        [
            "listening on 127.0.0.1:9000 and [::1]:9000",
            "admin page   http://localhost:9001/",
            "state file   none: the list is not kept across restarts; --state FILE keeps it",
            "serving; Ctrl-C stops it. To register a first node, run in another terminal:",
        ]
    );
    // That command is the one of the README.
    let readme = include_str!("../../README.md");
    assert!(readme.lines().any(|line| line == lines[4]), "{}", lines[4]);
    assert_eq!(lines.len(), 5);
    assert_registers(&lines[4], "127.0.0.1:9000");

    let stopped = distributor.stop();
    // The node joined and left meanwhile.
    let last = stopped.last().unwrap();
    assert!(last.contains("stopped"), "{stopped:?}");
}

/// Runs the command of a block without its `nc`, and registers with its output.
#[track_caller]
fn assert_registers(command: &str, address: &str) {
    let (printf, _) = command.rsplit_once(" | nc ").unwrap();
    let packet = output_of(Command::new("sh").args(["-c", printf])).stdout;
    let mut node = Client::connect(address.parse().unwrap());
    node.send_raw(packet);
    node.wait_for_list("goods", |names| names == ["goods"]);
}

#[test]
fn block_has_the_state_file_and_addresses_in_use() {
    let folder = Folder::new();
    let state = folder.join("state");
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ];
    let distributor = OnTerminal::start(&[&flags[..], &["--state", &state]].concat());
    let lines = distributor.wait_for("printf");
    let block: Vec<&String> = lines.iter().filter(|line| !line.contains("INFO")).collect();
    assert_eq!(block.len(), 5, "{lines:#?}");
    let (first, second) = block[0].split_once(" and ").unwrap();
    let first = first.strip_prefix("listening on ").unwrap();
    let address = block[1].strip_prefix("admin page   http://").unwrap();
    assert_eq!(status_of(address.trim_end_matches('/'), ""), 200);
    assert_eq!(*block[2], format!("state file   {state}"));
    let target = first.replace(':', " ");
    assert!(block[4].ends_with(&format!("| nc {target}")), "{block:?}");
    Client::connect(second.parse().unwrap()).next_list();
    assert_registers(block[4], first);
}

#[test]
fn block_says_why_there_is_no_page_or_no_first_node() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    let distributor = OnTerminal::start(&[&listen[..], &["--token-file", &file]].concat());
    let lines = distributor.wait_for("printf");
    assert!(
        lines.contains(&"admin page   off: --http none".to_owned()),
        "{lines:#?}"
    );
    let address = lines
        .iter()
        .find_map(|line| line.strip_prefix("listening on "))
        .unwrap();
    let command = lines.last().unwrap();
    assert!(
        command.contains(r#""session":{"version":1,"token":"TOKEN"}"#),
        "{command}"
    );
    assert!(
        lines.iter().any(|line| line.contains("set its TOKEN")),
        "{lines:#?}"
    );
    assert_registers_with_session(&command.replace("TOKEN", TOKEN), address);

    let outside = ["--allow-from", "10.0.0.0/8"];
    let distributor = OnTerminal::start(&[&listen[..], &outside].concat());
    let lines = distributor.wait_for("serving; Ctrl-C stops it");
    let last = lines.last().unwrap();
    assert!(
        last.ends_with("Nodes can register from the addresses in --allow-from"),
        "{last}"
    );
}

#[track_caller]
fn assert_registers_with_session(command: &str, address: &str) {
    let (printf, _) = command.rsplit_once(" | nc ").unwrap();
    let packet = output_of(Command::new("sh").args(["-c", printf])).stdout;
    let mut node = Client::connect(address.parse().unwrap());
    node.send_raw(packet);
    assert_eq!(node.next()["errorcode"], 0);
    node.wait_for_list("goods", |names| names == ["goods"]);
}

#[test]
fn prints_lines_for_programs_in_json_and_in_pipes() {
    let flags = ["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let json = OnTerminal::start(&[&flags[..], &["--log-format", "json"]].concat());
    let lines = json.wait_for("serving; SIGINT or SIGTERM stops it");
    let is_address = |line: &&String| {
        let address = line.strip_prefix("listening on ");
        address.is_some_and(|address| address.parse::<SocketAddr>().is_ok())
    };
    assert_eq!(lines.iter().filter(is_address).count(), 2, "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("printf")),
        "{lines:#?}"
    );

    let piped = started(&mut distributor_command(&flags));
    let lines = piped.stdout();
    assert_eq!(lines.iter().filter(is_address).count(), 2, "{lines:#?}");
    assert_eq!(lines.len(), 3);
    piped.wait_for_log(&["INFO", "serving", "max_connections="]);
}

#[test]
fn stop_is_one_line_and_its_totals_are_for_debugging() {
    // Without one the gateway logs its attempts to connect.
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let programs = [
        ("distributor", &[][..], "INFO serving", "registrations="),
        (
            "gateway",
            &["--distributor", &addr],
            "INFO registration accepted",
            "replied=",
        ),
    ];
    for (name, more, last_of_start, total) in programs {
        for level in ["info", "debug"] {
            let flags = ["--listen", "127.0.0.1:0", "--log-level", level];
            let mut program = Program::start(command(name, &flags).args(more));
            program.wait_for_line("the start", |line| {
                line.starts_with("serving").then_some(())
            });
            program.wait_for_log(&[last_of_start]);
            let before = program.stderr().len();
            program.signal(Signal::TERM);
            assert!(program.wait().success());
            let lines = program.stderr().split_off(before);
            let last = lines.last().unwrap();
            assert!(last.contains(" INFO stopped "), "{lines:#?}");
            assert!(last.matches('=').count() <= 3, "{last}");
            let has_total = lines
                .iter()
                .any(|line| line.contains("DEBUG totals") && line.contains(total));
            assert_eq!(has_total, level == "debug", "{lines:#?}");
            assert!(level == "debug" || lines.len() == 1, "{lines:#?}");
        }
    }
}
