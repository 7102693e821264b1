//! The request of a routed handler.

use std::ops::Deref;
use std::str::FromStr;

use matchit::Params;

use super::super::error::Error;
use super::super::served::{Request, parsed};
use super::super::tasks::RawJson;

/// A request with the parameters of its path. Dereferences to [`Request`].
#[derive(Debug)]
pub struct RoutedRequest<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) path_params: &'r Params<'r, 'r>,
}

impl<'r> Deref for RoutedRequest<'r> {
    type Target = Request<'r>;

    fn deref(&self) -> &Request<'r> {
        self.request
    }
}

impl<'r> RoutedRequest<'r> {
    /// Returns the params as JSON; `null` if there are none.
    pub fn raw_params(&self) -> RawJson<'r> {
        RawJson::new(self.request.raw_params.get())
    }

    /// Returns the part of the path that the route has in braces, as in `{id}`.
    pub fn path_param(&self, name: &str) -> Option<&'r str> {
        self.path_params.get(name)
    }

    /// Parses a part of the path that the route has in braces.
    ///
    /// # Errors
    ///
    /// Returns an error with [`InvalidParameters`](crate::protocol::ErrorCode::InvalidParameters)
    /// if it is not a `P`.
    pub fn parsed_path_param<P: FromStr>(&self, name: &str) -> Result<P, Error> {
        parsed(name, self.path_param(name))
    }
}
