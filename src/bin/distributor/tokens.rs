//! Reading token files.

use std::path::{Path, PathBuf};

use pilcrow::distributor::Tokens;
use pilcrow::store::{Disk, OsDisk};
use tracing::warn;

const MAX_FILE_BYTES: u64 = 16 << 20;

/// The tokens of all these files, `None` if there is no file. The error says what is wrong with one.
pub(crate) fn read(files: &[PathBuf]) -> Result<Option<Tokens>, String> {
    let mut all: Option<Tokens> = None;
    for file in files {
        let tokens = read_one(file).map_err(|why| format!("--token-file {file:?}: {why}"))?;
        all.get_or_insert_default().extend(tokens);
    }
    Ok(all)
}

fn read_one(file: &Path) -> Result<Tokens, String> {
    let bytes = OsDisk::default()
        .read(file, MAX_FILE_BYTES)
        .map_err(|error| format!("cannot read it: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let tokens = Tokens::parse(&text)?;
    if tokens.is_empty() {
        return Err(
            "there is no token in it; a line is a token, and nobody would be admitted".to_owned(),
        );
    }
    if tokens.short() > 0 {
        let short = tokens.short();
        warn!(
            ?file,
            short, "tokens of fewer than 16 characters can be guessed"
        );
    }
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(file)
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o004 != 0
    {
        warn!(
            ?file,
            "everybody on this machine can read the tokens: chmod 600"
        );
    }
    Ok(tokens)
}
