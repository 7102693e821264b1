//! Faults below a process, and their rates.

use std::time::Duration;

use super::random::Random;

/// A kind of fault of the system or the network. The driver of the simulation adds others, such as
/// killed and paused processes and misbehaving peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "named as the error or event that they are")]
pub enum Fault {
    ShortRead,
    OneByteRead,
    ReadWouldBlock,
    ReadInterrupted,
    ShortWrite,
    OneByteWrite,
    WriteWouldBlock,
    WriteInterrupted,
    SlowWrite,
    PollInterrupted,
    SpuriousEvent,
    SpuriousClosedEvent,
    ReorderedEvents,
    StaleEvent,
    AcceptNoFd,
    AcceptNoBuffers,
    AcceptAborted,
    AcceptInterrupted,
    ConnectRefusedAtOnce,
    ConnectImmediate,
    ConnectFailsLater,
    SynLost,
    Reset,
    SmallSegment,
    SlowSegment,
    DiskFull,
    DiskCreateFails,
    DiskShortWrite,
    DiskWriteFails,
    DiskSyncFails,
    DiskRenameFails,
    DiskFolderSyncFails,
    DiskRemoveFails,
    DiskReadFails,
    DiskSlow,
    LookupFails,
    LookupSlow,
}

impl Fault {
    /// All faults, in the order of their numbers.
    pub const ALL: [Fault; 37] = [
        Fault::ShortRead,
        Fault::OneByteRead,
        Fault::ReadWouldBlock,
        Fault::ReadInterrupted,
        Fault::ShortWrite,
        Fault::OneByteWrite,
        Fault::WriteWouldBlock,
        Fault::WriteInterrupted,
        Fault::SlowWrite,
        Fault::PollInterrupted,
        Fault::SpuriousEvent,
        Fault::SpuriousClosedEvent,
        Fault::ReorderedEvents,
        Fault::StaleEvent,
        Fault::AcceptNoFd,
        Fault::AcceptNoBuffers,
        Fault::AcceptAborted,
        Fault::AcceptInterrupted,
        Fault::ConnectRefusedAtOnce,
        Fault::ConnectImmediate,
        Fault::ConnectFailsLater,
        Fault::SynLost,
        Fault::Reset,
        Fault::SmallSegment,
        Fault::SlowSegment,
        Fault::DiskFull,
        Fault::DiskCreateFails,
        Fault::DiskShortWrite,
        Fault::DiskWriteFails,
        Fault::DiskSyncFails,
        Fault::DiskRenameFails,
        Fault::DiskFolderSyncFails,
        Fault::DiskRemoveFails,
        Fault::DiskReadFails,
        Fault::DiskSlow,
        Fault::LookupFails,
        Fault::LookupSlow,
    ];

    /// Returns the maximum rate that a seed may draw, per 10,000 chances.
    fn most(self) -> u32 {
        match self {
            Fault::ConnectRefusedAtOnce
            | Fault::ConnectFailsLater
            | Fault::SynLost
            | Fault::AcceptAborted => 1_000,
            // A reset ends a connection.
            Fault::Reset => 5,
            Fault::SlowSegment => 300,
            // The process is preempted: all others wait too.
            Fault::SlowWrite => 600,
            Fault::ConnectImmediate => 5_000,
            _ => 2_500,
        }
    }

    fn number(self) -> usize {
        self as usize
    }
}

/// Rate of each fault, and the properties of the network.
#[derive(Clone, Debug)]
pub struct Faults {
    weights: [u32; Fault::ALL.len()],
    counts: [u64; Fault::ALL.len()],
    /// Faults strike only while this is set.
    pub are_on: bool,
    /// Minimum latency between hosts.
    pub latency: Duration,
    /// Maximum addition to the latency.
    pub jitter: Duration,
    /// Time of a system call.
    pub call: Duration,
    /// Send buffer, in bytes.
    pub send_buffer_bytes: usize,
    /// Receive buffer, in bytes: the window.
    pub receive_buffer_bytes: usize,
}

impl Faults {
    /// Returns a network without faults.
    pub fn none() -> Faults {
        Faults {
            weights: [0; Fault::ALL.len()],
            counts: [0; Fault::ALL.len()],
            are_on: true,
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(50),
            call: Duration::ZERO,
            send_buffer_bytes: 128 << 10,
            receive_buffer_bytes: 128 << 10,
        }
    }

    /// Draws random faults and their rates. Leaving some out makes rare combinations of the others
    /// more likely.
    pub fn drawn(random: &mut Random) -> Faults {
        let mut faults = Faults::none();
        let share = [0, 1_500, 4_000, 8_000][random.index(4)];
        for fault in Fault::ALL {
            if random.chance(share) {
                let most = u64::from(fault.most());
                let weight = random.between(1, most.max(2)) * random.between(1, 100) / 100;
                faults.set(fault, u32::try_from(weight).unwrap_or(1).max(1));
            }
        }
        faults.latency = random.duration(Duration::from_micros(20), Duration::from_millis(40));
        faults.jitter = random.duration(Duration::from_micros(1), Duration::from_millis(40));
        faults.call = Duration::from_nanos([0, 500, 5_000, 200_000][random.index(4)]);
        faults.send_buffer_bytes = [256, 1 << 10, 16 << 10, 128 << 10][random.index(4)];
        faults.receive_buffer_bytes = [128, 1 << 10, 16 << 10, 128 << 10][random.index(4)];
        faults
    }

    /// Sets the rate of `fault`, per 10,000 chances.
    pub fn set(&mut self, fault: Fault, in_ten_thousand: u32) {
        if let Some(weight) = self.weights.get_mut(fault.number()) {
            *weight = in_ten_thousand;
        }
    }

    /// Returns the number of times that `fault` has struck.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts.get(fault.number()).copied().unwrap_or(0)
    }

    /// Returns whether `fault` strikes now.
    pub(super) fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let weight = self.weights.get(fault.number()).copied().unwrap_or(0);
        let strikes = self.are_on && random.chance(weight);
        if strikes && let Some(count) = self.counts.get_mut(fault.number()) {
            *count += 1;
        }
        strikes
    }
}
