//! Figures in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::answer::Answer;
use super::desk::Counts;
use crate::distributor::{Distributor, Histogram};
use crate::http::Server;
use crate::reactor::Net;
use crate::registry::Registry;
use crate::time::Time;

/// Families of figures, each with its help and type once.
#[derive(Default)]
struct Text(String);

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

use Kind::{Counter, Gauge};

impl Text {
    /// Begins a family. All its samples follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = match label {
            None => writeln!(self.0, "{name} {value}"),
            Some((label, of)) => writeln!(self.0, "{name}{{{label}=\"{}\"}} {value}", escaped(of)),
        };
    }

    fn single(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.family(name, kind.as_str(), help);
        self.sample(name, None, value);
    }

    fn labelled<'l, V: Display>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, V)>,
    ) {
        self.family(name, kind.as_str(), help);
        for (of, value) in values {
            self.sample(name, Some((label, of)), value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let buckets = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            let bound = bound.as_secs_f64().to_string();
            self.sample(&buckets, Some(("le", &bound)), count);
        }
        self.sample(&buckets, Some(("le", "+Inf")), histogram.count());
        self.sample(&format!("{name}_sum"), None, histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), None, histogram.count());
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
        }
    }
}

/// As it stands in the quotes of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The last figures, for when very many ask at once: then they share them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    window_began_at: Time,
    answered: u32,
    last: Option<Answer>,
}

/// In this time
const WINDOW: Duration = Duration::from_millis(200);
/// so many get figures of their own,
const MOST_FRESH: u32 = 8;
/// or as many as can be made in a hundredth of it, but one at least. Each connection is looked at.
const MOST_TIME: Duration = Duration::from_millis(2);
const COST: Duration = Duration::from_micros(40);
const COST_OF_CONNECTION: Duration = Duration::from_nanos(30);

impl Shared {
    /// The figures that were made last, if enough were made lately.
    pub(super) fn get(
        &mut self,
        now: Time,
        connections: usize,
        make: impl FnOnce() -> Answer,
    ) -> &Answer {
        if now.saturating_since(self.window_began_at) >= WINDOW {
            (self.window_began_at, self.answered) = (now, 0);
        }
        let connections = u32::try_from(connections).unwrap_or(u32::MAX);
        let cost = COST + COST_OF_CONNECTION * connections;
        let affordable = MOST_TIME.as_nanos() / cost.as_nanos();
        if u128::from(self.answered) < affordable.clamp(1, u128::from(MOST_FRESH)) {
            self.answered += 1;
            self.last = None;
        }
        self.last.get_or_insert_with(make)
    }
}

/// All figures. `followers` are streams of events, `waiting` requests without an answer, and
/// `node_texts` what was made of nodes' own words.
pub(super) fn answer(
    net: &Net,
    server: &Server,
    distributor: &Distributor,
    counts: &Counts,
    followers: usize,
    waiting: usize,
    node_texts: usize,
) -> Answer {
    let mut text = Text::default();
    nodes(&mut text, net, distributor);
    times(&mut text, distributor);
    limits(&mut text, net, server, distributor, counts);
    let own = [
        ("http_connections", server.connections()),
        ("http_feeding", server.feeding()),
        ("http_streams", followers),
        ("http_waiting", waiting),
        ("http_node_texts", node_texts),
    ];
    sizes(&mut text, net, server, distributor, own);
    the_loop(&mut text, net);
    http(&mut text, server, counts, followers);
    Answer {
        status: 200,
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        more: &[],
        body: text.0.into_bytes(),
    }
}

fn nodes(text: &mut Text, net: &Net, distributor: &Distributor) {
    let (registry, stats) = (distributor.registry(), distributor.stats());
    let is_complete = distributor.warms_up_for(net.now()).is_zero();
    text.labelled(
        Gauge,
        "pilcrow_build_info",
        "Which version this is.",
        "version",
        [(env!("CARGO_PKG_VERSION"), 1)],
    );
    text.single(
        Gauge,
        "pilcrow_ready",
        "Whether the list is complete: 0 while warming up.",
        u8::from(is_complete),
    );
    text.single(
        Gauge,
        "pilcrow_entries",
        "Registered nodes.",
        registry.len(),
    );
    text.single(
        Gauge,
        "pilcrow_list_bytes",
        "What all entries take in a list.",
        registry.encoded_bytes(),
    );
    text.single(
        Counter,
        "pilcrow_revisions_total",
        "Changes of the list.",
        registry.revision(),
    );
    let sessions = distributor
        .sessions()
        .map(|(kind, count)| (kind.as_str(), count));
    text.labelled(
        Gauge,
        "pilcrow_sessions",
        "Connections, by what they asked for.",
        "kind",
        sessions,
    );
    text.single(
        Counter,
        "pilcrow_registrations_total",
        "Registrations that were taken, of new nodes and in place of old ones.",
        stats.registrations,
    );
    let departures = Registry::CAUSES.map(|cause| (cause.as_str(), registry.departures(cause)));
    text.labelled(
        Counter,
        "pilcrow_departures_total",
        "Nodes that left, or that a newer connection took the place of.",
        "cause",
        departures,
    );
    text.single(
        Counter,
        "pilcrow_pushes_total",
        "Times that a change was sent to all who watch.",
        stats.pushes,
    );
    text.single(
        Counter,
        "pilcrow_oversized_pushes_total",
        "Pushes of a list that is longer than existing peers read at once.",
        stats.oversized_pushes,
    );
    text.single(
        Counter,
        "pilcrow_lists_sent_total",
        "Lists and deltas queued for peers.",
        stats.lists_sent,
    );
    text.single(
        Counter,
        "pilcrow_suspects_total",
        "Nodes that fell silent with many others, and were held.",
        stats.suspects_held,
    );
    text.single(
        Counter,
        "pilcrow_states_kept_total",
        "Times that the list was written to the state file.",
        stats.states_kept,
    );
    text.single(
        Counter,
        "pilcrow_state_failures_total",
        "Times that it could not be.",
        stats.state_failures,
    );
}

fn times(text: &mut Text, distributor: &Distributor) {
    let Some(journal) = distributor.journal() else {
        return;
    };
    text.histogram(
        "pilcrow_join_to_last_ack_seconds",
        "From a change until the last session had applied it; at most one change a second.",
        journal.join_to_last_ack(),
    );
    text.histogram(
        "pilcrow_push_write_seconds",
        "What writing took of each push to all who watch.",
        journal.push_writing(),
    );
    text.histogram(
        "pilcrow_turn_seconds",
        "How long the turns of the loop took, without their waiting.",
        journal.turns(),
    );
    text.single(
        Counter,
        "pilcrow_events_total",
        "Events so far.",
        journal.last_number(),
    );
    text.single(
        Counter,
        "pilcrow_events_left_out_total",
        "Events that were not kept because strangers cause too many.",
        journal.suppressed(),
    );
}

fn limits(text: &mut Text, net: &Net, server: &Server, distributor: &Distributor, counts: &Counts) {
    let (stats, counters, http) = (distributor.stats(), net.counters(), server.limit_hits());
    text.labelled(
        Counter,
        "pilcrow_limit_hits_total",
        "Times that a limit was hit, by limit.",
        "limit",
        [
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
            ("http_connections", http.connections),
            ("http_head_bytes", http.head_bytes),
            ("http_body_bytes", http.body_bytes),
            ("http_request_timeout", http.request_timeout),
            ("http_response_timeout", http.response_timeout),
            ("http_held_bytes", http.held_bytes),
            ("http_unread_bytes", http.unread_bytes),
            ("http_stream_backlog_bytes", http.stream_backlog_bytes),
            ("http_write_timeout", http.write_timeout),
            ("http_streams", counts.streams_refused),
        ],
    );
    text.single(
        Counter,
        "pilcrow_refused_packets_total",
        "Packets that were answered with an errorcode.",
        stats.rejected_packets,
    );
    text.single(
        Counter,
        "pilcrow_not_admitted_total",
        "Connections closed because they are not admitted.",
        stats.not_admitted,
    );
    text.single(
        Counter,
        "pilcrow_foreign_connections_total",
        "Connections closed because they spoke another protocol.",
        stats.wrong_protocol,
    );
}

fn sizes(
    text: &mut Text,
    net: &Net,
    server: &Server,
    distributor: &Distributor,
    own: [(&'static str, usize); 5],
) {
    let all = distributor.sizes().chain(net.sizes()).chain(own);
    text.labelled(
        Gauge,
        "pilcrow_collection_size",
        "How many things are kept of each kind.",
        "collection",
        all,
    );
    let [requests, responses] = server.bytes_kept().map(|(_, bytes)| bytes);
    let own = [("http_requests", requests), ("http_responses", responses)];
    let all = distributor.bytes_kept().into_iter();
    let all = all.chain(net.bytes_kept()).chain(own);
    text.labelled(
        Gauge,
        "pilcrow_collection_bytes",
        "What they take, of those that can be long.",
        "collection",
        all,
    );
}

fn the_loop(text: &mut Text, net: &Net) {
    let counters = net.counters();
    for (name, help, value) in [
        ("pilcrow_turns_total", "Turns of the loop.", counters.turns),
        (
            "pilcrow_stalls_total",
            "Times that the process stood still.",
            counters.stalls,
        ),
        (
            "pilcrow_connections_accepted_total",
            "Connections accepted, those of HTTP included.",
            counters.accepted,
        ),
        (
            "pilcrow_connections_closed_total",
            "Connections that ended.",
            counters.closed,
        ),
        (
            "pilcrow_limits_broken_total",
            "Connections that broke a limit of size or time, those of HTTP included.",
            counters.limits_broken,
        ),
        (
            "pilcrow_frames_read_total",
            "Frames read.",
            counters.frames_read,
        ),
        (
            "pilcrow_read_bytes_total",
            "Bytes read.",
            counters.bytes_read,
        ),
        (
            "pilcrow_written_bytes_total",
            "Bytes written.",
            counters.bytes_written,
        ),
        (
            "pilcrow_writes_total",
            "System calls that wrote something.",
            counters.writes,
        ),
        (
            "pilcrow_stale_total",
            "Events for connections that were gone.",
            counters.stale,
        ),
    ] {
        text.single(Counter, name, help, value);
    }
    text.single(
        Counter,
        "pilcrow_write_seconds_total",
        "Time spent writing.",
        counters.flush_time.as_secs_f64(),
    );
}

fn http(text: &mut Text, server: &Server, counts: &Counts, followers: usize) {
    text.single(
        Gauge,
        "pilcrow_http_connections",
        "Open connections for HTTP.",
        server.connections(),
    );
    text.single(
        Gauge,
        "pilcrow_http_streams",
        "Open streams of events.",
        followers,
    );
    for (name, help, value) in [
        ("pilcrow_http_requests_total", "Requests.", counts.requests),
        (
            "pilcrow_http_refused_total",
            "What was refused before it was a request.",
            counts.refused,
        ),
        (
            "pilcrow_http_not_admitted_total",
            "Requests that were not admitted.",
            counts.not_admitted,
        ),
        (
            "pilcrow_http_streams_opened_total",
            "Streams of events so far.",
            counts.streams_opened,
        ),
        (
            "pilcrow_http_streams_closed_total",
            "Streams that ended, by their client or because it did not read.",
            counts.streams_ended,
        ),
        (
            "pilcrow_http_events_sent_total",
            "Events sent, to all streams together.",
            counts.events_sent,
        ),
    ] {
        text.single(Counter, name, help, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_get_their_own_figures_and_many_share() {
        let (mut shared, mut made) = (Shared::default(), 0);
        let mut ask = |millis| {
            shared.get(Time::from_millis(millis), 1000, || {
                made += 1;
                Answer::text(200, made.to_string())
            });
            made
        };
        let all: Vec<u32> = (1000..1020).map(&mut ask).collect();
        assert_eq!((all[7], all[19]), (8, 8));
        assert_eq!((ask(1199), ask(1200), ask(1201)), (8, 9, 10));
    }

    #[test]
    fn figures_that_cost_more_are_made_less_often() {
        for (connections, fresh) in [(0, 8), (5_000, 8), (19_000, 3), (1_000_000, 1)] {
            let (mut shared, mut made) = (Shared::default(), 0);
            for _ in 0..20 {
                shared.get(Time::from_millis(1000), connections, || {
                    made += 1;
                    Answer::text(200, "")
                });
            }
            assert_eq!(made, fresh, "{connections}");
        }
    }

    #[test]
    fn a_label_stays_in_its_quotes() {
        let mut text = Text::default();
        text.sample("a", Some(("b", "c\"d\\e\nf")), 1);
        assert_eq!(text.0, "a{b=\"c\\\"d\\\\e\\nf\"} 1\n");
    }
}
