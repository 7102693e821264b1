//! A node that serves `GET/goods`: the first one of README and of the documentation.

use std::net::SocketAddr;

use pilcrow::node::{Config, Context, Node, ReplyTo, Request, Service};
use pilcrow::protocol::{ErrorCode, Route};
use pilcrow::reactor::{Limits, Reactor};

const GOODS: Route<'static> = Route::get("/goods");

struct Goods;

impl Service for Goods {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        if request.route == GOODS {
            cx.reply(reply_to, &["apples", "pears"]);
        } else {
            cx.refuse(reply_to, ErrorCode::NotFound, "no such route");
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut reactor = Reactor::new(Limits::default())?;
    let config = Config {
        name: "goods".to_owned(),
        routes: vec![GOODS],
        listen: Some(([127, 0, 0, 1], 9010).into()),
        distributor: Some(SocketAddr::from(([127, 0, 0, 1], 9000)).into()),
        ..Config::default()
    };
    let mut node = Node::new(config, Goods);
    node.start(reactor.net())?;
    loop {
        reactor.turn(None, &mut node)?;
    }
}
