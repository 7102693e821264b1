//! Configuration of the admin API.

use super::access::AdminToken;

/// Configuration of an [`AdminApi`](super::AdminApi).
#[derive(Clone, Debug)]
pub struct Config {
    /// Host names that requests may use besides `localhost` and addresses. Requests with another name
    /// are rejected: a page of another origin may have led a browser here.
    pub hosts: Vec<String>,
    /// The token that admits to everything, changes included. Without one, changes are disabled.
    pub admin_token: Option<AdminToken>,
    /// Maximum number of connections.
    pub max_connections: usize,
    /// Maximum number of event streams.
    pub max_streams: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hosts: Vec::new(),
            admin_token: None,
            max_connections: 1024,
            max_streams: 600,
        }
    }
}
