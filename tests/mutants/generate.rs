//! Copies the project with all mutants in it, each behind a switch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::table::{MUTANTS, Mutant};

/// The placeholder of the switch in [`Mutant::replace`].
const SWITCH: &str = "MUTANT";

/// The file to which the copy adds the module of the switches.
const LIBRARY: &str = "src/lib.rs";

const SWITCH_MODULE: &str = r#"
mod mutants {
    use std::sync::LazyLock;

    static ENABLED: LazyLock<Option<usize>> = LazyLock::new(|| {
        let name = std::env::var("MUTANT").ok()?;
        let place = NAMES.iter().position(|known| *known == name);
        Some(place.unwrap_or_else(|| panic!("unknown mutant: {name}")))
    });

    pub(crate) fn is_enabled(mutant: usize) -> bool {
        *ENABLED == Some(mutant)
    }
"#;

/// Returns the text of `file` with all of its mutants.
///
/// Fails unless the line that a mutant replaces is there exactly once.
pub fn mutated(file: &str, text: &str, mutants: &[Mutant]) -> Result<String, String> {
    let mut text = text.to_owned();
    for (number, mutant) in mutants.iter().enumerate() {
        if mutant.file != file {
            continue;
        }
        if !mutant.replace.contains(SWITCH) {
            return Err(format!("{}: `replace` lacks {SWITCH}", mutant.name));
        }
        let is_found = |line: &&str| line.trim() == mutant.find;
        let count = text.lines().filter(is_found).count();
        if count != 1 {
            return Err(format!(
                "{}: {count} lines of {file} are `{}`, not exactly one: update tests/mutants/table.rs",
                mutant.name, mutant.find
            ));
        }
        let switch = format!("crate::mutants::is_enabled({number})");
        let lines = text.lines().map(|line| {
            if line.trim() == mutant.find {
                mutant.replace.replace(SWITCH, &switch)
            } else {
                line.to_owned()
            }
        });
        text = lines.collect::<Vec<_>>().join("\n") + "\n";
    }
    Ok(text)
}

/// Returns the faults of the table.
pub fn faults(root: &Path, mutants: &[Mutant]) -> Vec<String> {
    let fault = |mutant: &Mutant| match fs::read_to_string(root.join(mutant.file)) {
        Ok(text) => mutated(mutant.file, &text, std::slice::from_ref(mutant)).err(),
        Err(error) => Some(format!("{}: {}: {error}", mutant.name, mutant.file)),
    };
    mutants.iter().filter_map(fault).collect()
}

/// Makes `copy` a copy of the package `root`, with the mutants in its `src`.
///
/// Files with the right content are not written again, so that Cargo does not rebuild them.
pub fn generate(root: &Path, copy: &Path) -> Result<(), String> {
    let faults = faults(root, MUTANTS);
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    fill(root, copy).map_err(|error| format!("{}: {error}", copy.display()))
}

fn fill(root: &Path, copy: &Path) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let link = copy.join(&name);
        if name != ".git" && name != "src" && name != "target" && name != "tests" && !link.exists()
        {
            std::os::unix::fs::symlink(root.join(&name), link)?;
        }
    }
    for folder in ["src", "tests"] {
        let wanted = files(root, Path::new(folder))?;
        for old in files(copy, Path::new(folder)).unwrap_or_default() {
            if !wanted.contains(&old) {
                fs::remove_file(copy.join(old))?;
            }
        }
        for file in wanted {
            let bytes = content(root, &file)?;
            let to = copy.join(&file);
            if fs::read(&to).is_ok_and(|old| old == bytes) {
                continue;
            }
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&to, bytes)?;
        }
    }
    Ok(())
}

/// Returns the bytes of the copy of `file`.
fn content(root: &Path, file: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(root.join(file))?;
    let (Some(name), Ok(text)) = (file.to_str(), std::str::from_utf8(&bytes)) else {
        return Ok(bytes);
    };
    let mut text = mutated(name, text, MUTANTS).map_err(io::Error::other)?;
    if name == LIBRARY {
        let names: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        text += &format!("{SWITCH_MODULE}\n    const NAMES: &[&str] = &{names:?};\n}}\n");
    }
    Ok(text.into_bytes())
}

/// Returns the files in `folder`, as paths relative to `root`.
fn files(root: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(files(root, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
