//! Properties that hold for every input: functions that panic where they do not.
//!
//! The fuzz targets run them with inputs that find new paths, `tests/properties` with drawn inputs
//! on stable Rust: `cargo test --manifest-path fuzz/Cargo.toml`.

mod framing;
mod http_requests;
mod list_and_delta;
mod node_link;
mod packets;
mod registration;
mod script;
mod simulation;
mod state_file;
mod text;

pub use framing::framing;
pub use http_requests::http_requests;
pub use list_and_delta::list_and_delta;
pub use node_link::node_link;
pub use packets::packets;
pub use registration::registration;
pub use simulation::simulation;
pub use state_file::state_file;
pub use text::{log_escape, url};

/// A function that panics if its property does not hold for the input.
pub type Property = fn(&[u8]);

/// Every property, under the name of its fuzz target.
pub const PROPERTIES: [(&str, Property); 10] = [
    ("framing", framing),
    ("http_requests", |input| _ = http_requests(input)),
    ("list_and_delta", list_and_delta),
    ("log_escape", log_escape),
    ("node_link", node_link),
    ("packets", packets),
    ("registration", |input| _ = registration(input)),
    ("simulation", simulation),
    ("state_file", |input| _ = state_file(input)),
    ("url", url),
];
