//! The programs, and their shared parts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "programs print")]

mod address;
mod background;
mod config_file;
pub mod distributor;
mod failure;
pub mod flood;
pub mod gateway;
mod generate;
mod help;
mod http_error;
mod listen;
mod log;
mod print;
mod program;
mod service_manager;
mod settings;
mod table;
mod terminal;
mod text_file;
mod usage_error;
mod value;
mod version;
