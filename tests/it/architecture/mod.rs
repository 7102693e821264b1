//! Checks what must be absent: dependencies that point up, files that name each other, clocks and
//! sockets in pure modules, internal modules in the interface, and test features in shipped code.

mod cycles;
mod interface;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the library, and the others that it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("path", &[]),
    ("setters", &[]),
    ("rate_limit", &["time"]),
    ("histogram", &[]),
    ("host_port", &[]),
    ("sys", &["host_port", "time"]),
    // Replaces `sys` in tests.
    ("testing", &["host_port", "reactor", "sys", "time"]),
    ("store", &["sys"]),
    ("reactor", &["host_port", "sys", "time"]),
    ("metrics", &["histogram", "reactor"]),
    (
        "http",
        &["metrics", "path", "rate_limit", "reactor", "time"],
    ),
    ("protocol", &["path"]),
    ("registry", &["protocol"]),
    (
        "distributor",
        &[
            "histogram",
            "protocol",
            "rate_limit",
            "registry",
            "reactor",
            "setters",
            "sys",
            "time",
        ],
    ),
    (
        "node",
        &[
            "host_port",
            "http",
            "protocol",
            "rate_limit",
            "reactor",
            "setters",
            "sys",
            "time",
        ],
    ),
    (
        "gateway",
        &[
            "histogram",
            "http",
            "metrics",
            "node",
            "protocol",
            "rate_limit",
            "reactor",
            "setters",
            "time",
        ],
    ),
    // For tests only.
    (
        "fuzzing",
        &["distributor", "http", "protocol", "reactor", "store", "sys"],
    ),
    (
        "admin",
        &[
            "distributor",
            "http",
            "metrics",
            "protocol",
            "rate_limit",
            "registry",
            "reactor",
            "setters",
            "time",
        ],
    ),
];

/// Modules that all unit tests may name: they run on a scripted system.
const FOR_TESTS: [&str; 2] = ["sys", "testing"];

/// Modules that receive time and bytes as arguments, and never fetch them.
const PURE: [&str; 7] = [
    "http",
    "protocol",
    "registry",
    "distributor",
    "node",
    "gateway",
    "admin",
];
const IMPURE: [&str; 8] = [
    "mio",
    "socket2",
    "TcpStream",
    "TcpListener",
    "Instant",
    "SystemTime",
    "rand",
    "thread",
];

/// Returns the violations in a file of `module`, one per line.
fn violations(module: &str, is_test: bool, text: &str) -> Vec<String> {
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
        return vec![format!("the module {module} is not in MAY_NAME")];
    };
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words = || code.split(|c: char| !c.is_alphanumeric() && c != '_');
        for named in code.split("crate::").skip(1) {
            let named = named
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap();
            let for_tests = is_test && FOR_TESTS.contains(&named);
            if named != module && !allowed.contains(&named) && !for_tests {
                violations.push(format!("{}: names crate::{named}", number + 1));
            }
        }
        if PURE.contains(&module) {
            for word in words().filter(|word| IMPURE.contains(word)) {
                violations.push(format!("{}: names {word}", number + 1));
            }
        }
        if module != "sys" && words().any(|word| word == "mio" || word == "socket2") {
            violations.push(format!("{}: uses mio or socket2 outside sys", number + 1));
        }
    }
    violations
}

/// Returns whether this file, by its path in `src`, holds only unit tests.
fn is_unit_test(inside: &Path) -> bool {
    inside.ends_with("tests.rs") || inside.iter().any(|part| part == "tests")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn dependencies_point_down_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    let mut all = Vec::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let first = inside.iter().next().unwrap().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        // The programs are at the top and may name everything.
        if ["lib", "bin", "cli"].contains(&module) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let found = violations(module, is_unit_test(inside), &text);
        all.extend(
            found
                .iter()
                .map(|violation| format!("{}:{violation}", inside.display())),
        );
        checked += 1;
    }
    assert!(checked > 20, "no sources found");
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn finds_planted_violations() {
    for (module, line) in [
        ("reactor", "use crate::registry::Registry;"),
        ("reactor", "let x = crate::distributor::Distributor::new();"),
        ("protocol", "use crate::reactor::Net;"),
        ("http", "use crate::protocol::Reply;"),
        ("reactor", "use crate::http::Server;"),
        ("sys", "use crate::{reactor::Limits, time::Time};"),
        ("registry", "let now = std::time::Instant::now();"),
        ("distributor", "use std::net::TcpStream;"),
        ("distributor", "use std::thread;"),
        ("reactor", "use mio::Poll;"),
        ("reactor", "use crate::testing::sim;"),
        ("elsewhere", ""),
    ] {
        assert!(
            !violations(module, false, line).is_empty(),
            "{module}: {line}"
        );
    }
    let line = "use crate::sys::System; // not crate::registry";
    assert!(violations("reactor", false, line).is_empty());
    assert!(violations("reactor", true, "use crate::testing::scripted;").is_empty());
}

/// Benches of internal types, and this file.
const MAY_USE_TEST_FEATURES: [&str; 3] = [
    "benches/framing.rs",
    "benches/timer_wheel.rs",
    "architecture/mod.rs",
];

#[test]
fn tests_and_benches_use_no_test_features() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(
        !manifest.lines().any(|line| line.starts_with("pilcrow =")),
        "a dependency of the package on itself turns its features on for all"
    );
    for folder in ["src", "tests/it", "tests/chaos", "benches", "examples"] {
        for file in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let names_it = text.lines().any(|line| line.contains("pilcrow_testing"));
            let may = MAY_USE_TEST_FEATURES
                .iter()
                .any(|name| file.ends_with(name));
            assert!(!names_it || may, "{}", file.display());
        }
    }
}
