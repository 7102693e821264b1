//! Reading token files.

use std::path::{Path, PathBuf};

use crate::distributor::Tokens;
use tracing::warn;

use crate::cli::failure::Failure;
use crate::cli::text_file;

const MAX_FILE_BYTES: u64 = 16 << 20;

/// Returns the tokens of all these files, `None` if there is no file.
pub(crate) fn read(files: &[PathBuf]) -> Result<Option<Tokens>, Failure> {
    let mut all: Option<Tokens> = None;
    for file in files {
        all.get_or_insert_default().extend(read_one(file)?);
    }
    Ok(all)
}

fn read_one(file: &Path) -> Result<Tokens, Failure> {
    let wrong = |why| Failure::usage(format!("--token-file {}: {why}", file.display()));
    let text = text_file::read("--token-file", file, MAX_FILE_BYTES)?;
    let tokens = Tokens::parse(&text).map_err(wrong)?;
    if tokens.is_empty() {
        let why = "there is no token in it; a line is a token, and nobody would be admitted";
        return Err(wrong(why.to_owned()));
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
