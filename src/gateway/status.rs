//! The readiness and the metrics of a gateway.

use std::borrow::Cow;

use super::counts::Counts;
use super::pending::PendingRequests;
use crate::http::{Probed, Server};
use crate::metrics::{Family, Samples, families, write_families, write_loop};
use crate::node::{LinkState, Node};
use crate::reactor::Net;

/// The parts of a gateway that its readiness and its metrics depend on.
pub(super) struct Status<'a> {
    pub(super) node: &'a Node<PendingRequests>,
    pub(super) http: &'a Server,
    pub(super) counts: &'a Counts,
    /// See [`Readiness`].
    pub(super) readiness: Readiness,
}

/// The readiness of a gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readiness {
    /// The gateway was registered with a complete list. That does not end with the link to the
    /// Distributor: the nodes of its last list still serve.
    pub(super) was_complete: bool,
    pub(super) is_stopping: bool,
}

impl Readiness {
    /// Records the current state of the gateway's node.
    pub(super) fn update(&mut self, node: &Node<PendingRequests>) {
        let (_, roster, link) = node.parts();
        let is_listed = roster.updated_at().is_some() && roster.is_complete();
        self.was_complete |= link == LinkState::Registered && is_listed;
    }

    fn is_ready(self) -> bool {
        self.was_complete && !self.is_stopping
    }
}

impl Probed for Status<'_> {
    fn readiness(&self) -> Result<Cow<'static, str>, Cow<'static, str>> {
        let (_, roster, link) = self.node.parts();
        if self.readiness.is_stopping {
            Err("stopping".into())
        } else if self.readiness.was_complete {
            Ok(if link == LinkState::Registered {
                "ready".into()
            } else {
                "ready: the Distributor is lost, the nodes of the last list are called".into()
            })
        } else if link != LinkState::Registered {
            Err("not registered with a Distributor".into())
        } else if roster.updated_at().is_none() {
            Err("no list received".into())
        } else {
            Err("the list is incomplete: the Distributor warms up".into())
        }
    }

    fn metrics(&self, net: &Net) -> Option<String> {
        let mut text = String::new();
        write_families(&mut text, FAMILIES, |write, out| write(out, self, net));
        write_loop(&mut text, net);
        Some(text)
    }
}

/// Writes the samples of a family.
type Write = fn(&mut Samples<'_>, &Status<'_>, &Net);

const FAMILIES: &[Family<Write>] = families! {
    gauge "pilcrow_build_info", "The version of the program.":
        |out, _, _| out.each("version", [(env!("CARGO_PKG_VERSION"), 1)]);
    gauge "pilcrow_ready", "1 if the gateway is ready, as /readyz says.":
        |out, s, _| out.one(u8::from(s.readiness.is_ready()));
    gauge "pilcrow_gateway_registered", "1 while the gateway is registered with a Distributor.":
        |out, s, _| out.one(u8::from(s.node.parts().2 == LinkState::Registered));
    gauge "pilcrow_gateway_nodes", "Nodes in the list.":
        |out, s, _| out.one(s.node.parts().1.members().len());
    counter "pilcrow_gateway_responses_total", "Responses, by status.":
        |out, s, _| {
            let counts = s.counts.by_status();
            let counts: Vec<(String, u64)> =
                counts.map(|(status, count)| (status.to_string(), count)).collect();
            out.each("status", counts.iter().map(|(status, count)| (&**status, count)));
        };
    counter "pilcrow_gateway_replies_total", "Responses that are the reply of a node.":
        |out, s, _| out.one(s.counts.stats.replied);
    counter "pilcrow_gateway_error_replies_total", "Replies with an errorcode other than 0.":
        |out, s, _| out.one(s.counts.stats.error_replies);
    histogram "pilcrow_gateway_request_seconds", "Time from a request to its response.":
        |out, s, _| out.buckets(Some(&s.counts.times));
    gauge "pilcrow_gateway_requests_in_flight", "Requests that wait for the reply of a node.":
        |out, s, _| out.one(s.node.parts().0.waiting.len());
    gauge "pilcrow_http_connections", "Open HTTP connections.":
        |out, s, _| out.one(s.http.connections());
    counter "pilcrow_http_refused_total", "Refusals of bytes that are not a request.":
        |out, s, _| out.one(s.counts.stats.refused);
    counter "pilcrow_limit_hits_total", "Times that a limit was hit, by limit.":
        |out, s, net| {
            let counters = net.counters();
            let of_loop = [
                ("connections", counters.refused),
                ("file_descriptors", counters.shed),
                ("accept", counters.accept_failures),
            ];
            out.each("limit", of_loop.into_iter().chain(s.http.limit_hits().named()));
        };
    gauge "pilcrow_collection_size", "Elements of each collection without a metric of its own.":
        |out, s, net| {
            let http = [("http_feeding", s.http.feeding())];
            out.each("collection", net.sizes().into_iter().chain(http));
        };
};
