//! Small text files that are given by flags.

use std::io::ErrorKind;
use std::path::Path;

use tracing::warn;

use crate::cli::failure::Failure;
use crate::sys::{Disk, OsDisk};

/// Returns the text of the file that is given with `flag`.
///
/// # Errors
///
/// The exit code is 2 for invalid content, and 1 for a file that cannot be read: it may appear
/// later, as on a mount that comes late.
pub(crate) fn read(flag: &str, file: &Path, max_bytes: u64) -> Result<String, Failure> {
    let bytes = OsDisk::default().read(file, max_bytes);
    let file = file.display();
    match bytes {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("{flag} {file}: invalid content: not UTF-8"))),
        Err(error) => {
            let message = format!("{flag} {file}: cannot read the file: {error}");
            Err(match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::FileTooLarge => Failure::usage(message),
                _ => Failure::failed(message),
            })
        }
    }
}

/// Warns if all users of this machine can read a file with tokens.
pub(crate) fn warn_if_public(file: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(file)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o004 != 0
    {
        warn!(
            file = &*file.to_string_lossy(),
            "token file is readable by all users; run chmod o-r"
        );
    }
}

const MAX_TOKEN_FILE_BYTES: u64 = 64 << 10;

/// Returns the first word in the file of `--token-file` that does not begin a comment.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(file) = file else {
        return Ok(None);
    };
    let text = read("--token-file", file, MAX_TOKEN_FILE_BYTES)?;
    let mut words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let Some(token) = words.find(|word| !word.starts_with('#')) else {
        return Err(Failure::usage(format!(
            "--token-file {}: no token in the file; write one on its first line",
            file.display()
        )));
    };
    warn_if_public(file);
    Ok(Some(token.to_owned()))
}
