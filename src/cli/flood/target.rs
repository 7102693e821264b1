//! The server that is loaded, and the bare one beside it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::flood::args::{HttpArgs, ServerArgs};
use crate::cli::flood::capacity::{Capacity, Machine};
use crate::cli::flood::child::{Role, Server};
use crate::cli::flood::format::Unit;
use crate::cli::flood::http_readers::HttpReaders;
use crate::cli::flood::report::Report;
use crate::cli::flood::usage::Process;

/// Where the load goes.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// The server's process, if it is known.
    pub(crate) process: Option<Process>,
    /// What it had used before the run.
    cpu_before: Duration,
    pub(crate) bare: Option<Server>,
    /// Who reads its HTTP side, if anybody does.
    pub(crate) http: Option<HttpLoad>,
    pub(crate) plan: Capacity,
    spawned: Option<Server>,
}

/// Clients of the HTTP side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLoad {
    at: SocketAddr,
    pub(crate) readers: usize,
}

impl HttpLoad {
    pub(crate) fn start(self) -> Result<HttpReaders, Failure> {
        HttpReaders::start(self.at, self.readers).map_err(|error| {
            let at = self.at;
            Failure::failed(format!("the HTTP side at {at} cannot be read: {error}"))
        })
    }
}

/// Where a Distributor listens by default, and where `examples/echo.rs` does.
const DEFAULT_DISTRIBUTOR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9000);
const DEFAULT_NODE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9020);
/// Longer than a host that is there takes to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

impl Target {
    /// Spawns the server or finds it, with room for `connections` and `others` beside them.
    pub(crate) fn reach(
        args: &ServerArgs,
        connections: usize,
        others: usize,
    ) -> Result<Target, Failure> {
        Target::reach_as(Role::Distributor, args, connections, others)
    }

    /// The same, and its HTTP side if somebody is to read it.
    pub(crate) fn reach_with_http(
        args: &ServerArgs,
        http: &HttpArgs,
        connections: usize,
        others: usize,
    ) -> Result<Target, Failure> {
        let Some(readers) = http.http_readers else {
            return Target::reach(args, connections, others);
        };
        if http.http.is_none() && !args.spawn {
            return Err(Failure::usage(
                "--http-readers: say with --http ADDR where they are to ask, or start a Distributor \
                 for the run with --spawn",
            ));
        }
        let role = Role::DistributorWithHttp;
        let mut target = Target::reach_as(role, args, connections, others + readers)?;
        let spawned = target.spawned.as_ref().and_then(|server| server.http);
        let at = http.http.or(spawned);
        let at =
            at.ok_or_else(|| Failure::failed("the child did not say where its HTTP side is"))?;
        target.http = Some(HttpLoad { at, readers });
        Ok(target)
    }

    pub(crate) fn reach_as(
        role: Role,
        args: &ServerArgs,
        connections: usize,
        others: usize,
    ) -> Result<Target, Failure> {
        let spawned = match args.spawn {
            true => Some(Server::spawn(role, connections + others)?),
            false => None,
        };
        let default = match role {
            Role::EchoNode => DEFAULT_NODE,
            Role::Distributor | Role::DistributorWithHttp | Role::Bare => DEFAULT_DISTRIBUTOR,
        };
        let wanted = args.to.unwrap_or(SocketAddr::V4(default));
        let addr = spawned.as_ref().map_or(wanted, |server| server.addr);
        if spawned.is_none() {
            TcpStream::connect_timeout(&addr, PROBE_TIMEOUT).map_err(|error| {
                let what = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
                    _ => error.to_string(),
                };
                Failure::failed(format!(
                    "cannot connect to {addr}: {what}; start the server, name another with --to, or \
                     let --spawn start one for the run"
                ))
            })?;
        }
        let plan = Machine::here()?.plan(addr, connections, others, args.source_addresses);
        if plan.connections == 0 {
            let why = plan.capped_by.first();
            return Err(Failure::failed(format!(
                "{}: that is too few for a run",
                why.map_or("no connections", String::as_str)
            )));
        }
        for cap in &plan.capped_by {
            crate::cli::flood::tell(cap);
        }
        let process = match (&spawned, args.pid) {
            (Some(server), _) => Some(server.process()),
            (None, pid) => pid.map(|pid| Process { pid }),
        };
        let cpu_before = match process {
            // All of what one that was started for the run uses is used for the run.
            Some(process) if spawned.is_none() => process.cpu().map_err(|error| {
                Failure::usage(format!("--pid {}: cannot be watched: {error}", process.pid))
            })?,
            _ => Duration::ZERO,
        };
        let bare = match args.baseline {
            true => Some(Server::spawn(Role::Bare, connections + others)?),
            false => None,
        };
        Ok(Target {
            addr,
            process,
            cpu_before,
            bare,
            http: None,
            plan,
            spawned,
        })
    }

    /// What the server used in all, and what is to be said of the run itself.
    pub(crate) fn report(&self, report: &mut Report) {
        let memory = self.process.and_then(|process| process.memory().ok());
        let bare = self.bare.as_ref().map(Server::process);
        let bare_memory = bare.and_then(|process| process.memory().ok());
        report.figure(
            "server memory at its peak, resident",
            Unit::Bytes,
            memory.map(|memory| memory.peak_bytes as f64),
            bare_memory.map(|memory| memory.peak_bytes as f64),
        );
        let cpu = self.process.and_then(|process| process.cpu().ok());
        report.time(
            "server CPU in all",
            cpu.map(|cpu| cpu.saturating_sub(self.cpu_before)),
            bare.and_then(|process| process.cpu().ok()),
        );
        report.notes.extend(self.plan.capped_by.iter().cloned());
    }
}
