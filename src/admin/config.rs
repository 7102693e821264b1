//! Configuration of the admin API.

use super::admin_token::AdminToken;

/// Configuration of an [`AdminApi`](super::AdminApi).
#[derive(Clone, Debug)]
pub struct Config {
    /// Host names that requests may use besides `localhost` and addresses. Another name in a request
    /// means that a page of another origin led a browser here.
    pub hosts: Vec<String>,
    /// The token that admits to everything, changes included. Without it nothing can be changed.
    pub admin_token: Option<AdminToken>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Event streams at a time.
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
