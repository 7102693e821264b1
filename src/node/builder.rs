//! The builder of nodes with routes.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::address::{DistributorAddress, host_port};
use super::call_error::CallError;
use super::calls::CallId;
use super::config::Config;
use super::error::{Error, FIRST_OWN_CODE, too_small};
use super::event::Event;
use super::interest::Interest;
use super::link::LONGEST_LOOKUP;
use super::routes::{Connections, Handler, Hooks, RoutedRequest, Routes, ServiceContext};
use super::service_node::Node;
use super::tasks::{TaskContext, TaskRequest};
use super::template::Template;
use crate::protocol::{ErrorCode, Registration, RegistrationLimits, Reply, Route, Token};
use crate::reactor::{Limits, Net, TimerId};

/// Builds a node from its handlers. See the [module](super) for examples.
///
/// Each route has a method, a path, and a handler. In a path, `{id}` matches one segment and
/// `{*rest}` the rest, at its end; literal braces are doubled. The routes determine the urls that
/// the node registers: of a path with parameters, the part before the first one.
///
/// A handler returns results or an [`Error`]; both are the reply. Plain handlers run at once; those
/// of the methods that end with `_async` are tasks on the same thread. A handler that panics, and
/// results that cannot be encoded, are logged and answered with
/// [`ErrorCode::Internal`](crate::protocol::ErrorCode::Internal). (A program that aborts on panics
/// ends.) Requests without a route are answered with
/// [`ErrorCode::NotFound`](crate::protocol::ErrorCode::NotFound).
#[must_use = "`run` or `build` makes the node"]
pub struct Builder<T = ()> {
    pub(super) config: Config,
    listen: Option<String>,
    distributors: Vec<String>,
    #[cfg(feature = "http")]
    health: Option<String>,
    state: T,
    routes: Vec<(Template, Handler<T>)>,
    hooks: Hooks<T>,
    error_codes: Vec<i64>,
    pub(super) limits: Limits,
    pub(super) drain_timeout: Duration,
    /// The first mistake of the caller.
    mistake: Option<&'static str>,
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Node<()> {
    /// Returns a builder of a node with routes. Other nodes find it under this name.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<T: 'static> Node<Routes<T>> {
    /// Calls `act` with the operations of the service, between turns of its reactor. Returns `None`
    /// if a task keeps the state borrowed.
    pub fn with_service<R>(
        &mut self,
        net: &mut Net,
        act: impl FnOnce(&mut ServiceContext<'_, T>) -> R,
    ) -> Option<R> {
        self.service_part(net, |routes, cx| routes.enter(cx.reborrow(), act))
    }

    fn started(&mut self, net: &mut Net) {
        self.service_part(net, |routes, cx| routes.started(cx));
    }
}

impl Builder<()> {
    pub(super) fn new(name: String) -> Builder<()> {
        Builder {
            config: Config {
                name,
                interest: Interest::Calls,
                ..Config::default()
            },
            listen: None,
            distributors: Vec::new(),
            #[cfg(feature = "http")]
            health: None,
            state: (),
            routes: Vec::new(),
            hooks: Hooks::default(),
            error_codes: Vec::new(),
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(10),
            mistake: None,
        }
    }

    /// Sets the state of the service, which [`ServiceContext::state`] and [`TaskContext::state`]
    /// return. Call it before adding handlers.
    pub fn state<T: 'static>(self, state: T) -> Builder<T> {
        let has_handlers = !self.routes.is_empty() || !self.hooks.is_empty();
        let mistake = has_handlers
            .then_some("state() was called after a handler: call it before all of them");
        Builder {
            config: self.config,
            listen: self.listen,
            distributors: self.distributors,
            #[cfg(feature = "http")]
            health: self.health,
            state,
            routes: Vec::new(),
            hooks: Hooks::default(),
            error_codes: self.error_codes,
            limits: self.limits,
            drain_timeout: self.drain_timeout,
            mistake: self.mistake.or(mistake),
        }
    }
}

macro_rules! methods {
    ($($method:literal $plain:ident $task:ident)+) => {$(
        #[doc = concat!("Adds a route with the method `", $method, "`.")]
        pub fn $plain<R: Serialize>(
            self,
            path: &str,
            handler: impl FnMut(&mut ServiceContext<'_, T>, &RoutedRequest<'_>) -> Result<R, Error>
            + 'static,
        ) -> Self {
            self.route($method, path, handler)
        }

        #[doc = concat!("Adds a route with the method `", $method, "` and an async handler.")]
        pub fn $task<R: Serialize + 'static>(
            self,
            path: &str,
            handler: impl AsyncFn(TaskContext<T>, TaskRequest) -> Result<R, Error> + 'static,
        ) -> Self {
            self.route_async($method, path, handler)
        }
    )+};
}

impl<T: 'static> Builder<T> {
    /// Sets the address to listen on, as in `127.0.0.1:9010`; port 0 is any free port. Without one
    /// the node only calls others, and is not listed.
    ///
    /// A name is looked up once, by [`Builder::build`], which waits for that, for at most 5 s.
    pub fn listen(mut self, addr: impl ToString) -> Self {
        self.listen = Some(addr.to_string());
        self
    }

    /// Sets the port to be listed, if it is not the one that the node listens on.
    pub fn advertised_port(mut self, port: u16) -> Self {
        self.config.advertised_port = Some(port);
        self
    }

    /// Adds the address of a Distributor, as in `distributor.internal:9000`. Several are tried in
    /// turn. Without one the roster stays empty.
    ///
    /// A name is looked up before each round of attempts, without blocking the loop: on a thread
    /// that ends with the lookup.
    pub fn distributor(mut self, addr: impl ToString) -> Self {
        self.distributors.push(addr.to_string());
        self
    }

    /// Sets the nodes that this one knows: its roster and its events have no others. The default is
    /// [`Interest::Calls`].
    pub fn subscribe(mut self, interest: Interest) -> Self {
        self.config.interest = interest;
        self
    }

    /// Sets an address for health checks over HTTP, as in `127.0.0.1:9011`.
    ///
    /// `GET /healthz` is answered with 200 while the node runs, and `GET /readyz` with 200 while it
    /// is [ready](super::Context::is_ready), otherwise with 503 and the reason. They need no token:
    /// choose an address that only those reach who check.
    #[cfg(feature = "http")]
    pub fn health(mut self, addr: impl ToString) -> Self {
        self.health = Some(addr.to_string());
        self
    }

    /// Sets the token, if the Distributor requires one.
    pub fn token(mut self, token: Token<'static>) -> Self {
        self.config.token = Some(token);
        self
    }

    /// Sets the time for a call that does not set its own. The default is 5 s.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.config.call_timeout = timeout;
        self
    }

    /// Sets the maximum number of tasks. The default is 10,000.
    pub fn max_tasks(mut self, max: usize) -> Self {
        self.config.max_tasks = max;
        self
    }

    /// Changes the rest of the configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Sets the limits of the reactor that [`Builder::run`] creates.
    pub fn reactor_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the maximum time for an orderly end in [`Builder::run`]. The default is 10 s.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Declares the errorcodes of the service, so that [`Builder::build`] rejects codes below 100,
    /// which belong to the protocol.
    pub fn error_codes(mut self, codes: impl IntoIterator<Item = i64>) -> Self {
        self.error_codes.extend(codes);
        self
    }

    methods! {
        "GET" get get_async
        "POST" post post_async
        "PUT" put put_async
        "PATCH" patch patch_async
        "DELETE" delete delete_async
    }

    /// Adds a route with any method.
    pub fn route<R: Serialize>(
        mut self,
        method: &str,
        path: &str,
        handler: impl FnMut(&mut ServiceContext<'_, T>, &RoutedRequest<'_>) -> Result<R, Error>
        + 'static,
    ) -> Self {
        let template = Template::new(method, path);
        self.routes.push((template, Handler::plain(handler)));
        self
    }

    /// Adds a route with any method and an async handler.
    pub fn route_async<R: Serialize + 'static>(
        mut self,
        method: &str,
        path: &str,
        handler: impl AsyncFn(TaskContext<T>, TaskRequest) -> Result<R, Error> + 'static,
    ) -> Self {
        let template = Template::new(method, path);
        self.routes.push((template, Handler::task(handler)));
        self
    }

    /// Allows the route that was added last to register a bare `METHOD/`: the node then receives
    /// all requests with this method that no other node serves, which a gateway would answer with
    /// 404 otherwise.
    pub fn catch_all(mut self) -> Self {
        match self.routes.last_mut() {
            Some((template, _)) => template.is_catch_all = true,
            None => {
                self.mistake =
                    Some("catch_all() was called before a route: call it after its route")
            }
        }
        self
    }

    /// Calls `act` each time that this period has passed.
    pub fn every(
        mut self,
        period: Duration,
        act: impl FnMut(&mut ServiceContext<'_, T>) + 'static,
    ) -> Self {
        self.hooks.every.push((period, Box::new(act)));
        self
    }

    /// Calls `act` once, when the node listens.
    pub fn on_start(mut self, act: impl FnOnce(&mut ServiceContext<'_, T>) + 'static) -> Self {
        self.hooks.on_start = Some(Box::new(act));
        self
    }

    /// Calls `act` for each [`Event`].
    pub fn on_event(
        mut self,
        act: impl FnMut(&mut ServiceContext<'_, T>, Event) + 'static,
    ) -> Self {
        self.hooks.on_event = Some(Box::new(act));
        self
    }

    /// Calls `act` for timers of [`Context::arm`](super::Context::arm), with their tags.
    pub fn on_timer(
        mut self,
        act: impl FnMut(&mut ServiceContext<'_, T>, TimerId, u64) + 'static,
    ) -> Self {
        self.hooks.on_timer = Some(Box::new(act));
        self
    }

    /// Calls `act` for results of [`Call::send`](super::Call::send).
    pub fn on_result(
        mut self,
        act: impl FnMut(&mut ServiceContext<'_, T>, CallId, Result<Reply<'_>, CallError<'_>>) + 'static,
    ) -> Self {
        self.hooks.on_result = Some(Box::new(act));
        self
    }

    /// Sets the receiver of events of connections that the service creates itself.
    pub fn connections(mut self, connections: impl Connections<T> + 'static) -> Self {
        self.hooks.connections = Some(Box::new(connections));
        self
    }

    /// Builds the node and starts it on a reactor, which you turn: it listens, and begins to look
    /// for the Distributor.
    ///
    /// # Errors
    ///
    /// Returns an error if the name or a route is invalid, with the reason that the Distributor
    /// would give; if an own errorcode is below 100; or if it cannot listen.
    pub fn build(self, net: &mut Net) -> Result<Node<Routes<T>>, Error> {
        let mut config = self.config;
        if let Some(mistake) = self.mistake {
            return Err(Error::new(ErrorCode::InvalidParameters, mistake));
        }
        if let Some(code) = self.error_codes.iter().find(|code| **code < FIRST_OWN_CODE) {
            let message = too_small(*code, "Builder::error_codes");
            return Err(Error::new(ErrorCode::InvalidParameters, message));
        }
        for (template, _) in &self.routes {
            let route = template.registered()?;
            if !config.routes.contains(&route) {
                config.routes.push(route);
            }
        }
        check_registration(&config.name, &config.routes)?;
        let routes = Routes::new(self.state, self.routes, self.hooks)?;
        if let Some(listen) = &self.listen {
            config.listen = Some(to_listen_on(net, "listener", listen)?);
        }
        for text in &self.distributors {
            let address: DistributorAddress = text.parse()?;
            config.distributor = Some(match config.distributor.take() {
                Some(before) => before.or(address),
                None => address,
            });
        }
        let mut node = Node::new(config, routes);
        #[cfg(feature = "http")]
        if let Some(health) = &self.health {
            let addr = to_listen_on(net, "health checks", health)?;
            if let Err(error) = node.listen_health(net, addr) {
                let message = format!("cannot listen on {addr} for health checks: {error}");
                return Err(Error::internal(message));
            }
        }
        if let Err(error) = node.start(net) {
            node.context(net).stop();
            return Err(Error::internal(error));
        }
        node.started(net);
        Ok(node)
    }
}

/// Returns an address to listen on. Of those of a name it is one of IPv4, if there is any: the
/// Distributor lists a node by the address that it connects from.
fn to_listen_on(net: &mut Net, what: &str, text: &str) -> Result<SocketAddr, Error> {
    let host_port = host_port(what, text)?;
    if let Some(address) = host_port.address() {
        return Ok(address);
    }
    let found = net.look_up(&host_port).wait(LONGEST_LOOKUP);
    let found = found.map_err(|error| {
        Error::internal(format!(
            "cannot resolve the address of the {what}, {text}: {error}"
        ))
    })?;
    let ipv4 = found.iter().find(|addr| addr.is_ipv4());
    let addr = ipv4.or(found.first()).copied();
    addr.ok_or_else(|| Error::internal(format!("{text} has no address to listen on")))
}

/// Rejects a name or routes that the Distributor would reject, with its reason.
fn check_registration(name: &str, routes: &[Route<'static>]) -> Result<(), Error> {
    check(name, &[], "")?;
    for route in routes {
        check(
            name,
            std::slice::from_ref(route),
            &format!("invalid route {route}: "),
        )?;
    }
    check(name, routes, "")
}

fn check(name: &str, urls: &[Route<'static>], what: &str) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Params<'a> {
        name: &'a str,
        urls: &'a [Route<'static>],
    }
    let params = serde_json::value::to_raw_value(&Params { name, urls })?;
    match Registration::check(Some(&params), &RegistrationLimits::default()) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Error::new(
            refusal.code,
            format!("{what}{}", refusal.message),
        )),
    }
}
