//! Pilcrow.
#![forbid(unsafe_code)]

pub mod distributor;
pub mod protocol;
pub mod reactor;
pub mod registry;
mod sys;
mod time;

pub use sys::{TcpOptions, Waker};
pub use time::Time;
