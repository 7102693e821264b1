//! The look-up of routes.

use matchit::Router;

use super::super::error::Error;
use super::super::template::Template;
use crate::protocol::ErrorCode;

/// The endpoints of a node by method and path.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    methods: Vec<(String, Router<usize>)>,
}

impl RouteTable {
    pub(super) fn insert(&mut self, template: &Template, endpoint: usize) -> Result<(), Error> {
        let (method, path) = (&template.method, &template.path);
        let place = self.methods.iter().position(|(other, _)| other == method);
        let place = place.unwrap_or_else(|| {
            self.methods.push((method.clone(), Router::new()));
            self.methods.len() - 1
        });
        let Some((_, router)) = self.methods.get_mut(place) else {
            return Ok(());
        };
        router.insert(path, endpoint).map_err(|error| {
            let message = format!("invalid route {method}{path}: {error}");
            Error::new(ErrorCode::InvalidParameters, message)
        })
    }

    /// Returns the routes with this method.
    pub(super) fn of_method(&self, method: &str) -> Option<&Router<usize>> {
        let mut methods = self.methods.iter();
        let (_, router) = methods.find(|(other, _)| other == method)?;
        Some(router)
    }
}
