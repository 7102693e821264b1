//! Callbacks, for services that count nanoseconds: no request allocates memory.
//!
//! It sums the numbers of `GET/sum`, and forwards `GET/total` to any node that serves `GET/sum`:
//!
//! ```sh
//! cargo run --release --example callbacks
//! cargo run --release --bin distributor -- call GET/total --params '[1, 2, 3]'
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pilcrow::node::{
    CallError, CallId, Config, Context, DistributorAddress, Node, ReplyTo, Request, Service,
};
use pilcrow::protocol::{ErrorCode, Reply, Route};
use pilcrow::reactor::{Limits, Reactor};

const SUM: Route<'static> = Route::get("/sum");
const TOTAL: Route<'static> = Route::get("/total");

/// Requests that wait for a call. The list keeps its memory.
#[derive(Default)]
struct Sums {
    waiting: Vec<(CallId, ReplyTo)>,
}

impl Service for Sums {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route == TOTAL {
            let call = cx.call(&SUM, request.raw_params, Duration::from_secs(1));
            self.waiting.push((call, reply_to));
        } else if request.route == SUM {
            match request.params::<[i64; 3]>() {
                Ok(numbers) => cx.reply(reply_to, &numbers.iter().sum::<i64>()),
                Err(_) => cx.refuse(
                    reply_to,
                    ErrorCode::InvalidParameters,
                    "expected three integers",
                ),
            }
        } else {
            cx.refuse(reply_to, ErrorCode::NotFound, "no such route");
        }
    }

    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let Some(place) = self.waiting.iter().position(|(id, _)| *id == call) else {
            return;
        };
        let (_, reply_to) = self.waiting.swap_remove(place);
        match result.map(|reply| reply.results::<i64>()) {
            Ok(Ok(sum)) => cx.reply(reply_to, &sum),
            _ => cx.refuse(reply_to, ErrorCode::Busy, "no sum"),
        }
    }
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(Limits::default())?;
    let distributor: DistributorAddress = "localhost:9000".parse().map_err(io::Error::other)?;
    let config = Config::new("sums")
        .routes([SUM, TOTAL])
        .listen(SocketAddr::from(([127, 0, 0, 1], 9031)))
        .distributor(distributor);
    let mut node = Node::new(config, Sums::default());
    node.start(reactor.net())?;
    loop {
        reactor.turn(None, &mut node)?;
    }
}
