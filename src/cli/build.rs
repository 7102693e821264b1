//! The build script: passes the commit to the programs, for `--version`.

#![allow(clippy::print_stdout, reason = "Cargo reads the output")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Digits of the commit that are shown.
const DIGITS: usize = 12;

fn main() {
    // Without a line like this, Cargo would run the script after a change of any file.
    println!("cargo::rerun-if-changed=src/cli/build.rs");
    if env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    println!("cargo::rerun-if-env-changed=PILCROW_COMMIT");
    let given = env::var("PILCROW_COMMIT").ok().and_then(|id| commit(&id));
    let version = env!("CARGO_PKG_VERSION");
    match given.or_else(packaged).or_else(checked_out) {
        Some(commit) => println!("cargo::rustc-env=PILCROW_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=PILCROW_VERSION={version}"),
    }
}

/// Returns the shown part of a commit id.
fn commit(id: &str) -> Option<String> {
    let digits = id.trim().get(..DIGITS)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| digits.to_owned())
}

/// Returns the commit that `cargo package` has recorded in the package.
fn packaged() -> Option<String> {
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    commit(rest.split('"').nth(1)?)
}

/// Returns the commit of a clone or a worktree. A repository further up is another project's.
fn checked_out() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let id = git(&["rev-parse", "HEAD"])?;
    let path = |file| {
        let path = git(&["rev-parse", "--git-path", file])?.trim().to_owned();
        Path::new(&path).exists().then_some(path)
    };
    // HEAD changes with the branch. Its log also changes with each commit, but may be turned off.
    let commits = path("logs/HEAD").or_else(|| path("refs/heads"));
    for path in path("HEAD").into_iter().chain(commits) {
        println!("cargo::rerun-if-changed={path}");
    }
    commit(&id)
}

/// Returns the output of git, if it is installed and succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}
