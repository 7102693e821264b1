//! Three services and their caller in one thread and on one reactor. Each order is priced, which
//! needs a call to a third service, and then sold. At the end each node drains, and then stops.
//!
//! `cargo run --release --example pipeline`, beside a Distributor. It sells ten orders, prints the
//! result of each, drains and exits with 0.

#![allow(clippy::print_stdout, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use pilcrow::node::{CallError, CallId, Config, Context, Event, Node, ReplyTo, Request, Service};
use pilcrow::protocol::{ErrorCode, Reply, Route};
use pilcrow::reactor::{Limits, Net, Reactor};
use serde_json::{Value, json};

/// Three services and their caller in one thread
#[derive(Parser)]
struct Args {
    /// The address of the Distributor
    #[arg(long, default_value = "127.0.0.1:9000")]
    distributor: SocketAddr,
    /// The number of orders
    #[arg(long, default_value_t = 10)]
    orders: u64,
}

const GOODS: Route<'static> = Route::get("/goods");
const PRICES: Route<'static> = Route::get("/prices");
const PURCHASES: Route<'static> = Route::post("/purchases");
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the price of goods.
struct Goods;

impl Service for Goods {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let params: Value = request.params().unwrap_or_default();
        match params["name"].as_str() {
            Some(name) => cx.reply(reply_to, &json!({ "price": 100 + name.len() })),
            None => cx.refuse(
                reply_to,
                ErrorCode::InvalidParameters,
                "params without a name",
            ),
        }
    }
}

/// Prices an order with a call to `Goods`.
#[derive(Default)]
struct Prices {
    pending: HashMap<CallId, (ReplyTo, u64)>,
}

impl Service for Prices {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        let params: Value = request.params().unwrap_or_default();
        let count = params["count"].as_u64().unwrap_or(1);
        // The call ends by the deadline of the request.
        let call = cx.call(&GOODS, &params, PATIENCE);
        self.pending.insert(call, (reply_to, count));
    }

    fn on_result(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let Some((reply_to, count)) = self.pending.remove(&call) else {
            return;
        };
        let Ok(reply) = result else {
            cx.refuse(reply_to, ErrorCode::Busy, "no price available");
            return;
        };
        let goods: Value = serde_json::from_str(reply.raw_results()).unwrap_or_default();
        let price = goods["price"].as_u64().unwrap_or(0);
        cx.reply(reply_to, &json!({ "total": price * count }));
    }
}

/// Sells orders.
#[derive(Default)]
struct Purchases {
    sold: u64,
}

impl Service for Purchases {
    fn on_request(&mut self, cx: &mut Context<'_>, request: &Request<'_>, reply_to: ReplyTo) {
        self.sold += 1;
        cx.notify(
            "logs",
            &Route::post("/logs"),
            &format!("sold: {}", request.raw_params.get()),
        );
        cx.reply(reply_to, &json!({ "number": self.sold }));
    }
}

/// Places orders, one after the other.
#[derive(Default)]
struct Customer {
    /// True if the services are listed; `None` until that is known.
    is_ready: Option<bool>,
    results: Vec<(CallId, Result<Value, String>)>,
    is_drained: bool,
}

impl Service for Customer {
    fn on_result(
        &mut self,
        _cx: &mut Context<'_>,
        call: CallId,
        result: Result<Reply<'_>, CallError<'_>>,
    ) {
        let results = match result {
            Ok(reply) => serde_json::from_str(reply.raw_results()).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.results.push((call, results));
    }

    fn on_event(&mut self, _cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Waited(_, is_there) => self.is_ready = Some(is_there),
            Event::Drained(_) | Event::DrainedUnproven => self.is_drained = true,
            _ => {}
        }
    }
}

/// All nodes, on one reactor.
struct Shop {
    goods: Node<Goods>,
    prices: Node<Prices>,
    purchases: Node<Purchases>,
    customer: Node<Customer>,
}

impl Shop {
    fn new(distributor: SocketAddr) -> Shop {
        let config = |name: &str, route: Option<Route<'static>>| Config {
            name: name.to_owned(),
            listen: route
                .as_ref()
                .map(|_| SocketAddr::from(([127, 0, 0, 1], 0))),
            routes: route.into_iter().collect(),
            distributor: Some(distributor.into()),
            ..Config::default()
        };
        Shop {
            goods: Node::new(config("goods", Some(GOODS)), Goods),
            prices: Node::new(config("prices", Some(PRICES)), Prices::default()),
            purchases: Node::new(config("purchases", Some(PURCHASES)), Purchases::default()),
            customer: Node::new(config("customer", None), Customer::default()),
        }
    }

    fn start(&mut self, net: &mut Net) -> io::Result<()> {
        self.goods.start(net)?;
        self.prices.start(net)?;
        self.purchases.start(net)?;
        self.customer.start(net)?;
        Ok(())
    }

    fn turn(&mut self, reactor: &mut Reactor) -> io::Result<()> {
        let mut all = (
            &mut self.goods,
            &mut self.prices,
            &mut self.purchases,
            &mut self.customer,
        );
        reactor.turn(Some(Duration::from_millis(100)), &mut all)
    }

    /// Prices and sells apples. Returns a sentence about the result.
    fn order(&mut self, reactor: &mut Reactor, count: u64) -> io::Result<String> {
        let order = json!({ "name": "apples", "count": count });
        let apples = if count == 1 { "apple" } else { "apples" };
        let price = match self.call(reactor, &PRICES, &order)? {
            Ok(price) => price,
            Err(error) => return Ok(format!("{count} {apples} were not priced: {error}.")),
        };
        let total = &price["total"];
        let costs = if count == 1 { "costs" } else { "cost" };
        Ok(match self.call(reactor, &PURCHASES, &order)? {
            Ok(sale) => format!(
                "{count} {apples} {costs} {total}: sold, purchase number {}.",
                sale["number"]
            ),
            Err(error) => format!("{count} {apples} {costs} {total}, but were not sold: {error}."),
        })
    }

    /// Calls, and turns until there is a result.
    fn call(
        &mut self,
        reactor: &mut Reactor,
        route: &Route<'_>,
        params: &Value,
    ) -> io::Result<Result<Value, String>> {
        let call = self
            .customer
            .context(reactor.net())
            .call(route, params, PATIENCE);
        loop {
            self.turn(reactor)?;
            let results = &mut self.customer.service().results;
            if let Some(place) = results.iter().position(|(id, _)| *id == call) {
                return Ok(results.swap_remove(place).1);
            }
        }
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut reactor = Reactor::new(Limits::default())?;
    let mut shop = Shop::new(args.distributor);
    shop.start(reactor.net())?;

    shop.customer
        .context(reactor.net())
        .wait_for(&[GOODS, PRICES, PURCHASES], Duration::from_secs(60));
    println!(
        "Waiting for the Distributor at {} and three services.",
        args.distributor
    );
    while shop.customer.service().is_ready.is_none() {
        shop.turn(&mut reactor)?;
    }
    if shop.customer.service().is_ready == Some(false) {
        return Err(io::Error::other(
            "the services were not listed within a minute",
        ));
    }

    for number in 1..=args.orders {
        println!("{}", shop.order(&mut reactor, number)?);
    }

    println!("All nodes drain, and then stop.");
    shop.goods.context(reactor.net()).drain(PATIENCE);
    shop.prices.context(reactor.net()).drain(PATIENCE);
    shop.purchases.context(reactor.net()).drain(PATIENCE);
    shop.customer.context(reactor.net()).drain(PATIENCE);
    while !shop.customer.service().is_drained {
        shop.turn(&mut reactor)?;
    }
    // No other node calls them any more.
    shop.goods.context(reactor.net()).stop();
    shop.prices.context(reactor.net()).stop();
    shop.purchases.context(reactor.net()).stop();
    shop.customer.context(reactor.net()).stop();
    while reactor.net().connections() > 0 {
        shop.turn(&mut reactor)?;
    }
    Ok(())
}
