//! The load tool as a program.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    pilcrow::cli::flood::main()
}
