//! The version that the programs print, and the build script that finds the commit.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Folder, command, output_of, skip_or_require};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn output_in(folder: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn version_has_the_commit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commit = root.join(".git").exists();
    let commit = commit.then(|| output_in(root, "git", &["rev-parse", "HEAD"]));
    let Some(commit) = commit.flatten() else {
        return skip_or_require("git", "this is not a clone, or git is not installed");
    };
    for program in ["distributor", "gateway", "flood"] {
        for flag in ["-V", "--version"] {
            let output = output_of(&mut command(program, &[flag]));
            assert_eq!(output.status.code(), Some(0));
            let expected = format!("{program} {VERSION} ({})\n", &commit[..12]);
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
            assert!(output.stderr.is_empty());
        }
    }
}

/// The compiled build script, in a folder of its own.
struct BuildScript {
    program: String,
    folder: Folder,
}

impl BuildScript {
    fn compile() -> BuildScript {
        let folder = Folder::new();
        let program = folder.join("build-script");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/build.rs");
        let rustc = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
        let status = Command::new(rustc)
            .args(["--edition", "2024", "-o", &program, source])
            .env("CARGO_PKG_VERSION", VERSION)
            .status();
        assert!(status.unwrap().success());
        BuildScript { program, folder }
    }

    /// Returns its output lines in this folder, without the prefix.
    fn run(&self, folder: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let folder = self.folder.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let mut script = Command::new(&self.program);
        script.current_dir(folder).env_remove("PILCROW_COMMIT");
        script.env("CARGO_FEATURE_CLI", "1");
        let output = output_of(script.envs(variables.iter().copied()));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| line.strip_prefix("cargo::"));
        lines.map(|line| line.unwrap().to_owned()).collect()
    }
}

#[test]
fn build_script_works_in_a_package_and_without_git() {
    let script = BuildScript::compile();
    let version = |folder: &str, variables: &[(&str, &str)]| {
        let lines = script.run(folder, variables);
        let version = lines
            .iter()
            .find_map(|line| line.strip_prefix("rustc-env=PILCROW_VERSION="));
        version.unwrap().to_owned()
    };
    // Not a repository, nor below its own.
    assert_eq!(version("plain", &[]), VERSION);
    let id = "0123456789abcdef0123456789abcdef01234567";
    let with_commit = format!("{VERSION} (0123456789ab)");
    assert_eq!(version("plain", &[("PILCROW_COMMIT", id)]), with_commit);
    for invalid in ["", "012345", "not a commit id", "0123456789a\u{b6}"] {
        let given = [("PILCROW_COMMIT", invalid)];
        assert_eq!(version("plain", &given), VERSION, "{invalid:?}");
    }

    fs::create_dir(script.folder.join("package")).unwrap();
    let info =
        format!("{{\n  \"git\": {{\n    \"sha1\": \"{id}\"\n  }},\n  \"path_in_vcs\": \"\"\n}}");
    fs::write(script.folder.join("package/.cargo_vcs_info.json"), info).unwrap();
    assert_eq!(version("package", &[]), with_commit);

    // A clone, but git is not installed.
    fs::create_dir_all(script.folder.join("clone/.git")).unwrap();
    assert_eq!(version("clone", &[("PATH", "")]), VERSION);
    // A repository without a commit.
    assert_eq!(version("clone", &[]), VERSION);
}

#[test]
fn build_script_runs_again_only_when_the_commit_changes() {
    let script = BuildScript::compile();
    let folder = script.folder.join("clone");
    fs::create_dir(&folder).unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"];
        output_in(Path::new(&folder), "git", &[&identity, arguments].concat())
    };
    if git(&["init", "--quiet", "--initial-branch=main"]).is_none() {
        return skip_or_require("git", "git is not installed");
    }
    let commit = |message: &str| git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    commit("one").unwrap();
    let id = git(&["rev-parse", "HEAD"]).unwrap();
    let expected = |last: &str| {
        [
            "rerun-if-changed=src/cli/build.rs",
            "rerun-if-env-changed=PILCROW_COMMIT",
            "rerun-if-changed=.git/HEAD",
            last,
            &format!("rustc-env=PILCROW_VERSION={VERSION} ({})", &id[..12]),
        ]
        .map(str::to_owned)
    };
    let lines = script.run("clone", &[]);
    assert_eq!(lines, expected("rerun-if-changed=.git/logs/HEAD"));
    // Each commit changes that file.
    let log = Path::new(&folder).join(".git/logs/HEAD");
    let before = fs::read(&log).unwrap();
    commit("two").unwrap();
    assert_ne!(before, fs::read(&log).unwrap());
    git(&["reset", "--quiet", "--hard", "HEAD~"]).unwrap();
    // Without a log, the branches are watched.
    fs::remove_file(&log).unwrap();
    let lines = script.run("clone", &[]);
    assert_eq!(lines, expected("rerun-if-changed=.git/refs/heads"));

    // Embedders of the library have no programs.
    let mut embedded = Command::new(&script.program);
    embedded
        .current_dir(&folder)
        .env_remove("CARGO_FEATURE_CLI");
    let output = output_of(&mut embedded);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "cargo::rerun-if-changed=src/cli/build.rs\n");
}
