//! CPU time and memory of a process, as the kernel counts them.

use std::fs;
use std::io;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
}

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: f64,
    pub(crate) peak_bytes: f64,
    /// Without the pages of mapped files.
    pub(crate) anonymous_bytes: f64,
}

impl Process {
    /// CPU time of all threads, exact to the nanosecond for those that sleep.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let mut nanos = None;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may end meanwhile.
            let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let first = schedstat.split_whitespace().next();
            if let Some(used) = first.and_then(|nanos| nanos.parse::<u64>().ok()) {
                *nanos.get_or_insert(0) += used;
            }
        }
        nanos.map_or_else(
            || self.cpu_in_ticks(),
            |nanos| Ok(Duration::from_nanos(nanos)),
        )
    }

    /// For kernels without scheduler statistics.
    fn cpu_in_ticks(self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name of the program may contain anything; the last parenthesis ends it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    }

    pub(crate) fn memory(self) -> io::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or(0.0) * 1024.0
        };
        Ok(Memory {
            resident_bytes: bytes("VmRSS:"),
            // The kernel updates its peak now and then only.
            peak_bytes: bytes("VmHWM:").max(bytes("VmRSS:")),
            anonymous_bytes: bytes("RssAnon:"),
        })
    }
}

/// Returns the CPU time between two looks.
pub(crate) fn used(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    Some(after?.saturating_sub(before?))
}
