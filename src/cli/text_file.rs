//! Small files with text.

use std::path::Path;

use crate::store::{Disk, OsDisk};
use tracing::warn;

/// All of it. The error says what is wrong with the file, and not which one it is.
pub(crate) fn read(file: &Path, max_bytes: u64) -> Result<String, String> {
    let bytes = OsDisk::default()
        .read(file, max_bytes)
        .map_err(|error| format!("cannot read it: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// Warns if others than those who are meant to can read the file.
pub(crate) fn warn_if_public(file: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(file)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o004 != 0
    {
        warn!(
            file = &*file.to_string_lossy(),
            "everybody on this machine can read the tokens: chmod o-r"
        );
    }
}

const MAX_TOKEN_FILE_BYTES: u64 = 64 << 10;

/// The first word of the first line that has one and is no comment.
pub(crate) fn first_token(file: &Path) -> Result<String, String> {
    let text = read(file, MAX_TOKEN_FILE_BYTES)?;
    let mut words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    words
        .find(|word| !word.starts_with('#'))
        .map(ToOwned::to_owned)
        .ok_or_else(|| "there is no token in it".to_owned())
}
