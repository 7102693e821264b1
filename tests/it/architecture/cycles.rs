//! Checks that no two files name each other, directly or through others. What they share gets a
//! file of its own.
//!
//! A file names another by a path to an item defined there, wherever that is re-exported. Declaring
//! a module and re-exporting from it do not count, nor do unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::names::{files_named_by, read};
use super::{is_unit_test, rust_files};

/// Returns groups of files that all lead to each other, each with the pairs that form it.
fn cycles(files: &[(String, String)]) -> Vec<(BTreeSet<String>, Vec<String>)> {
    let modules = read(files);
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, module) in &modules {
        named.insert(&module.file, files_named_by(&modules, path));
    }
    let reached = |from: &str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for other in &named[file] {
                if seen.insert(*other) {
                    next.push(other);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        named.keys().map(|file| (*file, reached(file))).collect();
    let mut groups = BTreeSet::new();
    for (file, others) in &reached {
        let group: BTreeSet<String> = others
            .iter()
            .filter(|other| reached[*other].contains(file))
            .map(|other| (*other).to_owned())
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    let with_pairs = groups.into_iter().map(|group| {
        let mut pairs = Vec::new();
        for from in &group {
            for to in named[from.as_str()]
                .iter()
                .filter(|to| group.contains(**to))
            {
                pairs.push(format!("{from} -> {to}"));
            }
        }
        (group, pairs)
    });
    with_pairs.collect()
}

fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for file in rust_files(&src) {
        let name = file
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !is_unit_test(Path::new(&name)) && !name.starts_with("bin/") {
            sources.push((name, fs::read_to_string(&file).unwrap()));
        }
    }
    sources
}

#[test]
fn no_files_name_each_other() {
    let sources = sources();
    assert!(sources.len() > 100, "no sources found");
    let found: Vec<String> = cycles(&sources)
        .iter()
        .map(|(_, pairs)| pairs.join("\n"))
        .collect();
    assert!(
        found.is_empty(),
        "files name each other:\n{}",
        found.join("\n")
    );
}

fn files(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    texts.iter().map(owned).collect()
}

#[track_caller]
fn assert_cycle(texts: &[(&str, &str)], group: &[&str]) {
    let found = cycles(&files(texts));
    let groups: Vec<Vec<&str>> = found
        .iter()
        .map(|(group, _)| group.iter().map(String::as_str).collect())
        .collect();
    if group.is_empty() {
        assert!(groups.is_empty(), "{found:?}");
    } else {
        assert_eq!(groups, [group]);
    }
}

#[test]
fn finds_siblings_that_name_each_other() {
    let a = (
        "a/one.rs",
        "use super::two::{Two, other};\npub struct One;\n",
    );
    let b = ("a/two.rs", "pub struct Two(super::one::One);\n");
    assert_cycle(
        &[("a/mod.rs", "mod one;\nmod two;\n"), a, b],
        &["a/one.rs", "a/two.rs"],
    );
}

#[test]
fn follows_re_exports_to_the_file_that_defines() {
    let parent = (
        "a/mod.rs",
        "mod one;\nmod two;\npub use one::{One,};\npub(crate) use two::Two;\n",
    );
    let one = ("a/one.rs", "use crate::a::Two;\npub struct One;\n");
    let two = ("a/two.rs", "use super::One as First;\npub struct Two;\n");
    assert_cycle(&[parent, one, two], &["a/one.rs", "a/two.rs"]);
    assert_cycle(&[parent, one, ("a/two.rs", "pub struct Two;\n")], &[]);
}

#[test]
fn finds_cycles_of_more_than_two_files() {
    let files = [
        ("one.rs", "use crate::two::Two;\npub enum One {}\n"),
        (
            "two.rs",
            "use crate::three;\npub trait Two {}\nfn f() { three::g() }\n",
        ),
        ("three.rs", "pub fn g() { crate::one::f() }\n"),
    ];
    assert_cycle(&files, &["one.rs", "three.rs", "two.rs"]);
}

#[test]
fn allows_parents_to_declare_and_re_export_but_not_to_use_their_users() {
    let child = ("a/one.rs", "use super::Parent;\npub struct One(Parent);\n");
    let declares = "mod one;\npub use one::One;\npub struct Parent;\n";
    assert_cycle(&[("a/mod.rs", declares), child], &[]);
    let uses = "mod one;\npub use one::One;\npub struct Parent(Vec<One>);\n";
    assert_cycle(&[("a/mod.rs", uses), child], &["a/mod.rs", "a/one.rs"]);
    let names = "mod one;\npub struct Parent;\nfn f() { one::f() }\n";
    assert_cycle(&[("a/mod.rs", names), child], &["a/mod.rs", "a/one.rs"]);
}

#[test]
fn ignores_visibilities() {
    let child = (
        "a/one.rs",
        "pub(in crate::a) struct One(pub(in crate::a) u8);\n",
    );
    let parent = ("a/mod.rs", "mod one;\npub struct Parent(one::One);\n");
    assert_cycle(&[parent, child], &[]);
}

#[test]
fn ignores_comments_and_unit_tests() {
    let one = ("one.rs", "pub struct One; // crate::two::Two\n");
    let test = "use crate::one::One;\n#[cfg(test)]\nmod tests {\n    use crate::two::Two;\n}\n";
    assert_cycle(&[one, ("two.rs", test)], &[]);
    let tested = "pub struct One;\n#[cfg(test)]\nmod tests {\n    use crate::two::Two;\n}\n";
    assert_cycle(&[("one.rs", tested), ("two.rs", test)], &[]);
}
