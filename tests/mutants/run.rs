//! Builds the copy once, and runs the simulation on it for each mutant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::generate::generate;
use crate::table::{MUTANTS, Mutant};

/// The number of seeds within which each mutant must be found.
const SEEDS: &str = "10000";

/// The first seed that fails with a mutant.
struct Found {
    seed: String,
    promise: String,
    what: String,
}

/// The folder of the copy and its build.
fn target() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).to_owned()
}

/// The packages of the copy that the simulation needs.
const PACKAGES: [&str; 3] = [
    "pilcrow-testing",
    "pilcrow-simulation",
    "pilcrow-test-client",
];

/// Builds the simulation of the copy in the target folder of the project, which shares
/// dependencies.
fn build(copy: &Path) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(cargo)
        .args(["test", "--frozen", "--release", "--no-run"])
        .args(["--package", "pilcrow-simulation", "--test", "sim"])
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        // Another profile: Cargo would otherwise take the packages of the copy for those of the
        // project, and not build these again after a change.
        .args(PACKAGES.iter().flat_map(|package| {
            let debug = format!("profile.release.package.{package}.debug='line-tables-only'");
            ["--config".to_owned(), debug]
        }))
        .arg("--target-dir")
        .arg(target())
        .current_dir(copy)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "the copy in {copy:?} is not built");
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .expect("an executable is built")
}

/// Runs the simulation with `mutant` until a seed fails.
fn find(simulation: &Path, mutant: &Mutant) -> Option<Found> {
    // Running each seed once does not show that it can have two outcomes.
    let test = match mutant.promise {
        9 => "same_seed_gives_same_trace",
        _ => "seeds",
    };
    let run = Command::new(simulation)
        .args(["--exact", test])
        .env("MUTANT", mutant.name)
        .env("SEEDS", SEEDS)
        .env("RUST_BACKTRACE", "0")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the simulation runs");
    let text = String::from_utf8_lossy(&run.stdout);
    let found = text.lines().find_map(|line| {
        let (before, after) = line.split_once(" breaks promise ")?;
        let (promise, what) = after.split_once(": ").unwrap_or((after, "another trace"));
        Some(Found {
            seed: before.rsplit(' ').next()?.to_owned(),
            promise: promise.to_owned(),
            what: what.chars().take(90).collect(),
        })
    });
    assert!(
        found.is_some() || run.status.success(),
        "{}: the simulation neither failed nor passed: {text}\n{}",
        mutant.name,
        String::from_utf8_lossy(&run.stderr)
    );
    found
}

/// Takes minutes: `cargo test --test mutants -- --ignored --nocapture`, with `MUTANT=...` for one.
#[test]
#[ignore = "builds a copy of the sources: run with --ignored"]
fn the_simulation_finds_all_mutants() {
    let wanted = std::env::var("MUTANT").ok();
    let mutants = MUTANTS
        .iter()
        .filter(|mutant| wanted.as_ref().is_none_or(|name| name == mutant.name));
    let copy = target().join("mutants");
    generate(Path::new(env!("CARGO_MANIFEST_DIR")), &copy)
        .unwrap_or_else(|error| panic!("{error}"));
    let simulation = build(&copy);
    let (mut found, mut missed) = (0, Vec::new());
    let began = Instant::now();
    for mutant in mutants {
        let (name, began) = (mutant.name, Instant::now());
        let Some(seed) = find(&simulation, mutant) else {
            eprintln!("{name:28} NOT FOUND");
            missed.push(name);
            continue;
        };
        let seconds = began.elapsed().as_secs_f64();
        eprintln!(
            "{name:28} seed {:>5}  promise {}  {seconds:6.2} s  {}",
            seed.seed, seed.promise, seed.what
        );
        found += 1;
    }
    assert!(
        missed.is_empty(),
        "mutants that the simulation did not find: {missed:?}"
    );
    assert!(found > 0, "unknown mutant: {wanted:?}");
    eprintln!("all {found} mutants are found, in {:.0?}", began.elapsed());
}
