//! A network in one thread, in virtual time, with faults that follow from a seed.
//!
//! A [`World`] has hosts, and on them processes. A [`Process`] is what a
//! [`Reactor`](crate::reactor::Reactor) of the production code runs on in place of an operating
//! system, or what a test moves sockets with by hand. Whoever drives it says which process is turned
//! when, and lets time pass: nothing here waits.
//!
//! What is modelled is what bites: windows and buffers that fill, edges that are told once, resets
//! that destroy what was queued, connections that are open on one side only, errors of every call;
//! and disks that fail at each step, and lose at a crash what was not synced.

mod disk;
mod faults;
mod files;
mod handshake;
mod host;
mod ids;
mod inner;
mod kernel;
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
