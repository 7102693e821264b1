//! The program from outside: flags, variables, exit codes, signals, logs.

use std::fs::OpenOptions;
use std::io::{Read, Write, pipe};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::support::{
    Client, Distributor, FRAME_END, Folder, Program, ReservedPort, copy_env, distributor_command,
    names, output_of, skip_or_require, wait_until,
};

const ANY_PORT: &str = "127.0.0.1:0";
const PUBLIC: [&str; 3] = ["--listen", "0.0.0.0:0", "--allow-anonymous"];

/// Runs a command that must fail with this exit code, and returns its one line.
#[track_caller]
fn failure_of(command: &mut Command, code: i32) -> String {
    let output = output_of(command);
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {report}");
    assert_eq!(report.lines().count(), 1, "{command:?}: {report}");
    assert!(report.ends_with('\n'), "{report:?}");
    assert!(report.starts_with("distributor: "), "{report}");
    report
}

/// A shell that runs `setup`, and is replaced by the distributor.
fn under_shell(setup: &str, flags: &[&str]) -> Command {
    let distributor = distributor_command(flags);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{setup}; exec \"$0\" \"$@\"")])
        .arg(distributor.get_program())
        .args(distributor.get_args());
    copy_env(&distributor, &mut command);
    command
}

/// Returns the first `count` addresses that the program prints.
#[track_caller]
fn addresses(program: &Program, count: usize) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    wait_until(
        &format!("{count} addresses: {:?}", program.stderr()),
        || {
            found = program
                .stdout()
                .iter()
                .filter_map(|line| line.strip_prefix("listening on ")?.parse().ok())
                .collect();
            found.len() >= count
        },
    );
    found
}

/// Returns whether a new connection is served, rather than rejected.
fn is_served(addr: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect(addr) else {
        return false;
    };
    let first = Client::on(stream).next_text();
    first.is_some_and(|text| text.contains("\"params\":["))
}

/// Waits until a client that joins at `addr` is listed.
fn wait_until_served(addr: SocketAddr) -> Client {
    let mut stream = None;
    wait_until("a listener", || {
        stream = TcpStream::connect(addr).ok();
        stream.is_some()
    });
    let mut client = Client::on(stream.unwrap());
    client.register("visitor", 1);
    client.wait_for_list("visitor", |names| names.contains(&"visitor".to_owned()));
    client
}

#[test]
fn rejects_invalid_flags_with_one_line_and_exit_code_2() {
    for (flags, part) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["--lisen", ANY_PORT], "--listen"),
        (&["--listen"], "--listen"),
        (&["--listen", "foo"], "foo"),
        (&["--listen", ""], "ADDRESS:PORT"),
        (&["--listen", "127.0.0.1"], "127.0.0.1"),
        (&["--listen", "127.0.0.1:99999"], "99999"),
        (&["--listen", "localhost:http"], "localhost:http"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--max-depth", "1000"], "1 to 100"),
        (&["--frame-timeout", "soon"], "--frame-timeout"),
        (&["--frame-timeout", "0s"], "at least 1ms"),
        (&["--keepalive-idle", "1500ms"], "whole seconds"),
        (&["--log-level", "loud"], "trace"),
        (&["--log-format", "xml"], "json"),
        (&["--loopback-host", "a b"], "--loopback-host"),
    ] {
        let report = failure_of(&mut distributor_command(flags), 2);
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn rejects_invalid_variables_with_one_line_and_exit_code_2() {
    for (name, value) in [
        ("PILCROW_LISTEN", "foo"),
        ("PILCROW_MAX_CONNECTIONS", "many"),
        ("PILCROW_WRITE_TIMEOUT", "10"),
        ("PILCROW_LOG_FORMAT", "xml"),
        ("PILCROW_ALLOW_ANONYMOUS", "perhaps"),
    ] {
        let report = failure_of(distributor_command(&[]).env(name, value), 2);
        let flag = name
            .trim_start_matches("PILCROW")
            .to_lowercase()
            .replace('_', "-");
        assert!(
            report.contains(value) && report.contains(&format!("-{flag}")),
            "{report}"
        );
    }
}

#[test]
fn prints_values_with_newlines_on_one_line() {
    failure_of(&mut distributor_command(&["--log-level", "a\nb"]), 2);
    failure_of(&mut distributor_command(&["--listen", "a\nb"]), 2);
    failure_of(
        distributor_command(&[]).env("PILCROW_LISTEN", "127.0.0.1:0\n"),
        2,
    );
}

#[test]
fn exits_with_3_for_an_unresolvable_name() {
    let name = "no-such-host.invalid:0";
    let report = failure_of(&mut distributor_command(&["--listen", name]), 3);
    assert!(report.contains(name), "{report}");
}

#[test]
fn exits_with_3_for_a_port_in_use() {
    let holder = TcpListener::bind(ANY_PORT).unwrap();
    let addr = holder.local_addr().unwrap().to_string();
    let report = failure_of(&mut distributor_command(&["--listen", &addr]), 3);
    assert!(
        report.contains(&addr) && report.contains("--listen"),
        "{report}"
    );
}

#[test]
fn rejects_public_addresses_without_permission() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let report = failure_of(&mut distributor_command(&["--listen", listen]), 2);
        assert!(report.contains("--allow-anonymous"), "{report}");
    }
    // One public address suffices.
    let flags = ["--listen", ANY_PORT, "--listen", "0.0.0.0:0"];
    failure_of(&mut distributor_command(&flags), 2);

    let program = Program::start(&mut distributor_command(&PUBLIC));
    let addr = addresses(&program, 1)[0];
    assert!(addr.ip().is_unspecified());
    wait_until_served(SocketAddr::from(([127, 0, 0, 1], addr.port())));
}

#[test]
fn listens_on_all_given_addresses() {
    let flags = ["--listen", ANY_PORT, "--listen", ANY_PORT];
    let program = Program::start(&mut distributor_command(&flags));
    let found = addresses(&program, 2);
    assert_ne!(found[0], found[1]);
    // Both serve one registry.
    let mut first = wait_until_served(found[0]);
    let mut second = Client::connect(found[1]);
    second.register("second", 2);
    for client in [&mut first, &mut second] {
        client.wait_for_list("both", |names| names == ["visitor", "second"]);
    }
}

#[test]
fn listens_on_both_loopback_addresses_with_one_port() {
    let program = Program::start(&mut distributor_command(&["--listen", "localhost:0"]));
    let v4 = addresses(&program, 1)[0];
    assert!(v4.is_ipv4() && v4.ip().is_loopback(), "{v4}");
    let mut client = wait_until_served(v4);
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, v4.port()));
    if TcpListener::bind("[::1]:0").is_err() {
        return skip_or_require("ipv6", "this machine has no IPv6");
    }
    assert_eq!(addresses(&program, 2), [v4, v6]);
    // On Linux, :: includes all addresses of IPv4.
    let all = format!("[::]:{}", v4.port());
    let flags = ["--listen", all.as_str(), "--allow-anonymous"];
    let report = failure_of(&mut distributor_command(&flags), 3);
    assert!(
        report.contains("[::] includes all addresses of IPv4"),
        "{report}"
    );
    let mut other = Client::connect(v6);
    other.register("other", 2);
    // Existing peers can dial the host of both.
    let hosts = |list: &Value| {
        let entries = list["params"].as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["host"].clone())
            .collect::<Vec<_>>()
    };
    let mut list = client.next();
    while names(&list) != ["visitor", "other"] {
        list = client.next();
    }
    assert_eq!(hosts(&list), ["127.0.0.1", "127.0.0.1"]);
}

#[test]
fn lists_ipv4_peers_of_an_ipv6_listener_with_ipv4() {
    if TcpListener::bind("[::1]:0").is_err() {
        return skip_or_require("ipv6", "this machine has no IPv6");
    }
    let distributor = Distributor::start_at("[::]:0", &["--allow-anonymous"]);
    let by_ipv4 = SocketAddr::from(([127, 0, 0, 1], distributor.addr.port()));
    let Ok(stream) = TcpStream::connect(by_ipv4) else {
        return skip_or_require("ipv6", "[::] does not take IPv4 here");
    };
    let mut client = Client::on(stream);
    client.next_list();
    client.register("goods", 9010);
    assert_eq!(client.next()["params"][0]["host"], "127.0.0.1");
    let peer = format!("peer=127.0.0.1:{} ", client.local_port());
    distributor.program.wait_for_log(&["joined", &peer]);
}

#[test]
fn flags_override_variables() {
    let (from_variable, from_flag) = (ReservedPort::new(), ReservedPort::new());
    let value = from_variable.addr.to_string();
    let program = Program::start(distributor_command(&[]).env("PILCROW_LISTEN", &value));
    assert_eq!(addresses(&program, 1), [from_variable.addr]);
    drop(program);

    let flags = ["--listen", &from_flag.addr.to_string()];
    let program = Program::start(distributor_command(&flags).env("PILCROW_LISTEN", &value));
    assert_eq!(addresses(&program, 1), [from_flag.addr]);
    wait_until_served(from_flag.addr);
    assert_eq!(addresses(&program, 1), [from_flag.addr]);
    drop(program);

    let both = format!("{},{}", from_variable.addr, from_flag.addr);
    let program = Program::start(distributor_command(&[]).env("PILCROW_LISTEN", both));
    assert_eq!(addresses(&program, 2), [from_variable.addr, from_flag.addr]);
    drop(program);

    let mut command = distributor_command(&["--listen", "0.0.0.0:0"]);
    let program = Program::start(command.env("PILCROW_ALLOW_ANONYMOUS", "true"));
    addresses(&program, 1);
}

/// At a stop, all connections get a FIN and no shorter list.
fn check_stop(signal: Signal) {
    let mut distributor = Distributor::start(&[]);
    let all: Vec<String> = (0..8).map(|number| format!("node{number}")).collect();
    let mut clients: Vec<Client> = all.iter().map(|name| distributor.join(name, 1)).collect();
    for client in &mut clients[..7] {
        client.wait_for_list("all", |names| names == all);
    }
    let mut onlooker = distributor.connect();
    // Unread input must not turn a FIN into a reset.
    clients[0].send_raw(b"{\"uri\":\"/distri");
    clients[1].send_raw([b'x'; 3000]);

    // More than one read takes arrives with the signal.
    distributor.program.freeze();
    onlooker.send_raw([b'\n'; 90_000]);
    distributor.program.signal(signal);
    distributor.program.thaw();
    // The others must not receive a list without the first that closes.
    for client in &mut clients {
        for list in client.read_to_end() {
            assert_eq!(names(&list), all);
        }
        assert!(!client.was_reset);
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
    }
    assert_eq!(onlooker.read_to_end(), Vec::<Value>::new());
    assert!(!onlooker.was_reset);
    drop((clients, onlooker));
    assert_eq!(distributor.program.wait().code(), Some(0));
    distributor.program.wait_for_log(&["stopped"]);
    let left = distributor.program.stderr();
    assert!(
        !left.iter().any(|line| line.contains(" left ")),
        "{left:#?}"
    );
}

#[test]
fn sigterm_closes_connections_without_a_shorter_list() {
    check_stop(Signal::TERM);
}

#[test]
fn sigint_closes_connections_without_a_shorter_list() {
    check_stop(Signal::INT);
}

/// A Distributor with a list of two nodes with megabytes each.
fn with_a_large_list() -> (Distributor, [Client; 2]) {
    let distributor = Distributor::start(&[
        "--max-frame-bytes=8000000",
        "--max-registration-bytes=4000000",
        "--write-timeout=10m",
        "--frame-timeout=10m",
        "--log-level=debug",
    ]);
    let large = ["large0", "large1"].map(|name| {
        let mut client = distributor.connect();
        client.post(&json!({"port": 1, "name": name, "pad": "x".repeat(2_400_000)}));
        distributor.program.wait_for_log(&["joined", name]);
        client
    });
    (distributor, large)
}

/// Requests the list, and waits for its first bytes. The socket holds little of it.
fn request_large_list(distributor: &Distributor) -> TcpStream {
    let mut client = Client::connect(distributor.addr);
    SockRef::from(&client.stream)
        .set_recv_buffer_size(64 << 10)
        .unwrap();
    client.send(&json!({"uri": "/distributes", "method": "GET", "key": 7}));
    client.stream.peek(&mut [0]).unwrap();
    client.stream
}

#[test]
fn finishes_a_list_in_flight_before_exit() {
    let (mut distributor, _large) = with_a_large_list();
    let mut reader = request_large_list(&distributor);
    distributor.program.signal(Signal::TERM);
    distributor.program.wait_for_log(&["stopping"]);
    let mut bytes = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        match reader.read(&mut piece).expect("no reset") {
            0 => break,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
    assert_eq!(distributor.program.wait().code(), Some(0));
    assert!(
        bytes.ends_with(FRAME_END),
        "cut after {} bytes",
        bytes.len()
    );
    let frames = String::from_utf8(bytes).unwrap();
    for frame in frames.trim_end_matches('¶').split('¶') {
        let list: Value = serde_json::from_str(frame).unwrap();
        assert_eq!(names(&list), ["large0", "large1"]);
    }
}

#[test]
fn exits_despite_a_peer_that_reads_nothing() {
    let (mut distributor, _large) = with_a_large_list();
    let _stuck = request_large_list(&distributor);
    distributor.program.signal(Signal::TERM);
    assert_eq!(distributor.program.wait().code(), Some(0));
}

#[test]
fn logs_joins_and_leaves_as_text() {
    let mut distributor = Distributor::start(&[]);
    let client = distributor.join("goods", 9010);
    let peer = format!("peer={} ", client.stream.local_addr().unwrap());
    // Quotes around a plain name are optional.
    let joined = distributor.program.wait_for_log(&["joined", &peer]);
    let joined = joined.replace('"', "");
    assert!(
        joined.contains("name=goods") && joined.contains("host=127.0.0.1"),
        "{joined}"
    );
    drop(client);
    let left = distributor.program.wait_for_log(&["left", &peer]);
    let left = left.replace('"', "");
    assert!(
        left.contains("name=goods") && left.contains("cause=closed"),
        "{left}"
    );
    assert!(!left.contains('\x1b'), "no colours in a pipe: {left}");
    distributor.program.signal(Signal::TERM);
    assert!(distributor.program.wait().success());
}

#[test]
fn logs_joins_and_leaves_as_json() {
    let mut distributor = Distributor::start(&["--log-format", "json", "--log-level", "trace"]);
    let mut client = distributor.join("상품 \"x\"", 9010);
    let peer = client.stream.local_addr().unwrap().to_string();
    client.send_raw("no \"JSON\" \u{1b}[31m\n{¶".as_bytes());
    assert_eq!(client.next_errorcode(), 3);
    drop(client);
    distributor.program.wait_for_log(&["\"node left\"", &peer]);
    distributor.program.signal(Signal::TERM);
    assert!(distributor.program.wait().success());
    distributor.program.wait_for_log(&["\"stopped\""]);

    let lines = distributor.program.stderr();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let report = |message: &str| {
        let mut found = lines
            .iter()
            .filter(|line| line["message"] == message && line["peer"] == peer.as_str());
        let line = found
            .next()
            .unwrap_or_else(|| panic!("{message} is not in {lines:#?}"));
        assert_eq!(found.next(), None);
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
        line
    };
    assert_eq!(report("node joined")["name"], "상품 \"x\"");
    assert_eq!(report("node left")["name"], "상품 \"x\"");
    assert_eq!(report("node left")["cause"], "closed");
}

/// A valid name that resembles the rest of a log line.
const HOSTILE_NAME: &str = "a\" cause=silent name=\"b\u{202e}\u{2028}\u{feff}\u{ad}c";

#[test]
fn rejects_names_with_control_characters() {
    let distributor = Distributor::start(&[]);
    for control in ["\n", "\r", "\u{1b}[2J", "\0", "\u{7f}", "\u{9b}", "\u{85}"] {
        let mut client = distributor.connect();
        client.register(&format!("forged{control}  INFO left"), 1);
        assert_eq!(client.next_errorcode(), 1, "{control:?}");
    }
    distributor.assert_serves();
    distributor.program.wait_for_log(&["joined", "probe"]);
    for line in distributor.program.stderr() {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(!line.trim_start().starts_with("INFO"), "{line:?}");
    }
}

#[test]
fn hostile_name_stays_one_value_of_one_json_line() {
    let distributor = Distributor::start(&["--log-format", "json"]);
    let client = distributor.join(HOSTILE_NAME, 1);
    let peer = client.stream.local_addr().unwrap().to_string();
    let line = distributor
        .program
        .wait_for_log(&["\"node joined\"", &peer]);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["cause"], Value::Null, "{line}");
    let name = line["name"].as_str().unwrap();
    assert!(
        !name.contains(['\u{202e}', '\u{2028}', '\u{feff}']),
        "{name:?}"
    );
    assert!(name.contains("\\u{202e}"), "{name}");
}

/// Returns the line without its quoted parts. A backslash escapes the next character.
fn outside_quotes(line: &str) -> String {
    let (mut outside, mut quoted) = (String::new(), false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => _ = characters.next(),
            '"' => quoted = !quoted,
            character if !quoted => outside.push(character),
            _ => {}
        }
    }
    outside
}

#[test]
fn hostile_name_adds_no_field_to_a_text_line() {
    let distributor = Distributor::start(&[]);
    for name in [
        HOSTILE_NAME,
        "a cause=silent",
        "a\\\" cause=silent name=\\\"b",
    ] {
        let mut client = distributor.connect();
        client.post(&json!({"port": 1, "name": name}));
        let peer = client.stream.local_addr().unwrap().to_string();
        let line = distributor.program.wait_for_log(&["joined", &peer]);
        assert!(
            !line.contains(['\u{202e}', '\u{2028}', '\u{feff}']),
            "{line:?}"
        );
        assert!(!outside_quotes(&line).contains("cause="), "{line}");
    }
}

#[test]
fn serves_and_stops_without_a_reader_of_its_output() {
    let reserved = ReservedPort::new();
    let listen = reserved.addr.to_string();
    let flags = ["--listen", &listen, "--log-level", "trace"];
    let no_reader = || pipe().unwrap().1;
    let closed = "exec >&- 2>&-";
    let mut commands = vec![distributor_command(&flags), under_shell(closed, &flags)];
    commands[0].stdout(no_reader()).stderr(no_reader());
    // A full disk, if there is such a device.
    if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
        let mut command = distributor_command(&flags);
        command.stdout(full.try_clone().unwrap()).stderr(full);
        commands.push(command);
    }
    for command in &mut commands {
        let mut program = Program::start_as_is(command);
        let client = wait_until_served(reserved.addr);
        drop(client);
        wait_until_served(reserved.addr);
        assert!(program.is_running());
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[test]
fn help_and_failures_keep_their_exit_codes_without_a_reader() {
    let no_reader = || pipe().unwrap().1;
    for (flag, code) in [("--help", 0), ("--version", 0), ("--nonsense", 2)] {
        let mut command = distributor_command(&[flag]);
        command.stdout(no_reader()).stderr(no_reader());
        assert_eq!(
            Program::start_as_is(&mut command).wait().code(),
            Some(code),
            "{flag}"
        );
    }
}

#[test]
fn lists_the_loopback_host() {
    let distributor = Distributor::start(&["--loopback-host", "10.9.9.9"]);
    let mut client = distributor.connect();
    client.post(&json!({"port": 9010, "name": "goods", "host": "192.0.2.1"}));
    let list = client.next();
    assert_eq!(
        list["params"],
        json!([{"port": 9010, "name": "goods", "host": "10.9.9.9"}])
    );
}

#[test]
fn serves_again_after_more_clients_than_fds() {
    let mut program = Program::start(&mut under_shell("ulimit -n 40", &["--listen", ANY_PORT]));
    let addr = addresses(&program, 1)[0];
    program.wait_for_log(&["serving", "max_connections=20 "]);

    let mut clients: Vec<Client> = (0..60).map(|_| Client::connect(addr)).collect();
    let (mut served, mut refused) = (0, 0);
    for client in &mut clients {
        let first = client.next();
        match first["errorcode"].as_u64() {
            None => {
                served += 1;
                assert_eq!(first["uri"], "/distributes");
            }
            Some(code) => {
                refused += 1;
                assert_eq!(code, 6);
            }
        }
    }
    assert_eq!((served, refused), (20, 40));
    assert!(!is_served(addr));

    drop(clients);
    wait_until("room", || is_served(addr));
    let names: Vec<String> = (0..20).map(|number| format!("node{number}")).collect();
    let mut clients = Vec::new();
    wait_until("20 places", || {
        let mut tried: Vec<Client> = (0..20).map(|_| Client::connect(addr)).collect();
        let mut first = tried.iter_mut().map(|client| client.next());
        let all_served = first.all(|packet| packet["errorcode"].is_null());
        if all_served {
            clients = tried;
        }
        all_served
    });
    for (client, name) in clients.iter_mut().zip(&names) {
        client.register(name, 1);
        client.wait_for_list(name, |names| names.contains(name));
    }
    assert!(program.is_running());
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn file_size_limit_fails_a_write_and_not_the_program() {
    let folder = Folder::new();
    let state = folder.join("state");
    let flags = ["--listen", ANY_PORT, "--state", &state];
    let program = Program::start(&mut under_shell("ulimit -f 1", &flags));
    let addr = addresses(&program, 1)[0];
    let mut client = Client::connect(addr);
    client.next_list();
    client.post(&json!({"port": 1, "name": "a", "note": "x".repeat(5000)}));
    client.wait_for_list("it", |names| names == ["a"]);
    program.wait_for_log(&["failed to write state file"]);
    assert!(is_served(addr));
}

#[test]
fn usage_error_exits_without_a_reader() {
    let (_reader, mut stderr) = pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&stderr, 4096).unwrap();
    stderr.write_all(&[b'x'; 4096]).unwrap();
    let mut command = distributor_command(&["--nonsense"]);
    let mut program = Program::start_as_is(command.stderr(stderr));
    assert_eq!(program.wait().code(), Some(2));
}

#[test]
fn fd_limit_reserves_fds_beside_connections() {
    let limits = [("20", 10), ("128", 64), ("300", 236)];
    for (files, connections) in limits {
        let setup = format!("ulimit -n {files}");
        let program = Program::start(&mut under_shell(&setup, &["--listen", ANY_PORT]));
        program.wait_for_log(&["serving", &format!("max_connections={connections} ")]);
    }
    // The soft limit alone is raised.
    let setup = "ulimit -S -n 40 && ulimit -H -n 300";
    let program = Program::start(&mut under_shell(setup, &["--listen", ANY_PORT]));
    program.wait_for_log(&["serving", "max_connections=236 "]);
}

#[test]
fn restarts_on_its_port_after_a_kill() {
    let port = ReservedPort::new();
    let listen = port.addr.to_string();
    let mut distributor = Distributor::start_at(&listen, &[]);
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..20)
            .map(|number| distributor.join(&format!("node{number}"), 1))
            .collect();
        distributor.program.kill();
        // It closes first, so its half of each connection stays on the port.
        let still_open = clients.split_off(10);
        for client in &mut clients {
            client.read_to_end();
        }
        drop(clients);
        distributor = Distributor::start_at(&listen, &[]);
        distributor.assert_serves();
        drop(still_open);
    }
}
