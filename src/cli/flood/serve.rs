//! The servers that `--spawn` and `--baseline` start: this program with the hidden command `serve`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::args::{Role, ServeArgs};
use super::bare::{self, print_line};
use super::loop_work::LoopClock;
use crate::admin::{AdminApi, Config as AdminConfig};
use crate::cli::failure::{Failure, failed};
use crate::cli::program::raise_fd_limit;
use crate::distributor::{Config as DistributorConfig, Distributor};
use crate::node::{Config as NodeConfig, Context, Node, ReplyTo, Request, Service};
use crate::protocol::{ErrorCode, Route};
use crate::reactor::{Limits, Reactor};
use crate::registry::Capacity;

/// Number of connections in addition to those of the run.
const SPARE: usize = 10_000;

/// Prints its addresses, and serves until standard input ends.
pub(crate) fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let connections = args.connections + SPARE;
    raise_fd_limit();
    let served = match args.role {
        Role::Bare => bare::serve(),
        Role::Distributor => serve_distributor(connections, args.with_http),
        Role::EchoNode => serve_echo_node(connections),
    };
    served.map_err(failed("the server that was started for the run"))
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn reactor_for(connections: usize) -> io::Result<Reactor> {
    Reactor::new(Limits {
        max_connections: connections,
        ..Limits::default()
    })
}

fn serve_distributor(connections: usize, with_http: bool) -> io::Result<()> {
    let mut reactor = reactor_for(connections)?;
    let mut distributor = Distributor::new(DistributorConfig {
        capacity: Capacity {
            max_entries: connections,
            ..Capacity::default()
        },
        // At the end of a warm-up every session receives the whole list once. During a run that
        // would be measured as the cost of a change.
        warm_up: Duration::ZERO,
        ..DistributorConfig::default()
    });
    let mut addrs = distributor.listen(reactor.net(), any_port())?.to_string();
    let mut admin = with_http.then(|| {
        AdminApi::new(AdminConfig {
            max_connections: connections,
            max_streams: connections,
            ..AdminConfig::default()
        })
    });
    if let Some(admin) = &mut admin {
        let http = admin.listen(reactor.net(), &mut distributor, any_port())?;
        addrs += &format!(" {http}");
    }
    let clock = start_serving(&addrs)?;
    loop {
        match &mut admin {
            Some(admin) => reactor.turn(None, &mut admin.beside(&mut distributor))?,
            None => reactor.turn(None, &mut distributor)?,
        };
        clock.turned(reactor.net().counters());
    }
}

fn serve_echo_node(connections: usize) -> io::Result<()> {
    let mut reactor = reactor_for(connections)?;
    let config = NodeConfig {
        name: "echo".to_owned(),
        routes: vec![Route::get("/echo")],
        listen: Some(any_port()),
        ..NodeConfig::default()
    };
    let mut node = Node::new(config, Echo);
    let addr = node.start(reactor.net())?;
    let clock = start_serving(&addr.map_or_else(String::new, |addr| addr.to_string()))?;
    loop {
        reactor.turn(None, &mut node)?;
        clock.turned(reactor.net().counters());
    }
}

/// Prints the addresses. The process ends when standard input ends.
fn start_serving(addrs: &str) -> io::Result<LoopClock> {
    let clock = LoopClock::default();
    clock.clone().print_on_request();
    print_line(addrs)?;
    Ok(clock)
}

/// Serves the same route as `examples/echo.rs`.
struct Echo;

impl Service for Echo {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route == Route::get("/echo") {
            cx.reply(reply_to, request.raw_params);
        } else {
            cx.refuse(
                reply_to,
                ErrorCode::NotFound,
                "this node serves only GET /echo",
            );
        }
    }
}
