//! The contributor kit: metadata and contents of the package, and the checks of `.ci/run`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

use crate::tidy::files;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[track_caller]
fn cargo(arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).arg("--offline").current_dir(root());
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the packages of the workspace, or also all dependencies.
fn packages(flags: &[&str]) -> Vec<Value> {
    let arguments = [&["metadata", "--locked", "--format-version=1"], flags].concat();
    let metadata: Value = serde_json::from_str(&cargo(&arguments)).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn manifest() -> Value {
    let mut packages = packages(&["--no-deps"]).into_iter();
    packages.find(|one| one["name"] == "pilcrow").unwrap()
}

/// Returns the parts of a version, with zeros for those that are missing.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[test]
fn metadata_is_complete() {
    let manifest = manifest();
    for name in [
        "description",
        "license",
        "readme",
        "homepage",
        "repository",
        "documentation",
        "rust_version",
    ] {
        let text = manifest[name].as_str();
        assert!(text.is_some_and(|text| !text.is_empty()), "no {name}");
    }
    for (name, most) in [("authors", 9), ("keywords", 5), ("categories", 5)] {
        let count = manifest[name].as_array().unwrap().len();
        assert!((1..=most).contains(&count), "{count} {name}");
    }
    let version = manifest["version"].as_str().unwrap();
    let heading = format!("\n## {version} - ");
    assert!(read("CHANGELOG.md").contains(&heading), "{heading}");
}

#[test]
fn package_has_all_that_its_users_need_and_no_tests() {
    let list = cargo(&["package", "--list", "--allow-dirty", "--locked"]);
    let files: BTreeSet<&str> = list.lines().collect();
    for file in [
        "Cargo.lock",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "docs/getting-started.md",
        "examples/pipeline.rs",
        "packaging/distributor.toml",
        "packaging/systemd/pilcrow-distributor.service",
        "src/admin/page/page.html",
        "src/bin/distributor.rs",
        "src/cli/flood/page/page.js",
    ] {
        assert!(files.contains(file), "the package has no {file}");
    }
    let is_for_users = |file: &&str| {
        let folders = ["src", "docs", "examples", "packaging"];
        match file.split_once('/') {
            Some((folder, _)) => folders.contains(&folder),
            None => {
                let endings = [".md", ".toml", ".lock", ".orig", ".json"];
                file.starts_with("LICENSE") || endings.iter().any(|ending| file.ends_with(ending))
            }
        }
    };
    let others: Vec<_> = files.iter().filter(|file| !is_for_users(file)).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Returns the platform that this machine builds for.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// Without the toolchain of the minimum version, this is what can be checked of dependencies.
#[test]
fn dependencies_support_the_minimum_rust_version() {
    let minimum = manifest()["rust_version"].as_str().map(version).unwrap();
    // Dependencies of other platforms may not have been downloaded.
    let packages = packages(&["--filter-platform", &host()]);
    let newer = packages.iter().filter_map(|package| {
        let needs = package["rust_version"].as_str()?;
        let name = package["name"].as_str()?;
        (version(needs) > minimum).then(|| format!("{name} needs Rust {needs}"))
    });
    let newer: Vec<_> = newer.collect();
    assert!(packages.len() > 50 && newer.is_empty(), "{newer:?}");
}

/// Returns a set of features with all that they imply.
fn closure(features: &Value, names: &[&str]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut pending: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = pending.pop() {
        let implied = features[&name].as_array().unwrap().iter();
        let implied = implied.map(|name| name.as_str().unwrap().to_owned());
        pending.extend(implied.filter(|name| !name.starts_with("dep:")));
        if name != "default" {
            all.insert(name);
        }
    }
    all
}

#[test]
fn every_set_of_features_is_checked() {
    let features = &manifest()["features"];
    let names = features.as_object().unwrap().keys().map(String::as_str);
    let names: Vec<&str> = names.filter(|name| *name != "default").collect();
    let script = read(".ci/run");
    let (_, list) = script.split_once("for features in \"\" ").unwrap();
    let (list, _) = list.split_once(';').unwrap();
    let lists = list.split(' ').map(|names| names.split(',').collect());
    let lists = lists.chain([Vec::new(), vec!["default"]]);
    let checked: Vec<_> = lists
        .map(|names: Vec<_>| closure(features, &names))
        .collect();
    for bits in 0..1_u32 << names.len() {
        let set = names.iter().enumerate();
        let set = set.filter(|(place, _)| bits & 1 << place != 0);
        let set: Vec<_> = set.map(|(_, name)| *name).collect();
        let set = closure(features, &set);
        assert!(checked.contains(&set), ".ci/run does not check {set:?}");
    }
}

#[test]
fn a_clone_has_all_that_contributors_need() {
    for (file, part) in [
        ("CONTRIBUTING.md", "cargo test"),
        ("SECURITY.md", "Report vulnerabilities"),
        (".editorconfig", "root = true"),
        ("rustfmt.toml", "style_edition"),
        (".github/workflows/ci.yml", "bash .ci/run"),
        (".github/pull_request_template.md", "cargo test"),
        (".github/ISSUE_TEMPLATE/bug.md", "about:"),
        (".github/ISSUE_TEMPLATE/feature.md", "about:"),
    ] {
        assert!(read(file).contains(part), "{file}: no {part}");
    }
    // It would make rustup fetch a toolchain where a newer one is installed.
    for file in ["rust-toolchain", "rust-toolchain.toml"] {
        assert!(!root().join(file).exists(), "{file}");
    }
}

/// A part of `.editorconfig` that editors may ignore.
#[test]
fn lines_and_files_have_no_loose_ends() {
    let extensions = [
        "rs", "md", "toml", "html", "css", "js", "mjs", "yml", "service", "socket",
    ];
    let folders = [
        "src",
        "tests",
        "docs",
        "examples",
        "benches",
        "fuzz/src",
        "packaging",
        ".github",
    ];
    let files = folders.iter().flat_map(|folder| files(folder, &extensions));
    let mut checked = 0;
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{path:?}: no newline at the end"
        );
        let loose = text
            .split('\n')
            .position(|line| line.ends_with([' ', '\t', '\r']));
        assert_eq!(
            loose.map(|line| line + 1),
            None,
            "{path:?}: a space before a line end"
        );
        checked += 1;
    }
    assert!(checked > 100, "{checked} files");
}
