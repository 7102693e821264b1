//! A server of a run: its addresses, and the resources that its process uses.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::args::{Role, ServerArgs, name_of};
use super::bare::Task;
use super::loop_work::LoopWork;
use crate::cli::address::resolve;
use crate::cli::failure::{Failure, reason};
use crate::host_port::HostPort;

/// A process whose CPU time and memory the kernel reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

/// Kinds of memory, by their names in `/proc/PID/status`.
pub(crate) const RESIDENT: &str = "VmRSS:";
/// Memory without the pages of mapped files.
pub(crate) const ANONYMOUS: &str = "RssAnon:";
/// Maximum resident memory, which the kernel updates only occasionally.
pub(crate) const PEAK: &str = "VmHWM:";

impl Process {
    /// Returns the CPU time of all threads, exact to the nanosecond for those that sleep, or `None`
    /// if the process has ended.
    pub(crate) fn cpu(self) -> Option<Duration> {
        let mut nanos = None;
        for task in fs::read_dir(format!("/proc/{}/task", self.0)).ok()? {
            // A thread may end meanwhile.
            let schedstat = fs::read_to_string(task.ok()?.path().join("schedstat"));
            let schedstat = schedstat.unwrap_or_default();
            let used: Option<u64> = schedstat.split(' ').next()?.parse().ok();
            nanos = used.map(|used| used + nanos.unwrap_or(0)).or(nanos);
        }
        nanos.map_or_else(
            || self.cpu_in_ticks(),
            |nanos| Some(Duration::from_nanos(nanos)),
        )
    }

    /// Returns the CPU time in whole ticks, for kernels without scheduler statistics.
    fn cpu_in_ticks(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Some(Duration::from_millis(ticks(&stat)? * 1000 / per_second))
    }

    /// Returns the bytes of one kind of memory.
    pub(crate) fn memory(self, kind: &str) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(kind))?;
        let kib: f64 = value.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024.0)
    }
}

/// Returns the user and system time in the text of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    // The name of the program may contain anything; the last parenthesis ends it.
    let (_, after_name) = stat.rsplit_once(')')?;
    let times = after_name.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// HTTP address of a spawned Distributor, if requested.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) process: Option<Process>,
    /// CPU time of the process before the run.
    pub(crate) cpu_before: Duration,
    child: Option<Child>,
    /// It prints the time of its loop on request.
    prints_work: bool,
}

impl Server {
    /// Starts a server for at least this many connections. It ends when it is dropped, and with
    /// this process, since its standard input ends then.
    pub(crate) fn spawn(role: Role, connections: usize, with_http: bool) -> io::Result<Server> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", &name_of(role), &connections.to_string()])
            .args(with_http.then_some("--with-http"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C must reach this process alone, which then ends its children.
            .process_group(0)
            .spawn()?;
        let line = read_line(&mut child)?;
        let mut addrs = line.split_whitespace().map_while(|addr| addr.parse().ok());
        let Some(addr) = addrs.next() else {
            let _ = child.kill();
            let what = format!("the server did not start: it printed {:?}", line.trim());
            return Err(io::Error::other(what));
        };
        Ok(Server {
            addr,
            http: addrs.next(),
            process: Some(Process(child.id())).filter(|process| process.cpu().is_some()),
            cpu_before: Duration::ZERO,
            child: Some(child),
            prints_work: role != Role::Bare,
        })
    }

    /// Finds a running server.
    pub(crate) fn find(args: &ServerArgs) -> Result<Server, Failure> {
        let addr = first_reachable("--to", &args.to)?;
        let process = args.pid.map(Process);
        let cpu = process.map(|process| {
            let what = "no such process";
            let error = || Failure::usage(format!("--pid {}: {what}", process.0));
            process.cpu().ok_or_else(error)
        });
        Ok(Server {
            addr,
            http: None,
            process,
            cpu_before: cpu.transpose()?.unwrap_or_default(),
            child: None,
            prints_work: false,
        })
    }

    /// Sets the task of a bare server.
    pub(crate) fn set_task(&mut self, task: &Task) -> io::Result<()> {
        let line = serde_json::to_string(task)? + "\n";
        // The server confirms the task with a line.
        self.request(&line).map(drop)
    }

    /// Returns how the loop of the server has spent its time, if this program has started it.
    pub(crate) fn loop_work(&mut self) -> io::Result<Option<LoopWork>> {
        if !self.prints_work {
            return Ok(None);
        }
        let line = self.request("\n")?;
        Ok(Some(serde_json::from_str(&line)?))
    }

    /// Sends a line, and returns the line that the server prints then.
    fn request(&mut self, line: &str) -> io::Result<String> {
        let Some(child) = &mut self.child else {
            return Ok(String::new());
        };
        if let Some(input) = &mut child.stdin {
            input.write_all(line.as_bytes())?;
        }
        read_line(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // This closes its standard input first.
            let _ = child.wait();
        }
    }
}

/// Reads a line that is the only output since the last one.
fn read_line(child: &mut Child) -> io::Result<String> {
    let mut line = String::new();
    if let Some(output) = &mut child.stdout {
        BufReader::new(output).read_line(&mut line)?;
    }
    Ok(line)
}

/// Returns the first address that accepts a connection. IPv4 is tried first: flood can connect from
/// many loopback addresses of IPv4.
pub(crate) fn first_reachable(flag: &str, to: &HostPort) -> Result<SocketAddr, Failure> {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let mut addresses = resolve(flag, to)?;
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut failures = Vec::new();
    for addr in addresses {
        match TcpStream::connect_timeout(&addr, TIMEOUT) {
            Ok(_) => return Ok(addr),
            Err(error) => failures.push(format!("{addr}: {}", reason(&error))),
        }
    }
    Err(Failure::failed(format!(
        "cannot connect to {}; start the server, set another address with {flag}, or start a server \
         for the run with --spawn",
        failures.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ticks_after_the_name_of_the_program() {
        let stat = "7 (a) 1 2) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn falls_back_to_ticks() {
        let this = Process(std::process::id());
        let coarse = this.cpu_in_ticks().unwrap();
        let exact = this.cpu().unwrap();
        assert!(
            coarse <= exact + Duration::from_secs(1),
            "{coarse:?} {exact:?}"
        );
    }
}
