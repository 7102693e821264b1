//! What holds for every input, a function a property: it panics where the property does not hold.
//!
//! The fuzz targets in `fuzz/` and the property tests in `tests/properties/` run the same functions,
//! the one with inputs that find new paths, the other on stable Rust. Only with the feature
//! `fuzzing`; no part of the API.

mod distributor;
mod framing;
mod http_requests;
mod list_and_delta;
mod node_link;
mod packets;
mod registration;
mod script;
mod state_file;
mod text;

pub use distributor::distributor;
pub use framing::framing;
pub use http_requests::http_requests;
pub use list_and_delta::list_and_delta;
pub use node_link::node_link;
pub use packets::packets;
pub use registration::registration;
pub use state_file::state_file;
pub use text::{log_escape, url};

/// A function that panics if its property does not hold for the input.
pub type Property = fn(&[u8]);

/// Every property, under the name of its fuzz target.
pub const PROPERTIES: [(&str, Property); 10] = [
    ("distributor", distributor),
    ("framing", framing),
    ("http_requests", http_requests),
    ("list_and_delta", list_and_delta),
    ("log_escape", log_escape),
    ("node_link", node_link),
    ("packets", packets),
    ("registration", registration),
    ("state_file", state_file),
    ("url", url),
];
