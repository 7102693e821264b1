//! A service: the node of README and of the first page of the documentation.

use pilcrow::node::{Error, Node};

fn main() -> Result<(), Error> {
    Node::builder("goods")
        .listen("127.0.0.1:9010")
        .distributor("127.0.0.1:9000") // again for more; names are resolved
        .get("/goods", |_cx, _request| Ok(["apples", "pears"]))
        .run() // own reactor; SIGINT and SIGTERM drain, then it returns
}
