//! The server that is loaded, and the bare one beside it.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use super::args::{HttpArgs, ServerArgs};
use super::capacity::{Capacity, Machine};
use super::child::{Child, Role};
use super::format::Unit;
use super::report::Report;
use super::stop::{Halt, StopSignal};
use super::usage::Process;
use crate::cli::address::resolve;

/// Where a Distributor listens by default, and where `examples/echo.rs` does.
const DEFAULT_DISTRIBUTOR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9000);
const DEFAULT_NODE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9020);
/// Longer than a reachable host takes to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) process: Option<Process>,
    /// CPU time of the process before the run.
    cpu_before: Duration,
    pub(crate) bare: Option<Child>,
    pub(crate) http: Option<HttpLoad>,
    pub(crate) plan: Capacity,
    pub(crate) timeout: Duration,
    pub(crate) stop: StopSignal,
    /// It ends with the run.
    _spawned: Option<Child>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLoad {
    pub(crate) at: SocketAddr,
    pub(crate) readers: usize,
}

impl Target {
    /// Spawns or finds the server, and plans for `connections` and `others` beside them: with
    /// those of HTTP readers, if there are any.
    pub(crate) fn reach(
        role: Role,
        args: &ServerArgs,
        http: Option<&HttpArgs>,
        connections: usize,
        others: usize,
    ) -> Result<Target, Halt> {
        let stop = StopSignal::install()?;
        let readers = http.and_then(|http| http.http_readers);
        let http = http.and_then(|http| http.http.as_ref());
        if readers.is_some() && http.is_none() && !args.spawn {
            return Err(Halt::usage(
                "--http-readers: no HTTP address; set it with --http ADDR, or start a Distributor for \
                 the run with --spawn",
            ));
        }
        let others = others + readers.unwrap_or(0);
        let spawn = |role| Child::spawn(role, connections + others, readers.is_some());
        let spawned = args.spawn.then(|| spawn(role)).transpose()?;
        let default = match role {
            Role::EchoNode => DEFAULT_NODE,
            Role::Distributor | Role::Bare => DEFAULT_DISTRIBUTOR,
        };
        let addr = match (&spawned, &args.to) {
            (Some(server), _) => server.addr,
            (None, Some(to)) => first_reachable("--to", resolve("--to", to)?)?,
            (None, None) => first_reachable("--to", vec![default.into()])?,
        };
        let http = match http {
            Some(http) => Some(first_reachable("--http", resolve("--http", http)?)?),
            None => spawned.as_ref().and_then(|server| server.http),
        };
        let plan = Machine::here()?.plan(addr, connections, others, args.source_addresses);
        if plan.connections == 0 {
            let why = plan.capped_by.first();
            let why = why.map_or("no connections", String::as_str);
            return Err(Halt::failed(format!("{why}: too few for a run")));
        }
        for cap in &plan.capped_by {
            // A standard error that is closed or full must not change how the program ends.
            let _ = writeln!(io::stderr(), "flood: {cap}");
        }
        let process = match &spawned {
            Some(server) => Some(server.process()),
            None => args.pid.map(|pid| Process { pid }),
        };
        let cpu_before = match process {
            // A spawned server uses all of its CPU for the run.
            Some(process) if spawned.is_none() => process.cpu().map_err(|error| {
                Halt::usage(format!("--pid {}: cannot be watched: {error}", process.pid))
            })?,
            _ => Duration::ZERO,
        };
        Ok(Target {
            addr,
            process,
            cpu_before,
            bare: args.baseline.then(|| spawn(Role::Bare)).transpose()?,
            http: http
                .zip(readers)
                .map(|(at, readers)| HttpLoad { at, readers }),
            plan,
            timeout: args.timeout,
            stop,
            _spawned: spawned,
        })
    }

    /// Reports what the server used in all, and what capped the run.
    pub(crate) fn report(&self, report: &mut Report) {
        let bare = self.bare.as_ref().map(Child::process);
        let peak = |process: Process| Some(process.memory().ok()?.peak_bytes);
        let name = "server memory at its peak, resident";
        let (value, baseline) = (self.process.and_then(peak), bare.and_then(peak));
        report.figure(name, Unit::Bytes, value, baseline);
        let cpu = |process: Option<Process>, before| {
            Some(process?.cpu().ok()?.saturating_sub(before).as_secs_f64())
        };
        let value = cpu(self.process, self.cpu_before);
        let baseline = cpu(bare, Duration::ZERO);
        report.figure("server CPU in all", Unit::Seconds, value, baseline);
        report.notes.extend(self.plan.capped_by.iter().cloned());
    }
}

/// Returns the first address that something listens on, of IPv4 before those of IPv6: of these,
/// loopback has many.
fn first_reachable(flag: &str, mut addresses: Vec<SocketAddr>) -> Result<SocketAddr, Halt> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut failures = Vec::new();
    for addr in addresses {
        match TcpStream::connect_timeout(&addr, PROBE_TIMEOUT) {
            Ok(_) => return Ok(addr),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                failures.push(format!("{addr}: nothing listens there"));
            }
            Err(error) => failures.push(format!("{addr}: {error}")),
        }
    }
    Err(Halt::failed(format!(
        "cannot connect to {}; start the server, name another with {flag}, or let --spawn start one for \
         the run",
        failures.join(", ")
    )))
}
