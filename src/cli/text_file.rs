//! Small files with text.

use std::path::Path;

use std::io::ErrorKind;

use tracing::warn;

use crate::cli::failure::Failure;
use crate::store::{Disk, OsDisk};

/// Returns the text of the file that is given with `flag`.
///
/// A file that cannot be read now may be there later, as on a mount that comes late: only what is
/// wrong with its content is an error of usage.
pub(crate) fn read(flag: &str, file: &Path, max_bytes: u64) -> Result<String, Failure> {
    let bytes = OsDisk::default().read(file, max_bytes);
    let file = file.display();
    match bytes {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("{flag} {file}: it is not UTF-8"))),
        Err(error) => {
            let message = format!("{flag} {file}: cannot read it: {error}");
            Err(match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::FileTooLarge => Failure::usage(message),
                _ => Failure::failed(message),
            })
        }
    }
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

/// Returns the first word of the first line that has one and is not a comment.
pub(crate) fn first_token(flag: &str, file: &Path) -> Result<String, Failure> {
    let text = read(flag, file, MAX_TOKEN_FILE_BYTES)?;
    let mut words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    words
        .find(|word| !word.starts_with('#'))
        .map(ToOwned::to_owned)
        .ok_or_else(|| {
            Failure::usage(format!(
                "{flag} {}: there is no token in it",
                file.display()
            ))
        })
}
