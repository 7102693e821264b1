//! The programs under a service manager: inherited sockets, notifications, and restarts that reject
//! no connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    Client, DEADLINE, Folder, Program, ReservedPort, command, copy_env, distributor_command, names,
    program, skip_or_require, wait_until,
};

const DISTRIBUTOR: &str = "distributor";
const GATEWAY: &str = "gateway";

/// A program with inherited sockets, from fd 3 on. With more than one its standard error is not
/// captured.
pub(crate) fn with_sockets(program: Command, names: &str, sockets: Vec<OwnedFd>) -> Command {
    let count = sockets.len().to_string();
    let mut sockets = sockets.into_iter();
    // The shell gets them in place of its standard streams, and has the process id of the program.
    let setup = match sockets.len() {
        1 => "exec 3<&0 </dev/null",
        2 => "exec 3<&0 4<&2 </dev/null 2>/dev/null",
        more => panic!("{more} sockets"),
    };
    let script =
        format!("{setup}; LISTEN_PID=${{LISTEN_FOR:-$$}}; export LISTEN_PID; exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(program.get_program());
    shell.args(program.get_args());
    copy_env(&program, &mut shell);
    // Inherited sockets turn the default off, and contradict the variable.
    shell.env_remove("PILCROW_HTTP");
    shell.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
    shell.stdin(sockets.next().unwrap()).stdout(Stdio::piped());
    match sockets.next() {
        Some(second) => shell.stderr(second),
        None => shell.stderr(Stdio::piped()),
    };
    shell
}

fn listener(addr: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Duplicates the socket for the next run.
fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

fn serving(command: &mut Command) -> Program {
    let mut program = Program::start_as_is(command);
    program.wait_for_line("the start", |line| {
        line.starts_with("serving").then_some(())
    });
    program
}

/// Returns the one line of a program that must exit with 2.
#[track_caller]
fn refusal(mut command: Command) -> String {
    let mut program = Program::start_as_is(&mut command);
    let status = program.wait();
    let report = program.stderr();
    assert_eq!(status.code(), Some(2), "{report:?}");
    assert_eq!(report.len(), 1, "{report:?}");
    report[0].clone()
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&get_request(path)).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get_request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn serves_inherited_sockets_instead_of_the_default() {
    let (nodes, nodes_addr) = listener("127.0.0.1:0");
    let (http, http_addr) = listener("127.0.0.1:0");
    for order in ["nodes:http", "http:anything"] {
        let mut sockets = vec![copy(&nodes), copy(&http)];
        if order.starts_with("http") {
            sockets.reverse();
        }
        let program = serving(&mut with_sockets(distributor_command(&[]), order, sockets));
        let report = program.stdout();
        let of = |start: &str| report.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!((of("listening on "), of("http on ")), (1, 1), "{report:?}");
        assert!(report.contains(&format!("listening on {nodes_addr}")));
        let mut client = Client::connect(nodes_addr);
        client.next_list();
        client.register("goods", 9010);
        client.wait_for_list("goods", |names| names == ["goods"]);
        assert!(get(http_addr, "/healthz").starts_with("HTTP/1.1 200 "));
        assert!(get(http_addr, "/nodes").contains("goods"));
    }
}

#[test]
fn ignores_sockets_of_another_process() {
    let (theirs, their_addr) = listener("127.0.0.1:0");
    let program = distributor_command(&["--listen", "127.0.0.1:0"]);
    let mut command = with_sockets(program, "nodes", vec![copy(&theirs)]);
    // The variables of another process, left in the environment.
    let mut program = serving(command.env("LISTEN_FOR", "1").env("PILCROW_HTTP", "none"));
    let addr = program.wait_for_line("address", |line| {
        line.strip_prefix("listening on ")?
            .parse::<SocketAddr>()
            .ok()
    });
    assert_ne!(addr, their_addr);
    Client::connect(addr).next_list();
}

#[test]
fn rejects_public_inherited_sockets_without_permission() {
    let (public, addr) = listener("0.0.0.0:0");
    let distributor = |flags: &[&str]| {
        let program = distributor_command(flags);
        with_sockets(program, "nodes", vec![copy(&public)])
    };
    let report = refusal(distributor(&[]));
    assert!(report.contains(&addr.to_string()), "{report}");
    assert!(report.contains("--token-file"), "{report}");
    let gateway = |flags: &[&str]| {
        let program = command(GATEWAY, flags);
        with_sockets(program, "web", vec![copy(&public)])
    };
    let report = refusal(gateway(&[]));
    assert!(report.contains(&addr.to_string()), "{report}");
    assert!(report.contains("--allow-anonymous"), "{report}");

    let folder = Folder::new();
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, "6f0a7c9e1b5d4f8299d3c1a2b4e6f807\n").unwrap();
    for flags in [
        ["--token-file", &tokens].as_slice(),
        &["--allow-from", "10.0.0.0/8"],
        &["--allow-anonymous"],
    ] {
        serving(&mut distributor(flags));
    }
    serving(&mut gateway(&["--allow-anonymous"]));
    // The same for HTTP.
    let http = with_sockets(distributor_command(&[]), "http", vec![copy(&public)]);
    let report = refusal(http);
    assert!(report.contains(&addr.to_string()), "{report}");
}

#[test]
fn rejects_a_flag_beside_inherited_sockets() {
    let (held, addr) = listener("127.0.0.1:0");
    let folder = Folder::new();
    for (program, name, key) in [
        (DISTRIBUTOR, "nodes", "listen"),
        (DISTRIBUTOR, "http", "http"),
        (GATEWAY, "", "listen"),
    ] {
        let flag = format!("--{key}");
        let file = folder.join(&format!("{key}.toml"));
        std::fs::write(&file, format!("{key} = [\"127.0.0.1:0\"]\n")).unwrap();
        for flags in [[&flag, "127.0.0.1:0"], ["--config", &file]] {
            let program = command(program, &flags);
            let report = refusal(with_sockets(program, name, vec![copy(&held)]));
            assert!(report.contains(&flag), "{report}");
            assert!(report.contains(&addr.to_string()), "{report}");
            assert!(report.contains(".socket"), "{report}");
        }
    }
}

#[test]
fn rejects_inherited_fds_that_do_not_listen() {
    let (listener, addr) = listener("127.0.0.1:0");
    let stream = TcpStream::connect(addr).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixDatagram::unbound().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for (socket, why) in [
        (OwnedFd::from(stream), "does not listen"),
        (udp.into(), "tcp"),
        (unix.into(), "tcp"),
        (file.into(), "not a socket"),
    ] {
        for program in [distributor_command(&[]), command(GATEWAY, &[])] {
            let socket = socket.try_clone().unwrap();
            let report = refusal(with_sockets(program, "odd", vec![socket]));
            assert!(
                report.contains(why) && report.contains("\"odd\""),
                "{report}"
            );
        }
    }
    // One that is announced and missing.
    let mut command = with_sockets(distributor_command(&[]), "nodes", vec![copy(&listener)]);
    let report = refusal({
        command.env("LISTEN_FDS", "2");
        command
    });
    assert!(report.contains("socket 2"), "{report}");
}

/// The notification socket of a service manager.
struct NotifySocket {
    socket: UnixDatagram,
    _folder: Folder,
    path: String,
}

impl NotifySocket {
    fn new() -> NotifySocket {
        let folder = Folder::new();
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        NotifySocket {
            socket,
            _folder: folder,
            path,
        }
    }

    /// Returns the next notification.
    #[track_caller]
    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }
}

#[test]
fn notifies_the_service_manager() {
    let folder = Folder::new();
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, "6f0a7c9e1b5d4f8299d3c1a2b4e6f807\n").unwrap();
    let any_port = ["--listen", "127.0.0.1:0"];
    let with_tokens = [&any_port[..], &["--token-file", &tokens]].concat();
    for mut command in [
        distributor_command(&with_tokens),
        command(GATEWAY, &any_port),
    ] {
        std::fs::write(&tokens, "6f0a7c9e1b5d4f8299d3c1a2b4e6f807\n").unwrap();
        let notify = NotifySocket::new();
        let mut program = Program::start(command.env("NOTIFY_SOCKET", &notify.path));
        let ready = notify.next();
        assert!(ready.starts_with("READY=1\nSTATUS=serving"), "{ready}");
        // Also if the file is invalid and the program keeps its tokens.
        for text in ["591785b794601e212b260e25925636fd\n", ""] {
            std::fs::write(&tokens, text).unwrap();
            program.signal(Signal::HUP);
            let reloading = notify.next();
            let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            let at: u64 = at.unwrap().trim().parse().unwrap();
            assert!(at > 0);
            assert!(notify.next().starts_with("READY=1\n"));
        }
        program.signal(Signal::TERM);
        assert!(notify.next().starts_with("STOPPING=1\n"));
        assert_eq!(program.wait().code(), Some(0));
    }
}

#[test]
fn is_not_ready_without_a_listener() {
    let (_taken, addr) = listener("127.0.0.1:0");
    let notify = NotifySocket::new();
    notify.socket.set_nonblocking(true).unwrap();
    let mut command = distributor_command(&["--listen", &addr.to_string()]);
    let mut program = Program::start(command.env("NOTIFY_SOCKET", &notify.path));
    assert_eq!(program.wait().code(), Some(3));
    let received = notify.socket.recv(&mut [0; 4096]);
    assert_eq!(received.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn notifies_the_watchdog() {
    let any_port = ["--listen", "127.0.0.1:0"];
    for mut command in [distributor_command(&any_port), command(GATEWAY, &any_port)] {
        let notify = NotifySocket::new();
        command.env("NOTIFY_SOCKET", &notify.path);
        let _program = Program::start(command.env("WATCHDOG_USEC", "100000"));
        assert!(notify.next().starts_with("READY=1\n"));
        for _ in 0..5 {
            let alive = notify.next();
            assert!(
                alive.starts_with("WATCHDOG=1\nSTATUS=serving 0 "),
                "{alive}"
            );
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn notifies_an_abstract_address() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("pilcrow-notify-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut command = distributor_command(&["--listen", "127.0.0.1:0"]);
    let _program = Program::start(command.env("NOTIFY_SOCKET", format!("@{name}")));
    let mut bytes = [0; 4096];
    let length = socket.recv(&mut bytes).unwrap();
    assert!(bytes[..length].starts_with(b"READY=1\n"));
}

#[test]
fn serves_without_a_reachable_service_manager() {
    let folder = Folder::new();
    let mut command = distributor_command(&["--listen", "127.0.0.1:0"]);
    let mut program = Program::start(command.env("NOTIFY_SOCKET", folder.join("missing")));
    program.wait_for_line("the start", |line| {
        line.starts_with("serving").then_some(())
    });
    program.wait_for_log(&["NOTIFY_SOCKET", "WARN"]);
}

/// Clients that connect continuously, and the number of answered ones.
#[derive(Default)]
struct Crowd {
    is_over: AtomicBool,
    answered: AtomicUsize,
}

const CLIENTS: usize = 4;
const RESTARTS: usize = 4;

/// Restarts the program of `start` while clients call `visit`, which returns whether the client was
/// answered. Some connect while no program runs.
fn restart_under(
    start: impl Fn() -> Program,
    visit: impl Fn(usize) -> bool + Send + Sync + 'static,
) {
    let crowd = Arc::new(Crowd::default());
    let visit = Arc::new(visit);
    let mut program = start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (crowd, visit) = (Arc::clone(&crowd), Arc::clone(&visit));
            thread::spawn(move || {
                while !crowd.is_over.load(Ordering::Relaxed) {
                    let is_answered = visit(client);
                    crowd
                        .answered
                        .fetch_add(is_answered.into(), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..RESTARTS {
        let before = crowd.answered.load(Ordering::Relaxed);
        wait_until("answered clients", || {
            crowd.answered.load(Ordering::Relaxed) >= before + 50
        });
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
        // All clients connect while no program runs.
        thread::sleep(Duration::from_millis(50));
        program = start();
    }
    let before = crowd.answered.load(Ordering::Relaxed);
    wait_until("answered clients after the restarts", || {
        crowd.answered.load(Ordering::Relaxed) >= before + 50
    });
    crowd.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn distributor_restart_rejects_no_node() {
    let (held, addr) = listener("127.0.0.1:0");
    let folder = Folder::new();
    let state = folder.join("state");
    let start = || {
        let program = distributor_command(&["--state", &state]);
        serving(&mut with_sockets(program, "nodes", vec![copy(&held)]))
    };
    restart_under(start, move |client| {
        let stream = TcpStream::connect(addr).expect("no connection is rejected");
        let mut node = Client::on(stream);
        let name = format!("node-{client}");
        if node.next_text().is_none() {
            // It connected during the stop. Clients that wait for the next run are not reset.
            assert!(!node.was_reset);
            return false;
        }
        node.post(&json!({"port": 9010 + client, "name": name, "urls": []}));
        while let Some(list) = node.next_text() {
            if names(&serde_json::from_str(&list).unwrap()).contains(&name) {
                return true;
            }
        }
        false
    });
}

#[test]
fn gateway_restart_rejects_no_client() {
    let (held, addr) = listener("127.0.0.1:0");
    let start = || {
        let program = command(GATEWAY, &["--distributor", "127.0.0.1:1"]);
        serving(&mut with_sockets(program, "", vec![copy(&held)]))
    };
    restart_under(start, move |_| {
        let mut client = TcpStream::connect(addr).expect("no connection is rejected");
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        // The program that accepted the connection may stop before the request arrives.
        let mut answer = String::new();
        let sent = client.write_all(&get_request("/goods"));
        let read = sent.and_then(|()| client.read_to_string(&mut answer));
        match read {
            Ok(0) => false,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "no response in time");
                false
            }
            Ok(_) => {
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                true
            }
        }
    });
}

#[test]
fn systemd_starts_it_for_a_connection() {
    let launcher = "systemd-socket-activate";
    if Command::new(launcher).arg("--version").output().is_err() {
        return skip_or_require("systemd", "systemd-socket-activate is not installed");
    }
    let port = ReservedPort::new();
    let flags = ["--listen", &port.addr.to_string(), "--fdname=nodes"];
    let mut command = Command::new(launcher);
    let mut program = Program::start(command.args(flags).arg(program(DISTRIBUTOR)));
    program.wait_for_log(&["Listening on"]);
    let mut client = Client::connect(port.addr);
    client.next_list();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
}
