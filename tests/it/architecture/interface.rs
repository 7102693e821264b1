//! Checks which modules the library shows, and that it shows nothing of its internal ones.

use std::fs;
use std::path::Path;

use super::rust_files;

/// The modules of the interface. Those that are hidden, or absent from usual builds, follow.
const PUBLIC: [&str; 11] = [
    "admin",
    "distributor",
    "gateway",
    "http",
    "node",
    "protocol",
    "reactor",
    "registry",
    "cli",
    "fuzzing",
    "testing",
];

/// Internal modules, and their items that the interface needs.
const INTERNAL: [(&str, &[&str]); 6] = [
    ("buffer_pool", &[]),
    ("conn_map", &[]),
    ("framing", &["Framing"]),
    ("store", &[]),
    ("sys", &["TcpOptions", "Waker"]),
    ("timer_wheel", &["TimerId"]),
];

/// Folders and files that no user of the library sees.
const HIDDEN: [&str; 3] = ["cli", "fuzzing.rs", "testing"];

/// Returns what a file shows although it must not.
fn violations(file: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for line in text.lines() {
        if let Some(module) = line.trim_start().strip_prefix("pub mod ") {
            let module = module.trim_end_matches([';', ' ', '{']);
            if file != "lib.rs" || !PUBLIC.contains(&module) {
                violations.push(format!("{file}: the module {module} is public"));
            }
        }
    }
    for statement in text.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap_or_default();
        let words: Vec<&str> = statement
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty() && *word != "crate")
            .collect();
        for (module, shown) in INTERNAL {
            let Some(at) = words.iter().position(|word| *word == module) else {
                continue;
            };
            let others = words[at + 1..].iter().filter(|word| !shown.contains(word));
            violations.extend(others.map(|word| format!("{file}: {module}::{word} is public")));
            if statement.contains('*') || at + 1 == words.len() {
                violations.push(format!("{file}: all of {module} is public"));
            }
        }
    }
    violations
}

#[test]
fn keeps_internal_modules_private() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        if !HIDDEN.iter().any(|hidden| inside.starts_with(hidden)) {
            let text = fs::read_to_string(&file).unwrap();
            found.extend(violations(inside.to_str().unwrap(), &text));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn finds_items_that_must_not_be_shown() {
    for (file, text) in [
        ("lib.rs", "pub mod store;"),
        ("reactor/mod.rs", "    pub mod timer_wheel {"),
        (
            "reactor/mod.rs",
            "pub use timer_wheel::{TimerId, TimerWheel};",
        ),
        ("reactor/mod.rs", "pub use buffer_pool::BufferPool as Pool;"),
        ("node/mod.rs", "pub use crate::reactor::conn_map::*;"),
        ("lib.rs", "pub use sys;"),
    ] {
        assert!(!violations(file, text).is_empty(), "{text}");
    }
    let allowed = "pub use timer_wheel::TimerId;\npub(crate) mod timer_wheel;";
    assert!(violations("reactor/mod.rs", allowed).is_empty());
    assert!(violations("lib.rs", "pub mod node;").is_empty());
}
