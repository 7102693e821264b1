//! Calls in a task: each order is priced by two other nodes.
//!
//! The Distributor has a name: `echo 127.0.0.1 distributor.internal >> /etc/hosts`. Two nodes that
//! serve `GET/prices` and `GET/stock/7` are in the example `shared`.

use std::time::Duration;

use pilcrow::node::{Error, Node};
use pilcrow::reactor::{Limits, Reactor};
use serde::{Deserialize, Serialize};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Order {
    count: u64,
}

#[derive(Deserialize)]
struct Price(u64);

#[derive(Deserialize)]
struct Stock(u64);

#[derive(Serialize)]
struct Receipt {
    total: u64,
    left: u64,
}

#[derive(Default)]
struct Orders(Vec<Order>);

impl Orders {
    fn expire(&mut self) {
        self.0.clear();
    }
}

fn main() -> Result<(), Error> {
    let mut reactor = Reactor::new(Limits::default())?;
    let mut node = Node::builder("orders")
        .listen("0.0.0.0:9020")
        .distributor("distributor.internal:9000")
        .state(Orders::default()) // cx.state() in every handler
        .post_async("/orders", async |cx, request| {
            let order: Order = request.params()?; // a decode error answers InvalidParameters
            let price: Price = cx
                .get("/prices")
                .params(&order)
                .timeout(SECOND)
                .await?
                .results()?;
            let stock: Stock = cx.get("/stock/7").idempotent().await?.results()?;
            cx.sleep(MILLISECOND).await;
            let total = price.0.saturating_mul(order.count);
            let left = stock.0.saturating_sub(order.count);
            cx.state().0.push(order);
            Ok(Receipt { total, left })
        })
        .every(MINUTE, |cx| cx.state().expire())
        .build(reactor.net())?; // for a shared reactor, turned by you
    loop {
        reactor.turn(None, &mut node)?;
    }
}
