//! The environment beside the flags.

use clap::Command;

/// Lets each flag be given in the environment as well: `--log-level` as LOG_LEVEL behind the prefix.
pub(crate) fn beside_flags(command: Command, prefix: &str) -> Command {
    command.mut_args(|arg| match arg.get_long() {
        Some(long) => {
            let variable = format!("{prefix}{}", long.to_uppercase().replace('-', "_"));
            arg.env(variable)
        }
        None => arg,
    })
}
