//! Reading token files, and reading them again while the Distributor serves.

use std::path::{Path, PathBuf};

use crate::distributor::Tokens;
use tracing::{info, warn};

use crate::cli::handover::Handover;
use crate::cli::text_file;

const MAX_FILE_BYTES: u64 = 16 << 20;

/// Reads the files again, for whoever takes them. A mistake in one is said, and changes nothing.
pub(crate) fn read_again(files: &[PathBuf], tokens: &Handover<Tokens>) {
    match read(files) {
        Ok(Some(read)) => {
            info!(tokens = read.len(), "SIGHUP: read the tokens again");
            tokens.put(read);
        }
        Ok(None) => {}
        Err(why) => warn!("SIGHUP: the tokens stay as they were: {why}"),
    }
}

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
    let text = text_file::read(file, MAX_FILE_BYTES)?;
    let tokens = Tokens::parse(&text)?;
    if tokens.is_empty() {
        return Err(
            "there is no token in it; a line is a token, and nobody would be admitted".to_owned(),
        );
    }
    if tokens.short() > 0 {
        let short = tokens.short();
        warn!(
            file = &*file.to_string_lossy(),
            short, "tokens of fewer than 16 characters can be guessed"
        );
    }
    text_file::warn_if_public(file);
    Ok(tokens)
}
