//! A service with a nested call, an errorcode of its own, a timer, logs, and an orderly end.

use std::time::Duration;

use pilcrow::node::{Error, Node};
use serde::{Deserialize, Serialize};
use tracing::info;

/// Own errorcodes start at 100.
const SOLD_OUT: i64 = 100;

#[derive(Serialize, Deserialize)]
struct Order {
    goods: String,
    count: u32,
}

#[derive(Serialize)]
struct Receipt {
    number: u32,
    total: u32,
}

/// The state that all handlers share.
struct Shop {
    sold: u32,
    stock: u32,
}

fn main() -> Result<(), Error> {
    tracing_subscriber::fmt::init();
    Node::builder("shop")
        .listen("127.0.0.1:9021")
        .distributor("127.0.0.1:9000")
        .error_codes([SOLD_OUT])
        .state(Shop { sold: 0, stock: 0 })
        .get("/shop/stock", |cx, _request| Ok(cx.state().stock))
        .post_async("/shop/orders", async |cx, request| {
            let order: Order = request.params()?;
            let price: u32 = cx.get("/prices").params(&order).await?.results()?;
            // No handler runs between here and the next await.
            let mut shop = cx.state();
            if order.count > shop.stock {
                return Err(Error::own(SOLD_OUT, "sold out").with_details(&shop.stock));
            }
            shop.stock -= order.count;
            shop.sold += 1;
            info!(order.goods, order.count, "sold");
            let (number, total) = (shop.sold, price.saturating_mul(order.count));
            Ok(Receipt { number, total })
        })
        .every(Duration::from_secs(1), |cx| cx.state().stock = 10)
        .drain_timeout(Duration::from_secs(5))
        .run() // until SIGTERM: it leaves the list, finishes its requests, and returns
}
