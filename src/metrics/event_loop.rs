//! Metrics of the event loop.

use super::text::Samples;
use super::{Family, families, write_families};
use crate::reactor::{Counters, Net};

/// Writes the metrics of the loop.
pub(crate) fn write_loop(text: &mut String, net: &Net) {
    write_families(text, FAMILIES, |write, out| write(out, net.counters()));
}

/// Writes the samples of a family.
type Write = fn(&mut Samples<'_>, &Counters);

const FAMILIES: &[Family<Write>] = families! {
    counter "pilcrow_stalls_total", "Times that the process was stopped or starved.":
        |out, counters| out.one(counters.stalls);
    counter "pilcrow_connections_accepted_total", "Accepted connections, HTTP included.":
        |out, counters| out.one(counters.accepted);
    counter "pilcrow_connections_closed_total", "Connections that ended.":
        |out, counters| out.one(counters.closed);
    counter "pilcrow_limits_broken_total", "Connections that broke a limit, HTTP included.":
        |out, counters| out.one(counters.limits_broken);
    counter "pilcrow_frames_read_total", "Frames read.":
        |out, counters| out.one(counters.frames_read);
    counter "pilcrow_read_bytes_total", "Bytes read.":
        |out, counters| out.one(counters.bytes_read);
    counter "pilcrow_written_bytes_total", "Bytes written.":
        |out, counters| out.one(counters.bytes_written);
    counter "pilcrow_writes_total", "System calls that wrote bytes.":
        |out, counters| out.one(counters.writes);
    counter "pilcrow_stale_total", "Events for connections that were gone.":
        |out, counters| out.one(counters.stale);
    counter "pilcrow_write_seconds_total", "Time spent writing.":
        |out, counters| out.one(counters.flush_time.as_secs_f64());
};
