//! A simulated network in one thread and in virtual time, with faults that a seed determines.
//!
//! A [`World`] has hosts, and hosts have processes. A [`Process`] replaces the operating system
//! below a [`Reactor`](crate::reactor::Reactor), or gives a test sockets to operate itself. The
//! test decides when each process is turned, and advances the time: nothing here waits.
//!
//! The model covers the sources of bugs: windows and buffers that fill, edges that are reported
//! once, resets that destroy queued bytes, connections that are open on one side only, and errors
//! of every call; disks that fail at each step, and lose unsynced data in a crash.

#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "for the state file"))]
mod disk;
mod faults;
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "for the state file"))]
mod files;
mod handshake;
mod host;
mod ids;
mod inner;
mod kernel;
mod names;
mod pending_lookup;
mod process;
mod process_state;
mod random;
mod socket;
mod system;
mod tcp;
mod trace;
mod world;

#[cfg(test)]
mod tests;

pub use disk::HostDisk;
pub use faults::{Fault, Faults};
pub use files::Files;
pub use ids::{HostId, ProcessId};
pub use process::{Process, Socket};
pub use random::Random;
pub use socket::{Facts, Link};
pub use world::World;
