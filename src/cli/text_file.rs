//! Small text files that are given by flags.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use tracing::warn;

use crate::cli::failure::{Failure, reason};
use crate::cli::value::shown_path;
use crate::protocol::Token;
use crate::store;
use crate::sys::{Disk, OsDisk};

/// Returns the text of the file that is given with `flag`.
///
/// # Errors
///
/// The exit code is 2 for invalid content, and 1 for a file that cannot be read: it may appear
/// later, as on a mount that comes late.
pub(crate) fn read(flag: &str, file: &Path, max_bytes: u64) -> Result<String, Failure> {
    let bytes = OsDisk::default().read(file, max_bytes);
    let file = shown_path(file);
    match bytes {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
            let why = "invalid content: not UTF-8; save it as text in UTF-8";
            Failure::usage(format!("{flag} {file}: {why}"))
        }),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "; create it, or correct the path",
                ErrorKind::PermissionDenied => "; permit the user of this program to read it",
                ErrorKind::InvalidInput => "; give the path of a regular file",
                ErrorKind::FileTooLarge => "; give a smaller file",
                _ => "",
            };
            let why = reason(&error);
            let message = format!("{flag} {file}: cannot read the file: {why}{remedy}");
            Err(match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::FileTooLarge => Failure::usage(message),
                _ => Failure::failed(message),
            })
        }
    }
}

/// Checks that there is a folder for the file that is given with `flag`.
///
/// A missing one is not created: the path may be wrong, or below a mount that comes late. Other
/// faults of a disk are left to the write: they can end by themselves.
pub(crate) fn check_folder(flag: &str, file: &Path) -> Result<(), Failure> {
    let folder = store::folder_of(file);
    let shown = shown_path(folder);
    let why = match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            format!("folder {shown} does not exist; create it with mkdir -p {shown}")
        }
        Err(error) if error.kind() != ErrorKind::NotADirectory => return Ok(()),
        Ok(_) | Err(_) => format!("{shown} is not a folder; choose a file in a folder"),
    };
    Err(Failure::failed(format!(
        "{flag} {}: {why}",
        shown_path(file)
    )))
}

/// Warns if all users of this machine can read a file with tokens.
pub(crate) fn warn_if_public(file: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(file)
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
    let token = words.find(|word| !word.starts_with('#'));
    let token = token.ok_or("no token in the file; write one on its first line");
    let token = token.and_then(|token| Token::check(token).map(|()| token));
    let token =
        token.map_err(|why| Failure::usage(format!("--token-file {}: {why}", shown_path(file))))?;
    warn_if_public(file);
    Ok(Some(token.to_owned()))
}
