//! Copies the project, with all mistakes in it and a switch for each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::table::{MUTANTS, Mutant};

/// Stands for the switch in [`Mutant::replace`].
const SWITCH: &str = "MUTANT";

/// The module that the copy has and the project has not.
const SWITCH_MODULE: &str = r#"
mod mutants {
    use std::sync::LazyLock;

    static MADE: LazyLock<Option<usize>> = LazyLock::new(|| {
        let name = std::env::var("MUTANT").ok()?;
        let place = NAMES.iter().position(|known| *known == name);
        Some(place.unwrap_or_else(|| panic!("unknown mutant: {name}")))
    });

    pub(crate) fn is_made(mutant: usize) -> bool {
        *MADE == Some(mutant)
    }
"#;

/// The text of `file` with all of its mutants.
///
/// Fails if the line that a mutant replaces is not there exactly once.
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
                "{}: {count} lines of {file} are `{}`, not exactly one: mend tests/mutants/table.rs",
                mutant.name, mutant.find
            ));
        }
        let switch = format!("crate::mutants::is_made({number})");
        let lines = text.lines().map(|line| match line.trim() == mutant.find {
            true => mutant.replace.replace(SWITCH, &switch),
            false => line.to_owned(),
        });
        text = lines.collect::<Vec<_>>().join("\n") + "\n";
    }
    Ok(text)
}

/// What is wrong with the table, a line each.
pub fn faults(root: &Path, mutants: &[Mutant]) -> Vec<String> {
    let fault = |mutant: &Mutant| match fs::read_to_string(root.join(mutant.file)) {
        Ok(text) => mutated(mutant.file, &text, std::slice::from_ref(mutant)).err(),
        Err(error) => Some(format!("{}: {}: {error}", mutant.name, mutant.file)),
    };
    mutants.iter().filter_map(fault).collect()
}

/// Makes `copy` a package like `root`, with the mutants in its `src`. All else is linked to.
///
/// Files that are as they should be are left alone, so that nothing is built again for them.
pub fn generate(root: &Path, copy: &Path) -> Result<(), String> {
    let faults = faults(root, MUTANTS);
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let failed = |error: io::Error| format!("{}: {error}", copy.display());
    fs::create_dir_all(copy).map_err(failed)?;
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == "src" || name == "target" || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let link = copy.join(&name);
        if !link.exists() {
            std::os::unix::fs::symlink(entry.path(), link).map_err(failed)?;
        }
    }
    let files = files(&root.join("src")).map_err(failed)?;
    for old in self::files(&copy.join("src")).unwrap_or_default() {
        if !files.contains(&old) {
            fs::remove_file(copy.join("src").join(old)).map_err(failed)?;
        }
    }
    for file in files {
        let bytes = fs::read(root.join("src").join(&file)).map_err(failed)?;
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => {
                let name = format!("src/{}", file.display());
                let mut text = mutated(&name, &text, MUTANTS)?;
                if name == "src/lib.rs" {
                    let names: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
                    text += SWITCH_MODULE;
                    text += &format!("\n    const NAMES: &[&str] = &{names:?};\n}}\n");
                }
                text.into_bytes()
            }
            Err(other) => other.into_bytes(),
        };
        let to = copy.join("src").join(&file);
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        fs::write(&to, bytes).map_err(failed)?;
    }
    Ok(())
}

/// All files under `folder`, as paths that begin there.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => found.extend(
                files(&entry.path())?
                    .into_iter()
                    .map(|file| name.join(file)),
            ),
            false => found.push(name),
        }
    }
    Ok(found)
}
