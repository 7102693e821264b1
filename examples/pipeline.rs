//! Three services and their caller in one thread and on one reactor. Each order is priced, which
//! needs a call to a third service, and then sold. At the end each node drains, and then stops.
//!
//! `cargo run --release --example pipeline`, beside a Distributor. It sells ten orders, prints the
//! result of each, drains and exits with 0. `--orders 3` and `--distributor 127.0.0.1:9000` change
//! the defaults.

#![allow(clippy::print_stdout)]

use std::env;
use std::time::Duration;

use pilcrow::node::{Builder, Error, Node, Routes, TaskContext};
use pilcrow::protocol::Route;
use pilcrow::reactor::{Limits, Net, Reactor};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
struct Order {
    name: String,
    count: usize,
}

/// Returns the price of goods.
fn goods() -> Builder {
    Node::builder("goods").get("/goods", |_cx, request| {
        let order: Order = request.params()?;
        Ok(100 + order.name.len())
    })
}

/// Prices an order with a call to `goods`, which ends by the deadline of the request.
fn prices() -> Builder {
    Node::builder("prices").get_async("/prices", async |cx, request| {
        let order: Order = request.params()?;
        let price: usize = cx.get("/goods").params(&order).await?.results()?;
        Ok(price.saturating_mul(order.count))
    })
}

/// Sells orders. The state is the number of the last purchase.
fn purchases() -> Builder<u64> {
    Node::builder("purchases")
        .state(0)
        .post("/purchases", |cx, request| {
            let sold = format!("sold: {}", request.raw_params);
            cx.notify("logs", &Route::post("/logs"), &sold);
            *cx.state() += 1;
            Ok(*cx.state())
        })
}

/// Places orders, one after the other. The state is the outcome, once there is one.
fn customer(orders: usize) -> Builder<Option<Result<(), Error>>> {
    Node::builder("customer").state(None).on_start(move |cx| {
        let work = async move |cx: TaskContext<_>| {
            let outcome = place_orders(&cx, orders).await;
            *cx.state() = Some(outcome);
            Ok(())
        };
        if let Err(error) = cx.spawn(work) {
            *cx.state() = Some(Err(error));
        }
    })
}

async fn place_orders<T: 'static>(cx: &TaskContext<T>, orders: usize) -> Result<(), Error> {
    let routes = [
        Route::get("/goods"),
        Route::get("/prices"),
        Route::post("/purchases"),
    ];
    if !cx.wait_for(&routes, Duration::from_secs(60)).await {
        return Err(Error::internal(
            "the services were not listed within a minute",
        ));
    }
    for count in 1..=orders {
        println!("{}", order(cx, count).await);
    }
    Ok(())
}

/// Prices and sells apples. Returns a sentence about the result.
async fn order<T: 'static>(cx: &TaskContext<T>, count: usize) -> String {
    let order = Order {
        name: "apples".to_owned(),
        count,
    };
    let (apples, cost) = if count == 1 {
        ("apple", "costs")
    } else {
        ("apples", "cost")
    };
    let total = match number(cx, "GET", "/prices", &order).await {
        Ok(total) => total,
        Err(error) => return format!("{count} {apples} were not priced: {error}."),
    };
    match number(cx, "POST", "/purchases", &order).await {
        Ok(sale) => format!("{count} {apples} {cost} {total}: sold, purchase number {sale}."),
        Err(error) => format!("{count} {apples} {cost} {total}, but were not sold: {error}."),
    }
}

/// Calls a service that returns a number.
async fn number<T: 'static>(
    cx: &TaskContext<T>,
    method: &str,
    path: &str,
    order: &Order,
) -> Result<u64, Error> {
    let call = cx.request(method, path).params(order).timeout(PATIENCE);
    Ok(call.await?.results()?)
}

fn main() -> Result<(), Error> {
    let distributor = flag("--distributor", "127.0.0.1:9000");
    let orders = flag("--orders", "10").parse().map_err(Error::internal)?;
    let mut reactor = Reactor::new(Limits::default())?;
    let net = reactor.net();
    let mut goods = served(goods(), &distributor, net)?;
    let mut prices = served(prices(), &distributor, net)?;
    let mut purchases = served(purchases(), &distributor, net)?;
    let mut customer = customer(orders).distributor(&distributor).build(net)?;

    println!("Waiting for the Distributor at {distributor} and three services.");
    let outcome = loop {
        let all = &mut (&mut goods, &mut prices, &mut purchases, &mut customer);
        reactor.turn(None, all)?;
        if let Some(outcome) = customer.service().state().take() {
            break outcome;
        }
    };

    println!("All nodes drain, and then stop.");
    let net = reactor.net();
    goods.context(net).shut_down(PATIENCE);
    prices.context(net).shut_down(PATIENCE);
    purchases.context(net).shut_down(PATIENCE);
    customer.context(net).shut_down(PATIENCE);
    while reactor.net().connections() > 0 {
        let all = &mut (&mut goods, &mut prices, &mut purchases, &mut customer);
        reactor.turn(None, all)?;
    }
    outcome
}

/// Builds a node that listens on any free port.
fn served<T: 'static>(
    builder: Builder<T>,
    distributor: &str,
    net: &mut Net,
) -> Result<Node<Routes<T>>, Error> {
    let builder = builder.listen("127.0.0.1:0").distributor(distributor);
    builder.build(net)
}

/// Returns the value of a flag.
fn flag(name: &str, default: &str) -> String {
    let mut args = env::args().skip_while(|arg| arg != name).skip(1);
    args.next().unwrap_or_else(|| default.to_owned())
}
