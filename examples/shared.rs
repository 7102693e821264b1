//! A Distributor and two nodes in one thread, on one reactor.
//!
//! ```sh
//! cargo run --release --example shared
//! cargo run --release --bin distributor -- call GET/stock/7
//! ```

use pilcrow::distributor::{self, Distributor};
use pilcrow::node::{Error, Node};
use pilcrow::reactor::{Limits, Reactor};

fn main() -> Result<(), Error> {
    let mut reactor = Reactor::new(Limits::default())?;
    let mut distributor = Distributor::new(distributor::Config::default());
    let addr = distributor.listen(reactor.net(), ([127, 0, 0, 1], 9000).into())?;
    let mut prices = Node::builder("prices")
        .listen("127.0.0.1:9011")
        .distributor(addr)
        .get("/prices", |_cx, _request| Ok(5))
        .build(reactor.net())?;
    let mut stock = Node::builder("stock")
        .listen("127.0.0.1:9012")
        .distributor(addr)
        .get("/stock/{id}", |_cx, request| {
            let id: u64 = request.parsed_path_param("id")?;
            Ok(100 + id)
        })
        .build(reactor.net())?;
    loop {
        reactor.turn(None, &mut (&mut distributor, &mut prices, &mut stock))?;
    }
}
