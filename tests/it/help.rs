//! Help, manual pages and completion scripts of the programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use crate::support::{Folder, command, output_of, skip_or_require};

const PROGRAMS: [&str; 3] = ["distributor", "gateway", "flood"];
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Returns the standard output of a program that succeeds, for a terminal of this width.
#[track_caller]
fn printed(program: &str, words: &[&str], columns: usize) -> String {
    let mut command = command(program, words);
    let output = output_of(command.env("COLUMNS", columns.to_string()));
    assert_eq!(output.status.code(), Some(0), "{program} {words:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the commands in the help of a program.
fn commands_of(program: &str) -> Vec<String> {
    let help = printed(program, &["--help"], 80);
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Returns the long flags that begin a line of a help.
fn flags_in(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start);
    let flags = lines.filter_map(|line| line.strip_prefix("--")?.split([' ', '[', '=']).next());
    flags.collect()
}

#[test]
fn short_help_fits_on_a_screen() {
    for program in PROGRAMS {
        let mut commands = vec![None];
        let names = commands_of(program);
        commands.extend(names.iter().map(|name| Some(name.as_str())));
        for name in commands {
            let words: Vec<&str> = name.into_iter().chain(["-h"]).collect();
            let help = printed(program, &words, 80);
            let lines = help.lines().count();
            assert!(lines <= 40, "{program} {words:?}: {lines} lines\n{help}");
            assert!(
                help.lines().all(|line| line.chars().count() <= 80),
                "{help}"
            );
        }
    }
}

#[test]
fn short_help_has_the_commands_and_ten_common_flags() {
    let all = [
        "serve",
        "nodes",
        "watch",
        "why",
        "drain",
        "check",
        "call",
        "completions",
        "man",
    ];
    assert_eq!(commands_of("distributor"), all);
    assert_eq!(commands_of("gateway"), ["completions", "man"]);
    for program in ["distributor", "gateway"] {
        let help = printed(program, &["-h"], 80);
        let flags = flags_in(&help);
        assert_eq!(flags.len(), 10, "{flags:?}");
        for flag in [
            "listen",
            "token-file",
            "allow-anonymous",
            "log-level",
            "config",
        ] {
            assert!(flags.contains(&flag), "{flags:?}");
        }
        assert!(help.contains("--help for all flags"), "{help}");
        for name in commands_of(program) {
            assert!(help.contains(&format!("\n  {name} ")), "{help}");
        }
    }
}

#[test]
fn long_help_has_all_flags_in_groups() {
    for program in ["distributor", "gateway"] {
        let help = printed(program, &["--help"], 100);
        let (_, help) = help.split_once("\nOptions:\n").unwrap();
        let groups = help.lines().filter(|line| !line.starts_with(' '));
        let groups = groups.filter_map(|line| line.strip_suffix(':'));
        let groups: Vec<&str> = groups.take_while(|group| *group != "Examples").collect();
        let expected = [
            "Network",
            "Access",
            "Persistence",
            "Limits",
            "HTTP",
            "Logging",
        ];
        let expected = expected.map(str::to_owned);
        let expected: Vec<&String> = expected
            .iter()
            .filter(|group| program == "distributor" || *group != "Persistence")
            .collect();
        let mut sorted = groups.clone();
        sorted.sort_by_key(|group| expected.iter().position(|other| other == group));
        assert_eq!(sorted, expected);
        let flags_of = |group: &str| {
            let (_, rest) = help.split_once(&format!("\n{group}:\n")).unwrap();
            let lines = rest
                .lines()
                .take_while(|line| line.starts_with(' ') || line.is_empty());
            let lines: Vec<&str> = lines.collect();
            let lines = lines.join("\n");
            let flags: Vec<String> = flags_in(&lines).into_iter().map(str::to_owned).collect();
            flags
        };
        for (group, flag) in [
            ("Network", "listen"),
            ("Access", "token-file"),
            ("Access", "allow-anonymous"),
            ("Limits", "max-connections"),
            ("Logging", "log-level"),
            ("Logging", "log-format"),
        ] {
            assert!(flags_of(group).contains(&flag.to_owned()), "{group}");
        }
        // No flag is in the short help only.
        let short = printed(program, &["-h"], 80);
        let all = flags_in(help);
        assert!(flags_in(&short).iter().all(|flag| all.contains(flag)));
        assert!(all.len() >= 14, "{all:?}");
    }
}

#[test]
fn help_names_every_flag_with_its_variable() {
    for (program, prefix) in [("distributor", "PILCROW_"), ("gateway", "PILCROW_GATEWAY_")] {
        let help = printed(program, &["--help"], 100);
        let parts: Vec<&str> = help.split("\n      --").skip(1).collect();
        assert!(parts.len() >= 14, "{help}");
        let starts = [
            "A service registry that pushes",
            "HTTP in, calls to nodes out",
        ];
        assert!(starts.iter().any(|start| help.starts_with(start)), "{help}");
        for part in parts {
            let (flag, _) = part.split_once([' ', '[', '\n']).unwrap();
            if flag == "print-config" {
                continue;
            }
            let variable = format!("{prefix}{}", flag.to_uppercase().replace('-', "_"));
            assert!(
                part.contains(&format!("[env: {variable}=")),
                "{flag}: {part}"
            );
        }
        for word in ["Exit codes:", "Examples:", "standard error"] {
            assert!(help.contains(word), "{word}");
        }
    }
}

#[test]
fn each_command_documents_its_exit_codes() {
    for program in PROGRAMS {
        for name in commands_of(program) {
            if ["serve", "completions", "man"].contains(&&*name) {
                continue;
            }
            let help = if program == "flood" {
                printed(program, &["--help"], 100)
            } else {
                printed(program, &[&name, "--help"], 100)
            };
            assert!(help.contains("Exit codes: 0 "), "{program} {name}: {help}");
        }
    }
}

/// Returns the generated files of the package, by their names in `packaging`.
fn generated() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for program in PROGRAMS {
        files.insert(format!("man/{program}.1"), printed(program, &["man"], 80));
        for name in commands_of(program) {
            let page = printed(program, &["man", &name], 80);
            files.insert(format!("man/{program}-{name}.1"), page);
        }
        for shell in SHELLS {
            // The names that shells look for; zsh has no extension.
            let name = match shell {
                "zsh" => format!("completions/_{program}"),
                _ => format!("completions/{program}.{shell}"),
            };
            files.insert(name, printed(program, &["completions", shell], 80));
        }
    }
    files
}

/// `UPDATE_DOCS=1 cargo test --test it help::` writes the files.
#[test]
fn generated_files_of_the_package_are_up_to_date() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let files = generated();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for folder in ["man", "completions"] {
            let _ = fs::remove_dir_all(packaging.join(folder));
            fs::create_dir(packaging.join(folder)).unwrap();
        }
        for (name, text) in &files {
            fs::write(packaging.join(name), text).unwrap();
        }
        return;
    }
    let mut kept = BTreeMap::new();
    for folder in ["man", "completions"] {
        for entry in fs::read_dir(packaging.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&packaging).unwrap().to_str().unwrap();
            kept.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    let remedy = "run: UPDATE_DOCS=1 cargo test --test it help::";
    assert_eq!(names(&kept), names(&files), "{remedy}");
    for (name, text) in files {
        assert!(kept[&name] == text, "packaging/{name} is old; {remedy}");
    }
}

#[test]
fn manual_pages_have_the_expected_sections() {
    let page = printed("distributor", &["man"], 80);
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "NETWORK",
        "ACCESS",
        "PERSISTENCE",
        "LIMITS",
        "HTTP",
        "LOGGING",
        "SUBCOMMANDS",
        "EXAMPLES",
        "NOTES",
        "\"EXIT STATUS\"",
        "\"SEE ALSO\"",
    ] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    for part in [
        "\n.TH distributor 1 ",
        "max\\-list\\-bytes",
        "PILCROW_MAX_LIST_BYTES",
        "distributor\\-nodes(1)",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let page = printed("distributor", &["man", "nodes"], 80);
    assert!(page.contains("\n.TH distributor-nodes 1 "), "{page}");
    for (program, name) in [
        ("distributor", "none"),
        ("gateway", "nodes"),
        ("flood", "serve"),
    ] {
        let output = output_of(&mut command(program, &["man", name]));
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        let expected = format!("{program}: unknown command {name}; see {program} --help\n");
        assert_eq!(error, expected);
    }
    // Formatted by the tool that `man` uses.
    let folder = Folder::new();
    for (name, page) in generated()
        .iter()
        .filter(|(name, _)| name.starts_with("man/"))
    {
        let file = folder.join("page");
        fs::write(&file, page).unwrap();
        let groff = Command::new("groff")
            .args(["-man", "-Kutf8", "-Tutf8", "-ww", "-z", &file])
            .output();
        match groff {
            Ok(output) => assert!(output.status.success(), "{name}: {output:?}"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return skip_or_require("groff", "groff is not installed");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn completions_are_scripts_that_shells_accept() {
    let words_of = |program: &str| match program {
        "distributor" => ["nodes", "drain", "token-file"],
        "gateway" => ["completions", "cors-origin", "distributor"],
        _ => ["storm", "spawn", "rounds"],
    };
    for (program, shell) in PROGRAMS
        .iter()
        .flat_map(|p| SHELLS.map(|shell| (*p, shell)))
    {
        let script = printed(program, &["completions", shell], 80);
        for word in words_of(program) {
            assert!(script.contains(word), "{program} {shell}: {word}");
        }
        // The value of some flags is a file.
        let file_flag = if program == "flood" { "html" } else { "config" };
        let (flag, end, completes_files) = match shell {
            "bash" => (format!("--{file_flag})"), ";;", "compgen -f"),
            "zsh" => (format!("'--{file_flag}="), "\n", ":FILE:_files"),
            _ => (format!(" -l {file_flag} "), "\n", " -r -F"),
        };
        let (_, rest) = script.split_once(&flag).unwrap();
        let (part, _) = rest.split_once(end).unwrap();
        assert!(part.contains(completes_files), "{program} {shell}: {part}");
        // The shell accepts it.
        let folder = Folder::new();
        let file = folder.join("script");
        fs::write(&file, &script).unwrap();
        match Command::new(shell).args(["-n", &file]).status() {
            Ok(status) => assert!(status.success(), "{program} {shell}"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip_or_require(shell, &format!("{shell} is not installed"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn bash_completes_commands_and_values() {
    let complete = |program: &str, words: &[&str]| {
        let script = format!(
            "{}/packaging/completions/{program}.bash",
            env!("CARGO_MANIFEST_DIR")
        );
        let (last, before) = words.split_last().unwrap();
        let previous = before.last().copied().unwrap_or(program);
        let line: Vec<String> = [&[program], words]
            .concat()
            .iter()
            .map(|word| format!("'{word}'"))
            .collect();
        let run = format!(
            "source {script}; COMP_WORDS=({}); COMP_CWORD={}; _{program} {program} '{last}' \
             '{previous}'; echo \"${{COMPREPLY[@]}}\"",
            line.join(" "),
            words.len(),
        );
        let output = Command::new("bash").args(["-c", &run]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("distributor", &["no"]), "nodes");
    assert_eq!(complete("distributor", &["nodes", "--u"]), "--url");
    assert_eq!(complete("gateway", &["--log-level", "w"]), "warn");
    assert_eq!(complete("flood", &["ch"]), "churn");
    // Without the hidden command.
    assert_eq!(complete("flood", &["s"]), "storm slow");
}

#[test]
fn fish_completes_commands_and_values() {
    let complete = |program: &str, line: &str| {
        let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/completions");
        let run = format!("source {packaging}/{program}.fish; complete -C '{line}'");
        let output = match Command::new("fish")
            .args(["--no-config", "-c", &run])
            .output()
        {
            Ok(output) => String::from_utf8(output.stdout).unwrap(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip_or_require("fish", "fish is not installed");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let words = output.lines().filter_map(|line| line.split('\t').next());
        Some(words.collect::<Vec<_>>().join(" "))
    };
    for (program, line, expected) in [
        ("distributor", "distributor no", "nodes"),
        ("distributor", "distributor nodes --u", "--url"),
        ("distributor", "distributor --log-level w", "warn"),
        ("distributor", "distributor serve --log-level w", "warn"),
        ("gateway", "gateway --log-level w", "warn"),
        ("flood", "flood s", "slow storm"),
        ("flood", "flood storm --watch de", "delta"),
    ] {
        if let Some(words) = complete(program, line) {
            assert_eq!(words, expected, "{line}");
        }
    }
}
