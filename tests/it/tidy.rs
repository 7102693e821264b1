//! Words and names that no line of the project may have.

use std::fs;
use std::path::{Path, PathBuf};

const MAX_COLUMNS: usize = 100;

/// Pronouns in place of a connection, a peer, a node or a client.
const PRONOUNS: [&str; 4] = ["whoever", "nobody", "somebody", "everybody"];

/// First words of a doc comment that names no subject.
const OPENINGS: [&str; 12] = [
    "Who", "Whoever", "Whose", "What", "Whatever", "How", "Whether", "Where", "When", "Which",
    "Somebody", "Nobody",
];

/// Names that were replaced by the field's terms.
const REPLACED_NAMES: [&str; 18] = [
    "is_made",
    "mistakes",
    "desk",
    "Desk",
    "herd",
    "Herd",
    "Manners",
    "Asked",
    "Farewell",
    "Handover",
    "Fleet",
    "Outcome",
    "Observed",
    "UnsavedState",
    "tell_news",
    "turn_to",
    "go_on",
    "orphans",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Sources outside `src`, without this file, which has the words that it looks for.
fn sources_of_tests() -> Vec<PathBuf> {
    let folders = ["tests", "examples", "benches", "fuzz/src", "fuzz/tests"];
    let all = folders.iter().flat_map(|folder| files(folder, &["rs"]));
    all.filter(|path| !path.ends_with("tests/it/tidy.rs"))
        .collect()
}

/// README, ARCHITECTURE and the like, and all of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut documents = files("docs", &["md"]);
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    documents
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Returns the text of a doc comment that begins at this line.
fn opening<'a>(line: &'a str, line_before: &str) -> Option<&'a str> {
    let doc = |line: &'a str| {
        let line = line.trim_start();
        line.strip_prefix("///").or(line.strip_prefix("//!"))
    };
    let before = line_before.trim_start();
    let continues = before.starts_with("///") || before.starts_with("//!");
    if continues {
        return None;
    }
    doc(line).map(str::trim_start)
}

/// Returns the fault of a line of any source file.
fn fault_of_source(line: &str, line_before: &str) -> Option<String> {
    let first_word = opening(line, line_before).and_then(|text| words(text).next());
    if let Some(word) = first_word.filter(|word| OPENINGS.contains(word)) {
        return Some(format!("a doc comment opens with {word}"));
    }
    if line.trim_start().starts_with("//") && line.chars().count() > MAX_COLUMNS {
        return Some(format!("a comment of more than {MAX_COLUMNS} columns"));
    }
    fault_of_words(line)
}

/// Returns the fault of a line of `src`. In tests, a fleet is a fleet.
fn replaced_name(line: &str) -> Option<String> {
    let name = words(line).find(|word| REPLACED_NAMES.contains(word))?;
    Some(format!("{name} was replaced by a term of the field"))
}

fn fault_of_words(line: &str) -> Option<String> {
    let is_pronoun = |word: &&str| PRONOUNS.contains(&word.to_lowercase().as_str());
    let word = words(line).find(is_pronoun)?;
    Some(format!("{word} is not a noun of the domain"))
}

/// Returns the faults of a document, as `path:line: fault`.
fn faults_of_document(path: &Path, text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        let is_table = line.trim_start().starts_with('|');
        let may_be_long = is_code || is_table || line.contains("](");
        let mut fault = fault_of_words(line);
        if !may_be_long && line.chars().count() > MAX_COLUMNS {
            fault = Some(format!("more than {MAX_COLUMNS} columns"));
        }
        faults.extend(fault.map(|fault| format!("{}:{}: {fault}", path.display(), index + 1)));
    }
    faults
}

#[test]
fn sources_use_the_terms_of_the_field() {
    let mut faults = Vec::new();
    let all = files("src", &["rs"]).into_iter().map(|path| (path, true));
    for (path, is_library) in all.chain(sources_of_tests().into_iter().map(|path| (path, false))) {
        let text = fs::read_to_string(&path).unwrap();
        let mut line_before = "";
        for (index, line) in text.lines().enumerate() {
            let name = if is_library {
                replaced_name(line)
            } else {
                None
            };
            if let Some(fault) = fault_of_source(line, line_before).or(name) {
                faults.push(format!("{}:{}: {fault}", path.display(), index + 1));
            }
            line_before = line;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn documents_use_the_terms_of_the_field() {
    let mut faults = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        faults.extend(faults_of_document(&path, &text));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn finds_planted_faults() {
    let source = |line: &str| fault_of_source(line, "").is_some();
    assert!(source("    /// Who is admitted."));
    assert!(source("//! What a Distributor can be told."));
    assert!(source("    // nobody's list"));
    assert!(source("    let message = \"Somebody else has it\";"));
    assert!(source("/// Whether it is listed."));
    assert!(replaced_name("struct Herd;").is_some());
    assert!(replaced_name("fn is_made_up() {}").is_none());
    assert!(source(&format!("// {}", "x".repeat(MAX_COLUMNS))));
    assert!(!source("    /// Returns the number of peers."));
    assert!(fault_of_source("/// What it costs.", "/// Returns the list.").is_none());

    let document = |text: &str| faults_of_document(Path::new("x.md"), text).len();
    assert_eq!(document("Whoever connects is sent the list."), 1);
    let long = "x".repeat(MAX_COLUMNS + 1);
    assert_eq!(document(&long), 1);
    assert_eq!(document(&format!("```\n{long}\n```")), 0);
    assert_eq!(document(&format!("| {long} |")), 0);
    assert_eq!(document(&format!("[{long}](#x)")), 0);
}
