//! Reading token files.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::admin::AdminToken;
use crate::cli::failure::Failure;
use crate::cli::text_file;
use crate::distributor::Tokens;

const MAX_FILE_BYTES: u64 = 16 << 20;

/// Returns the tokens of all these files, `None` without a file.
pub(crate) fn read(files: &[PathBuf]) -> Result<Option<Tokens>, Failure> {
    let mut all: Option<Tokens> = None;
    for file in files {
        let tokens = parse("--token-file", file, |text| {
            let tokens = Tokens::parse(text)?;
            if tokens.is_empty() {
                return Err("no token in the file; write one token per line".to_owned());
            }
            Ok(tokens)
        })?;
        if tokens.short() > 0 {
            let (file, short) = (&*file.to_string_lossy(), tokens.short());
            warn!(
                file,
                short, "tokens of fewer than 16 characters can be guessed"
            );
        }
        all.get_or_insert_default().extend(tokens);
    }
    Ok(all)
}

pub(crate) fn read_admin_token(file: &Path) -> Result<AdminToken, Failure> {
    parse("--admin-token-file", file, |text| {
        AdminToken::parse(text).map_err(ToOwned::to_owned)
    })
}

fn parse<T>(
    flag: &str,
    file: &Path,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let text = text_file::read(flag, file, MAX_FILE_BYTES)?;
    let parsed =
        parse(&text).map_err(|why| Failure::usage(format!("{flag} {}: {why}", file.display())))?;
    text_file::warn_if_public(file);
    Ok(parsed)
}
