//! The Distributor as a program.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    pilcrow::cli::distributor::main()
}
