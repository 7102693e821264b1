//! What goes wrong below a process, and how often.

use std::time::Duration;

use super::random::Random;

/// One kind of fault of the system and the network. Whoever drives the simulation adds its own:
/// processes that are killed or paused, peers that lie.
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
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Fault; 34] = [
        Fault::ShortRead,
        Fault::OneByteRead,
        Fault::ReadWouldBlock,
        Fault::ReadInterrupted,
        Fault::ShortWrite,
        Fault::OneByteWrite,
        Fault::WriteWouldBlock,
        Fault::WriteInterrupted,
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
    ];

    /// The most often that a seed may draw it, in 10,000 chances.
    fn most(self) -> u32 {
        match self {
            Fault::ConnectRefusedAtOnce
            | Fault::ConnectFailsLater
            | Fault::SynLost
            | Fault::AcceptAborted => 1_000,
            // It ends a connection for good.
            Fault::Reset => 5,
            Fault::SlowSegment => 300,
            Fault::ConnectImmediate => 5_000,
            _ => 2_500,
        }
    }

    fn number(self) -> usize {
        self as usize
    }
}

/// How often each fault happens, and what the network is like without any.
#[derive(Clone, Debug)]
pub struct Faults {
    weights: [u32; Fault::ALL.len()],
    counts: [u64; Fault::ALL.len()],
    /// Nothing goes wrong while it is not set.
    pub are_on: bool,
    /// From host to host, at least.
    pub latency: Duration,
    /// And up to so much more.
    pub jitter: Duration,
    /// What a system call takes.
    pub call: Duration,
    /// What the kernel holds of what a process wrote.
    pub send_buffer_bytes: usize,
    /// What the kernel holds for a process to read: its window.
    pub receive_buffer_bytes: usize,
}

impl Faults {
    /// A network in which nothing goes wrong.
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

    /// Some faults, each as often as it comes: those that never happen leave room for rare
    /// meetings of the others.
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

    /// Says how often `fault` happens, in 10,000 chances.
    pub fn set(&mut self, fault: Fault, in_ten_thousand: u32) {
        if let Some(weight) = self.weights.get_mut(fault.number()) {
            *weight = in_ten_thousand;
        }
    }

    /// How often `fault` has happened.
    pub fn count(&self, fault: Fault) -> u64 {
        self.counts.get(fault.number()).copied().unwrap_or(0)
    }

    /// Whether `fault` happens now.
    pub(super) fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let weight = self.weights.get(fault.number()).copied().unwrap_or(0);
        let strikes = self.are_on && random.chance(weight);
        if strikes && let Some(count) = self.counts.get_mut(fault.number()) {
            *count += 1;
        }
        strikes
    }
}
