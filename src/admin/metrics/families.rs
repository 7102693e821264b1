//! The table of all metrics.

use crate::distributor::{Distributor, Journal};
use crate::http::Server;
use crate::metrics::{Family, Samples, families, write_families, write_loop};
use crate::reactor::Net;
use crate::registry::Cause;

/// The sources of all metrics.
pub(crate) struct Figures<'a> {
    pub(crate) net: &'a Net,
    pub(crate) server: &'a Server,
    pub(crate) distributor: &'a Distributor,
    pub(crate) counts: Counts,
    /// Open event streams.
    pub(crate) streams: usize,
    /// Requests without a response.
    pub(crate) waiting: usize,
    /// Nodes whose registration is kept parsed.
    pub(crate) node_texts: usize,
    /// Samples that are kept for charts.
    pub(crate) samples: usize,
}

impl Figures<'_> {
    /// Returns the number of times that each limit was hit.
    pub(crate) fn limit_hits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let (stats, counters) = (self.distributor.stats(), self.net.counters());
        let own = [
            ("connections", counters.refused),
            ("file_descriptors", counters.shed),
            ("accept", counters.accept_failures),
            ("room", stats.capacity_exceeded),
            ("frame_bytes", stats.frames_too_large),
            ("frame_timeout", stats.frame_timeouts),
            ("first_byte_timeout", stats.first_byte_timeouts),
            ("unsent_bytes", stats.unsent_overflows),
            ("write_timeout", stats.write_timeouts),
            ("old_lists", stats.old_lists_cut),
        ];
        let streams = ("http_streams", self.counts.streams_refused);
        let http = self.server.limit_hits().named();
        own.into_iter().chain(http).chain([streams])
    }

    /// Returns the number of refused packets, connections and requests, by kind.
    pub(crate) fn refusals(&self) -> [(&'static str, u64); 5] {
        let stats = self.distributor.stats();
        [
            ("rejected_packets", stats.rejected_packets),
            ("not_admitted", stats.not_admitted),
            ("wrong_protocol", stats.wrong_protocol),
            ("http_refused", self.counts.refused),
            ("http_not_admitted", self.counts.not_admitted),
        ]
    }
}

/// Totals of the admin API since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) not_admitted: u64,
    pub(crate) refused: u64,
    pub(crate) streams_opened: u64,
    pub(crate) streams_closed: u64,
    pub(crate) streams_refused: u64,
    pub(crate) events_sent: u64,
}

/// Encodes all metrics.
pub(super) fn encode(figures: &Figures<'_>) -> String {
    let mut text = String::new();
    write_families(&mut text, FAMILIES, |write, out| write(out, figures));
    write_loop(&mut text, figures.net);
    text
}

/// Writes the samples of a family.
type Write = fn(&mut Samples<'_>, &Figures<'_>);

/// A figure belongs to only one family: a collection with its own metric is not in
/// `pilcrow_collection_size`.
const FAMILIES: &[Family<Write>] = families! {
    gauge "pilcrow_build_info", "The version of the program.":
        |out, _| out.each("version", [(env!("CARGO_PKG_VERSION"), 1)]);
    gauge "pilcrow_ready", "1 if the list is complete, 0 during the warm-up.":
        |out, f| out.one(u8::from(f.distributor.warms_up_for(f.net.now()).is_zero()));
    gauge "pilcrow_entries", "Registered nodes.":
        |out, f| out.one(f.distributor.registry().len());
    gauge "pilcrow_list_bytes", "Size of all entries in a list.":
        |out, f| out.one(f.distributor.registry().encoded_bytes());
    counter "pilcrow_revisions_total", "Changes of the list.":
        |out, f| out.one(f.distributor.registry().revision());
    gauge "pilcrow_sessions", "Connections of nodes, by kind of session.":
        |out, f| out.each("kind", f.distributor.view().sessions().map(|(kind, n)| (kind.as_str(), n)));
    counter "pilcrow_registrations_total", "Accepted registrations, of new and of known nodes.":
        |out, f| out.one(f.distributor.stats().registrations);
    counter "pilcrow_departures_total", "Nodes that left, or were replaced by a newer connection.":
        |out, f| {
            let left = |cause| f.distributor.registry().departures(cause);
            out.each("cause", Cause::ALL.map(|cause| (cause.as_str(), left(cause))));
        };
    counter "pilcrow_pushes_total", "Pushes of a change to all watching peers.":
        |out, f| out.one(f.distributor.stats().pushes);
    counter "pilcrow_oversized_pushes_total", "Pushes of a list that plain peers cannot read at once.":
        |out, f| out.one(f.distributor.stats().oversized_pushes);
    counter "pilcrow_lists_sent_total", "Lists and deltas queued for peers.":
        |out, f| out.one(f.distributor.stats().lists_sent);
    counter "pilcrow_suspects_total", "Nodes held as suspect in self-preservation.":
        |out, f| out.one(f.distributor.stats().suspects_held);
    counter "pilcrow_snapshots_persisted_total", "Snapshots written to the state file.":
        |out, f| out.one(f.distributor.snapshot_counts().persisted);
    counter "pilcrow_snapshot_failures_total", "Snapshots that could not be written.":
        |out, f| out.one(f.distributor.snapshot_counts().failures);
    histogram "pilcrow_join_to_last_ack_seconds",
        "Time from a change to its last acknowledgement, of at most one change per second.":
        |out, f| out.buckets(f.distributor.journal().map(Journal::join_to_last_ack));
    histogram "pilcrow_push_write_seconds", "Time spent writing each push.":
        |out, f| out.buckets(f.distributor.journal().map(|journal| &journal.push_writing));
    histogram "pilcrow_turn_seconds", "Time spent in each turn of the loop, without waiting.":
        |out, f| out.buckets(f.distributor.journal().map(|journal| &journal.turns));
    counter "pilcrow_events_total", "Recorded events.":
        |out, f| out.one(f.distributor.journal().map_or(0, Journal::last_number));
    counter "pilcrow_events_suppressed_total", "Events not recorded because of their rate limit.":
        |out, f| out.one(f.distributor.journal().map_or(0, |journal| journal.suppressed));
    counter "pilcrow_limit_hits_total", "Times that a limit was hit, by limit.":
        |out, f| out.each("limit", f.limit_hits());
    counter "pilcrow_rejected_packets_total", "Packets rejected with an errorcode.":
        |out, f| out.one(f.distributor.stats().rejected_packets);
    counter "pilcrow_not_admitted_total", "Connections closed because they are not admitted.":
        |out, f| out.one(f.distributor.stats().not_admitted);
    counter "pilcrow_wrong_protocol_total", "Connections closed because they speak another protocol.":
        |out, f| out.one(f.distributor.stats().wrong_protocol);
    gauge "pilcrow_collection_size", "Number of elements of each internal collection.":
        |out, f| {
            let http = [
                ("http_feeding", f.server.feeding()),
                ("http_waiting", f.waiting),
                ("http_node_texts", f.node_texts),
                ("http_samples", f.samples),
            ];
            out.each("collection", f.distributor.sizes().chain(f.net.sizes()).chain(http));
        };
    gauge "pilcrow_collection_bytes", "Size of each internal buffer that can be large.":
        |out, f| {
            let others = f.distributor.bytes_kept().into_iter().chain(f.net.bytes_kept());
            out.each("collection", others.chain(f.server.bytes_kept()));
        };
    gauge "pilcrow_http_connections", "Open HTTP connections.":
        |out, f| out.one(f.server.connections());
    gauge "pilcrow_http_streams", "Open event streams.":
        |out, f| out.one(f.streams);
    counter "pilcrow_http_requests_total", "Requests.":
        |out, f| out.one(f.counts.requests);
    counter "pilcrow_http_refused_total", "Refusals of bytes that are not a request.":
        |out, f| out.one(f.counts.refused);
    counter "pilcrow_http_not_admitted_total", "Requests that were not admitted.":
        |out, f| out.one(f.counts.not_admitted);
    counter "pilcrow_http_streams_opened_total", "Event streams opened.":
        |out, f| out.one(f.counts.streams_opened);
    counter "pilcrow_http_streams_closed_total",
        "Event streams closed, by their client or because it did not read.":
        |out, f| out.one(f.counts.streams_closed);
    counter "pilcrow_http_events_sent_total", "Events sent, to all streams together.":
        |out, f| out.one(f.counts.events_sent);
};
