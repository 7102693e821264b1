//! The version of the programs.

/// The version of the package, and the commit if the build script found one.
pub(crate) const VERSION: &str = match option_env!("PILCROW_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
