//! What a process has used so far, as the kernel counts it.

use std::fs;
use std::io;
use std::time::Duration;

/// A process to be watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
}

/// What it uses of memory.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    pub(crate) peak_bytes: u64,
    /// Its own, and not that of files it has mapped.
    pub(crate) anonymous_bytes: u64,
}

impl Process {
    /// Processor time of all its threads. Exact to the nanosecond for those that sleep.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        let mut counted = false;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may end meanwhile.
            let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let first = schedstat.split_whitespace().next();
            if let Some(nanos) = first.and_then(|nanos| nanos.parse().ok()) {
                total += Duration::from_nanos(nanos);
                counted = true;
            }
        }
        match counted {
            true => Ok(total),
            false => self.cpu_in_ticks(),
        }
    }

    /// Where the kernel keeps no scheduler statistics.
    fn cpu_in_ticks(self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name before it may hold anything, but the last parenthesis ends it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    }

    pub(crate) fn memory(self) -> io::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let resident_bytes = field(&status, "VmRSS:");
        Ok(Memory {
            resident_bytes,
            // The kernel counts its peak now and then only.
            peak_bytes: field(&status, "VmHWM:").max(resident_bytes),
            anonymous_bytes: field(&status, "RssAnon:"),
        })
    }
}

/// A field of `/proc/PID/status`, which are in KiB.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let this = Process {
            pid: std::process::id(),
        };
        let memory = this.memory().unwrap();
        assert!(memory.anonymous_bytes > 0);
        assert!(memory.resident_bytes >= memory.anonymous_bytes);
        assert!(memory.peak_bytes > 0);
        let before = this.cpu().unwrap();
        while this.cpu().unwrap() == before {}
        assert!(this.cpu_in_ticks().is_ok());
        let none = Process { pid: u32::MAX };
        assert!(none.cpu().is_err() && none.memory().is_err());
    }
}
