//! Child programs, temporary folders, reserved ports, and skips.

#![allow(
    clippy::new_without_default,
    reason = "each new folder or port is another one"
)]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use pilcrow_test_client::{Client, DEADLINE, FRAME_END, names};

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running program, with the lines that it has printed so far. Killed when dropped.
pub struct Program {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Program {
    pub fn start(command: &mut Command) -> Program {
        Program::start_as_is(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )
    }

    /// Starts with the standard streams of the command. Only the lines of pipes are kept.
    pub fn start_as_is(command: &mut Command) -> Program {
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().map(collect).unwrap_or_default();
        let stderr = child.stderr.take().map(collect).unwrap_or_default();
        Program {
            child,
            stdout,
            stderr,
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits for the first line on standard output that `pick` accepts.
    #[track_caller]
    pub fn wait_for_line<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = self.stdout().iter().find_map(|line| pick(line)) {
                return found;
            }
            let exited = self.child.try_wait().unwrap();
            assert!(
                Instant::now() < until && exited.is_none(),
                "no {what} ({exited:?}); stdout: {:#?}; stderr: {:#?}",
                self.stdout(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a line on standard error that contains all of `parts`.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let lines = self.stderr();
            let matches = |line: &&String| parts.iter().all(|part| line.contains(part));
            if let Some(line) = lines.iter().find(matches) {
                return line.clone();
            }
            assert!(
                Instant::now() < until,
                "no log line with {parts:?}: {lines:#?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Stops the process until [`Program::thaw`]. Everything sent meanwhile then arrives at once.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.pid());
        wait_until("the process to stop", || {
            fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
        });
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it by SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the program to exit", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // The threads that read its lines hold them until the end.
        wait_until("its last lines", || {
            Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1
        });
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(output: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}

/// Prints that a test is skipped because it lacks `tool`. Fails if PILCROW_REQUIRE, a list with
/// commas, has it.
#[track_caller]
pub fn skip_or_require(tool: &str, why: &str) {
    let required = std::env::var("PILCROW_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|required| required == tool);
    assert!(!is_required, "PILCROW_REQUIRE has {tool}, but {why}");
    let caller = std::panic::Location::caller();
    // Past the capture of test output, which hides it in a test that passes.
    let _ = writeln!(io::stderr(), "SKIPPED: {why}: {caller}");
}

/// Returns whether Node.js is missing, so that a test is to be skipped.
#[track_caller]
pub fn node_is_missing() -> bool {
    let version = Command::new("node").arg("--version").output();
    let is_missing = !version.is_ok_and(|output| output.status.success());
    if is_missing {
        skip_or_require("node", "Node.js is not installed");
    }
    is_missing
}

/// Set in the copy of a test that runs in a network of its own.
const IN_OWN_NETWORK: &str = "PILCROW_TEST_IN_OWN_NETWORK";

/// Returns true in a network of this test alone, where fixed ports are free. Elsewhere, runs the
/// test there, by its name and after the shell command `prepare`, and returns false.
#[track_caller]
pub fn is_in_own_network(test: &str, prepare: &str) -> bool {
    if std::env::var_os(IN_OWN_NETWORK).is_some() {
        return true;
    }
    let script = format!(
        "(ip link set lo up && {prepare}) >&2 || exit 77; exec \"$0\" --exact \"$1\" --nocapture"
    );
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "sh", "-c", &script]);
    unshare.arg(std::env::current_exe().unwrap()).arg(test);
    match unshare.env(IN_OWN_NETWORK, "1").output() {
        Ok(output) if output.status.success() => {
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(stdout.contains("1 passed"), "{stdout}");
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        other => skip_or_require("netns", &format!("no network namespaces: {other:?}")),
    }
    false
}

/// Returns the path of a program of this project: in the folder of PILCROW_PROGRAMS, otherwise as
/// built for the tests. Other programs, such as `sh`, are returned unchanged.
pub fn program(name: &str) -> String {
    if !["distributor", "gateway", "flood"].contains(&name) {
        return name.to_owned();
    }
    if let Ok(folder) = std::env::var("PILCROW_PROGRAMS") {
        return format!("{folder}/{name}");
    }
    // Cargo sets the variable since 1.94; before, programs are one folder above the tests.
    std::env::var(format!("CARGO_BIN_EXE_{name}")).unwrap_or_else(|_| {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    })
}

/// A Distributor with these flags only, without the settings of the environment.
pub fn distributor_command(flags: &[&str]) -> Command {
    command("distributor", flags)
}

/// A [`program`] with these flags only, without the settings of the environment. A Distributor
/// serves no admin API unless the flags ask for it: the default address would be shared by all
/// tests and by the programs of this machine.
pub fn command(name: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PILCROW_") || name == "STATE_DIRECTORY" {
            command.env_remove(name);
        }
    }
    command.env("PILCROW_HTTP", "none").args(flags);
    command
}

/// Gives a command the changes of the environment that another one has.
pub fn copy_env(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
}

/// A running Distributor, and its address.
pub struct Distributor {
    pub program: Program,
    pub addr: SocketAddr,
}

impl Distributor {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(flags: &[&str]) -> Distributor {
        Distributor::start_at("127.0.0.1:0", flags)
    }

    pub fn start_at(listen: &str, flags: &[&str]) -> Distributor {
        let mut program = Program::start(distributor_command(flags).args(["--listen", listen]));
        let addr = program.wait_for_line("address", |line| {
            line.strip_prefix("listening on ")?.parse().ok()
        });
        Distributor { program, addr }
    }

    /// Connects a client, and reads the list that each connection receives first.
    pub fn connect(&self) -> Client {
        let mut client = Client::connect(self.addr);
        client.next_list();
        client
    }

    /// Registers a client under this name, and waits for a list that has it.
    pub fn join(&self, name: &str, port: u16) -> Client {
        let mut client = self.connect();
        client.register(name, port);
        client.wait_for_list(&format!("{name} in it"), |names| {
            names.iter().any(|n| n == name)
        });
        client
    }

    /// Fails unless a new client can join.
    #[track_caller]
    pub fn assert_serves(&self) {
        drop(self.join("probe", 1));
    }
}

/// A temporary folder, removed with its content when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("pilcrow-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// Returns the path of this name in it.
    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Returns the sorted names in it.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port of 127.0.0.1 that stays reserved while no Distributor listens on it.
pub struct ReservedPort {
    _bound: socket2::Socket,
    pub addr: SocketAddr,
}

impl ReservedPort {
    pub fn new() -> ReservedPort {
        // Of all addresses: some listen on all, and fail if a client has the port on another one.
        let bound = ReservedPort::bind(([0; 16], 0).into())
            .or_else(|_| ReservedPort::bind(([127, 0, 0, 1], 0).into()))
            .unwrap();
        let port = bound.local_addr().unwrap().as_socket().unwrap().port();
        ReservedPort {
            _bound: bound,
            addr: ([127, 0, 0, 1], port).into(),
        }
    }

    /// A socket that is bound and not listening does not block a listener that reuses addresses.
    fn bind(addr: SocketAddr) -> std::io::Result<socket2::Socket> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        Ok(socket)
    }
}

/// Runs `work` in a thread. Its result arrives on the channel.
pub fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver
}

/// Runs a command to its end.
#[track_caller]
pub fn output_of(command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let output = in_background(|| child.wait_with_output().unwrap());
    match output.recv_timeout(DEADLINE) {
        Ok(output) => output,
        Err(RecvTimeoutError::Timeout) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("{command:?} does not end");
        }
        Err(error) => panic!("{error}"),
    }
}
