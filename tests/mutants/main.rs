//! Mutants: known mistakes in a copy of the sources, which the simulation must find. If it misses
//! one of them, it proves nothing about unknown ones.

#![allow(unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod generate;
mod run;
mod table;

use std::path::Path;

use generate::{faults, mutated};
use table::{MUTANTS, Mutant};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mutant(find: &'static str, replace: &'static str) -> Mutant {
    Mutant {
        name: "Test",
        file: "src/lib.rs",
        find,
        replace,
        promise: 1,
    }
}

#[test]
fn each_mutant_replaces_exactly_one_line() {
    let faults = faults(root(), MUTANTS);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    let mut names: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), MUTANTS.len(), "two mutants have the same name");
    let mut lines: Vec<_> = MUTANTS
        .iter()
        .map(|mutant| (mutant.file, mutant.find))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), MUTANTS.len(), "two mutants replace one line");
}

#[test]
fn each_promise_is_broken_by_a_mutant() {
    assert!(
        MUTANTS
            .iter()
            .all(|mutant| (1..=9).contains(&mutant.promise))
    );
    for promise in 1..=9 {
        let breaks = |mutant: &Mutant| mutant.promise == promise;
        assert!(MUTANTS.iter().any(breaks), "promise {promise}");
    }
}

#[test]
fn replaces_the_line_whatever_its_indentation() {
    let mutants = [mutant("a();", "if !MUTANT { a(); }")];
    let text = mutated("src/lib.rs", "{\n    a();\n    a(); b();\n}\n", &mutants).unwrap();
    assert_eq!(
        text,
        "{\nif !crate::mutants::is_enabled(0) { a(); }\n    a(); b();\n}\n"
    );
}

#[test]
fn rejects_a_line_that_is_missing_or_there_twice() {
    let check = |text| mutated("src/lib.rs", text, &[mutant("a();", "MUTANT")]);
    assert!(check("a();").is_ok());
    assert!(check("a(b);\n// a();").unwrap_err().contains("0 lines"));
    assert!(check("a();\n  a();").unwrap_err().contains("2 lines"));
}

#[test]
fn rejects_a_mutant_without_a_switch_or_a_file() {
    assert!(mutated("src/lib.rs", "a();", &[mutant("a();", "")]).is_err());
    let lost = Mutant {
        file: "src/lost.rs",
        ..mutant("a();", "MUTANT")
    };
    assert_eq!(faults(root(), &[lost]).len(), 1);
}
