//! Which request a method and a path stand for.

/// The handler of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    Page,
    Nodes,
    Events,
    Healthz,
    Readyz,
    Metrics,
    ServiceDiscovery,
    Why,
    Drain,
    /// The path exists with other methods, which this header lists.
    WrongMethod(&'static [(&'static str, &'static str)]),
    Unknown,
}

impl Route {
    pub(super) fn new(method: &str, path: &str) -> Route {
        let route = match path {
            "/" => Route::Page,
            "/nodes" => Route::Nodes,
            "/events" => Route::Events,
            "/healthz" => Route::Healthz,
            "/readyz" => Route::Readyz,
            "/metrics" => Route::Metrics,
            "/sd" => Route::ServiceDiscovery,
            "/why" => Route::Why,
            "/drain" => Route::Drain,
            _ => return Route::Unknown,
        };
        match (route, method) {
            (Route::Drain, "POST") => route,
            (Route::Drain, _) => Route::WrongMethod(&[("Allow", "POST")]),
            (_, "GET" | "HEAD") => route,
            _ => Route::WrongMethod(&[("Allow", "GET, HEAD")]),
        }
    }

    /// Returns whether the request asks for the health of the program only.
    pub(super) fn is_probe(self) -> bool {
        matches!(self, Route::Healthz | Route::Readyz)
    }
}
