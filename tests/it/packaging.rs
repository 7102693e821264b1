//! The package: its units are valid, and its files exist.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Folder, program, skip_or_require};

const UNITS: [&str; 5] = [
    "pilcrow-distributor.service",
    "pilcrow-distributor.socket",
    "pilcrow-distributor-http.socket",
    "pilcrow-gateway.service",
    "pilcrow-gateway.socket",
];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// Returns a folder with the units, for the programs of this build.
fn units() -> Folder {
    let folder = Folder::new();
    for unit in UNITS {
        let text = read(&format!("packaging/systemd/{unit}"))
            .replace("/usr/bin/distributor", &program("distributor"))
            .replace("/usr/bin/gateway", &program("gateway"));
        fs::write(folder.join(unit), text).unwrap();
    }
    folder
}

/// Runs `systemd-analyze`, if it is installed.
fn analyze(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(arguments).output();
    match output {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip_or_require("systemd", "systemd-analyze is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn units_are_valid() {
    let folder = units();
    let paths = UNITS.map(|unit| folder.join(unit));
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(paths.iter().map(String::as_str));
    let Some(output) = analyze(&arguments) else {
        return;
    };
    let report = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = report
        .lines()
        .filter(|line| line.contains("pilcrow"))
        .collect();
    assert!(
        output.status.success() && about_ours.is_empty(),
        "{about_ours:#?}"
    );
}

#[test]
fn services_have_a_low_exposure_score() {
    let folder = units();
    for unit in UNITS.iter().filter(|unit| unit.ends_with(".service")) {
        // On a scale to 100. The rest is that they serve a network.
        let path = folder.join(unit);
        let arguments = ["security", "--offline=true", "--threshold=15", &path];
        let Some(output) = analyze(&arguments) else {
            return;
        };
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}");
    }
}

#[test]
fn invalid_unit_is_reported() {
    let folder = units();
    let path = folder.join(UNITS[0]);
    let text = fs::read_to_string(&path).unwrap();
    let wrong = text.replace("Type=notify", "Type=notifier\nCapabilityBoundSet=");
    assert_ne!(text, wrong);
    fs::write(&path, wrong).unwrap();
    let Some(output) = analyze(&["verify", "--man=no", &path]) else {
        return;
    };
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(report.contains("pilcrow-distributor.service"), "{report}");
}

#[test]
fn package_assets_exist() {
    let manifest = read("Cargo.toml");
    let (_, metadata) = manifest.split_once("[package.metadata.deb]").unwrap();
    let assets = metadata.lines().filter_map(|line| {
        let line = line.trim().strip_prefix("[\"")?;
        line.split('"').next()
    });
    let mut checked = 0;
    for asset in assets.filter(|asset| !asset.starts_with("target/release/")) {
        // A star stands for one part of a file name.
        let (folder, name) = asset.rsplit_once('/').unwrap_or((".", asset));
        let (start, end) = name.split_once('*').unwrap_or((name, ""));
        let fits = |name: &str| match name.strip_prefix(start) {
            Some(rest) => rest.ends_with(end) && (name == start || asset.contains('*')),
            None => false,
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = fs::read_dir(root.join(folder)).unwrap();
        let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: Vec<String> = files.filter(|name| fits(name)).collect();
        assert!(!files.is_empty(), "{asset}");
        for file in files {
            assert!(!read(&format!("{folder}/{file}")).is_empty(), "{file}");
            checked += 1;
        }
    }
    assert!(checked > 30, "no assets found");
    for program in ["distributor", "gateway", "flood"] {
        let asset = format!("[\"target/release/{program}\", \"usr/bin/\", \"755\"]");
        assert!(metadata.contains(&asset), "{program} is not in the package");
    }
    for unit in UNITS {
        let (stem, _) = unit.rsplit_once('.').unwrap();
        let named = format!("unit-name = \"{stem}\"");
        assert!(metadata.contains(&named), "{stem} is not in the package");
    }
    for user in ["pilcrow-distributor", "pilcrow-gateway"] {
        let unit = read(&format!("packaging/systemd/{user}.service"));
        assert!(unit.contains(&format!("\nUser={user}\n")));
        let users = read("packaging/sysusers.d/pilcrow.conf");
        assert!(users.contains(&format!("u {user} ")));
    }
}
