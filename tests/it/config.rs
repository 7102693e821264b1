//! The configuration file of both programs: precedence, errors, `--print-config` and SIGHUP.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    Client, Distributor, Folder, Program, command, distributor_command, output_of, wait_until,
};

const PROGRAMS: [&str; 2] = ["distributor", "gateway"];
const GATEWAY: &str = PROGRAMS[1];

/// Writes a configuration file and returns its path.
fn file(folder: &Folder, text: &str) -> String {
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Returns the output of `--print-config`.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = output_of(command.env_remove("PILCROW_HTTP").arg("--print-config"));
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the value of a key in it, and the origin.
#[track_caller]
fn value<'t>(text: &'t str, key: &str) -> (&'t str, &'t str) {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let line = line.and_then(|line| line.strip_prefix(" = "));
    line.and_then(|line| line.split_once(" # "))
        .unwrap_or_else(|| panic!("no {key} in {text}"))
}

/// Returns its lines without the origins.
fn without_comments(text: &str) -> Vec<&str> {
    let parts = text.lines().map(|line| line.rsplit_once(" # ").unwrap().0);
    parts.collect()
}

/// Runs a command that must fail with exit code 2, and returns its one line.
#[track_caller]
fn usage_error(command: &mut Command) -> String {
    failure(command, 2)
}

/// Runs a command that must fail with this exit code, and returns its one line.
#[track_caller]
fn failure(command: &mut Command, code: i32) -> String {
    let output = output_of(command);
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {report}");
    assert_eq!(report.lines().count(), 1, "{report}");
    assert!(output.stdout.is_empty(), "{command:?}");
    report
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let folder = Folder::new();
    let path = file(
        &folder,
        "max-entries = 1\nhttp_host = [\"a\", \"b\"]\nallow-anonymous = true\nwarm-up = \"1s\"\n",
    );
    for (key, flag, variable, in_file, default) in [
        ("max-entries", ("3", "3"), ("2", "2"), "1", "10000"),
        (
            "http-host",
            ("e,f", r#"["e", "f"]"#),
            ("c,d", r#"["c", "d"]"#),
            r#"["a", "b"]"#,
            "",
        ),
        (
            "warm-up",
            ("3s", "\"3s\""),
            ("2s", "\"2s\""),
            "\"1s\"",
            "\"10s\"",
        ),
        (
            "allow-anonymous",
            ("yes", "true"),
            ("0", "false"),
            "true",
            "false",
        ),
    ] {
        let name = format!("PILCROW_{}", key.to_uppercase().replace('-', "_"));
        let set = format!("--{key}={}", flag.0);
        for serve in [&["serve"][..], &[]] {
            let all = [serve, &["--config", &path, &set]].concat();
            let without_flag = [serve, &["--config", &path]].concat();
            let printed_by = |flags: &[&str], is_in_environment: bool| {
                let mut command = distributor_command(flags);
                if is_in_environment {
                    command.env(&name, variable.0);
                }
                printed(&mut command)
            };
            let by_flag = format!("flag --{key}");
            let by_variable = format!("environment variable {name}");
            assert_eq!(value(&printed_by(&all, true), key), (flag.1, &*by_flag));
            assert_eq!(value(&printed_by(&all, false), key), (flag.1, &*by_flag));
            assert_eq!(
                value(&printed_by(&without_flag, true), key),
                (variable.1, &*by_variable)
            );
            let text = printed_by(&without_flag, false);
            let (report, by) = value(&text, key);
            assert_eq!(report, in_file);
            assert!(by.starts_with(&format!("file {path}:")), "{by}");
            match default {
                "" => assert!(printed_by(serve, false).contains(&format!("# {key} = "))),
                default => assert_eq!(value(&printed_by(serve, false), key), (default, "default")),
            }
        }
    }
    // A flag turns off what the file turns on.
    let off = ["--config", &path, "--allow-anonymous=false"];
    let text = printed(&mut distributor_command(&off));
    assert_eq!(value(&text, "allow-anonymous").0, "false");
    // The file can be named in the environment.
    let text = printed(distributor_command(&[]).env("PILCROW_CONFIG", &path));
    assert_eq!(value(&text, "max-entries").0, "1");
    let gateway = file(&folder, "name = \"door\"\n");
    let text = printed(command(GATEWAY, &[]).env("PILCROW_GATEWAY_CONFIG", &gateway));
    assert_eq!(value(&text, "name").0, "\"door\"");
}

#[test]
fn reports_errors_in_the_file_with_line_and_key() {
    let folder = Folder::new();
    for (text, line, words) in [
        (
            "\nmax-conections = 1",
            2,
            &["max-conections", "did you mean max-connections?"][..],
        ),
        ("zzz = 1", 1, &["zzz", "keys are the names of flags"]),
        ("config = \"a\"", 1, &["config", "unknown key"]),
        ("print-config = true", 1, &["print-config", "unknown key"]),
        ("help = true", 1, &["help", "unknown key"]),
        (
            "[limits]\nmax-connections = 1",
            1,
            &["limits", "tables are not supported"],
        ),
        (
            "listen = 5",
            1,
            &["--listen 5", "ADDR in quotes or an array of them"],
        ),
        (
            "listen = [\"localhost:0\", true]",
            1,
            &["--listen true: wrong type"],
        ),
        (
            "http = [\n  \"localhost:0\",\n  7,\n]",
            3,
            &["--http 7: wrong type"],
        ),
        ("listen = []", 1, &["listen", "at least one"]),
        (
            "listen = \"foo\"",
            1,
            &["--listen foo: missing port", "foo:9000"],
        ),
        (
            "# \n\n\nlisten = \"0.0.0.0:0\"",
            4,
            &["--listen 0.0.0.0:0", "--allow-anonymous"],
        ),
        ("max-depth = \"many\"", 1, &["--max-depth", "many"]),
        ("max-depth = 1000", 1, &["--max-depth 1000", "1 to 100"]),
        ("max-depth = -1", 1, &["--max-depth -1", "1 to 100"]),
        ("max-depth = 1.5", 1, &["--max-depth 1.5", "a whole number"]),
        ("max-depth = [1]", 1, &["--max-depth […]", "a whole number"]),
        ("warm-up = true", 1, &["--warm-up true", "TIME in quotes"]),
        (
            "warm-up = 5",
            1,
            &["--warm-up 5", "TIME in quotes, as in \"10s\""],
        ),
        (
            "warm-up = 2026-11-22",
            1,
            &["--warm-up 2026-11-22", "wrong type"],
        ),
        ("heartbeat = \"1ms\"", 1, &["--heartbeat", "10ms"]),
        (
            "warm-up = \"1s\"\nheartbeat = \"1m\"",
            2,
            &["--silence-timeout 15s", "--heartbeat"],
        ),
        (
            "allow-anonymous = \"yes\"",
            1,
            &["allow-anonymous", "true or false"],
        ),
        ("log-level = \"loud\"", 1, &["--log-level", "loud", "trace"]),
        ("log-format = \"xml\"", 1, &["--log-format", "xml", "json"]),
        (
            "max-depth = 1\nmax_depth = 1",
            2,
            &["max_depth", "config.toml:1; remove one"],
        ),
        (
            "max-depth = 1\nmax-depth = 1",
            2,
            &["invalid TOML: max-depth = 1: duplicate key"],
        ),
        ("max-depth = 1\nmax-urls", 2, &["invalid TOML: max-urls: "]),
        ("max-depth = ", 1, &["invalid TOML"]),
    ] {
        let path = file(&folder, text);
        for more in [&[][..], &["--print-config"]] {
            let flags = [&["--config", &path], more].concat();
            let report = usage_error(&mut distributor_command(&flags));
            let begin = format!("distributor: {path}:{line}: ");
            assert!(report.starts_with(&begin), "{text}: {report}");
            for word in words {
                assert!(report.contains(word), "{text}: {word}: {report}");
            }
        }
    }
    for (text, words) in [
        ("dedline = \"1s\"", "did you mean deadline?"),
        ("deadline = \"0s\"", "use at least 1ms"),
        ("cors-origin = \"shop\"", "SCHEME://HOST"),
        (
            "subscribe = [\"shop\"]",
            "--subscribe shop: not METHOD/path, as in GET/goods; /PATH alone is for all methods",
        ),
        (
            "distributor = \"9000\"",
            "--distributor 9000: invalid address",
        ),
        ("max-entries = 1", "unknown key"),
    ] {
        let path = file(&folder, text);
        let report = usage_error(&mut command(GATEWAY, &["--config", &path]));
        assert!(
            report.starts_with(&format!("gateway: {path}:1: ")),
            "{report}"
        );
        assert!(report.contains(words), "{report}");
    }
}

#[test]
fn reports_errors_in_a_variable_with_its_name() {
    for (variable, value, words) in [
        ("PILCROW_MAX_DEPTH", "1000", "--max-depth 1000: too large"),
        ("PILCROW_HEARTBEAT", "1ms", "use at least 10ms"),
        ("PILCROW_LISTEN", "9000", "--listen 9000: "),
    ] {
        let report = usage_error(distributor_command(&["--print-config"]).env(variable, value));
        assert!(
            report.contains(&format!(": {variable}: ")) && report.contains(words),
            "{report}"
        );
    }
    // An error of a flag does not name the variable.
    let report =
        usage_error(distributor_command(&["--max-depth", "0"]).env("PILCROW_MAX_DEPTH", "1"));
    assert!(!report.contains("PILCROW"), "{report}");
}

#[test]
fn exits_with_2_only_for_invalid_file_content() {
    let folder = Folder::new();
    let bytes = folder.join("bytes");
    fs::write(&bytes, b"name = \"\xff\"").unwrap();
    let large = folder.join("large");
    fs::write(&large, vec![b'\n'; (1 << 20) + 1]).unwrap();
    for program in PROGRAMS {
        for (path, why, code) in [
            // It may be on a mount that comes late: a service manager restarts the program.
            ("/nowhere", "No such file", 1),
            ("/", "not a file", 2),
            (&bytes, "not UTF-8", 2),
            (&large, "too large", 2),
        ] {
            let report = failure(&mut command(program, &["--config", path]), code);
            assert!(report.contains(&format!("--config {path}: ")), "{report}");
            assert!(report.contains(why), "{report}");
        }
    }
    for text in [
        "token-file = [\"/nowhere\"]",
        "admin-token-file = \"/nowhere\"",
    ] {
        let path = file(&folder, text);
        let report = failure(&mut distributor_command(&["--config", &path]), 1);
        let begin = format!("distributor: {path}:1: --");
        assert!(report.starts_with(&begin), "{report}");
        assert!(
            report.contains("token-file /nowhere: cannot read the file"),
            "{report}"
        );
    }
    // The other commands do not read the file of the server.
    let check = ["check", "--http", "127.0.0.1:1"];
    let output = output_of(distributor_command(&check).env("PILCROW_CONFIG", "/nowhere"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn reports_errors_as_json_if_the_log_is_json() {
    let folder = Folder::new();
    for (text, flags) in [
        ("log-format = \"json\"\nlisten = \"0.0.0.0:0\"", &[][..]),
        ("listen = 5", &["--log-format", "json"]),
    ] {
        let path = file(&folder, text);
        for program in PROGRAMS {
            let flags = [&["--config", &path], flags].concat();
            let report: Value =
                serde_json::from_str(&usage_error(&mut command(program, &flags))).unwrap();
            assert_eq!(report["level"], "ERROR");
            assert!(report["timestamp"].is_string());
            let message = report["message"].as_str().unwrap();
            assert!(message.starts_with(&path), "{message}");
        }
    }
}

#[test]
fn printed_configuration_is_read_back_unchanged() {
    let folder = Folder::new();
    let tokens = folder.join("to \"k\" \\ ¶\u{7f}");
    fs::write(&tokens, "0123456789abcdef\n").unwrap();
    let distributor = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "localhost:1",
        "--token-file",
        &tokens,
        "--allow-from=10.0.0.0/8,::1/128",
        "--max-connections=007",
        "--heartbeat",
        "1s 500ms",
        "--http=localhost:0",
        "--log-format",
        "json",
        "--state",
        "a\tb",
        "--allow-anonymous",
    ];
    let gateway = [
        "--name",
        "\"; drop \\ ¶",
        "--token-file",
        &tokens,
        "--cors-origin=*",
        "--deadline=1m",
        "--allow-anonymous=on",
        "--log-level=off",
    ];
    for (program, flags) in PROGRAMS.into_iter().zip([&distributor[..], &gateway]) {
        for flags in [flags, &[]] {
            let first = printed(&mut command(program, flags));
            let path = file(&folder, &first);
            let again = printed(&mut command(program, &["--config", &path]));
            assert_eq!(without_comments(&first), without_comments(&again));
            for line in first.lines().filter(|line| !line.starts_with('#')) {
                let key = line.split(' ').next().unwrap();
                assert!(value(&again, key).1.contains(&path), "{again}");
            }
            if !flags.is_empty() {
                let report = first.lines().filter(|line| line.contains(" # flag --"));
                assert!(report.count() > 5, "{first}");
            }
        }
    }
    let text = printed(distributor_command(&[]).env("STATE_DIRECTORY", "/var/lib/d:/e"));
    let state = ("\"/var/lib/d/distributor.state\"", "default");
    assert_eq!(value(&text, "state"), state);
}

#[test]
fn empty_array_turns_off_what_none_turns_off() {
    let folder = Folder::new();
    for text in ["http = []", "http = \"none\"", "http = [\"none\"]"] {
        let path = file(&folder, text);
        let text = printed(&mut distributor_command(&["--config", &path]));
        assert_eq!(value(&text, "http"), ("[]", &*format!("file {path}:1")));
        // It can be read back.
        let path = file(&folder, &text);
        let again = printed(&mut distributor_command(&["--config", &path]));
        assert_eq!(value(&again, "http").0, "[]");
    }
    let text = printed(&mut distributor_command(&["--http", "none"]));
    assert_eq!(value(&text, "http"), ("[]", "flag --http"));
    let text = printed(&mut distributor_command(&[]));
    assert_eq!(value(&text, "http"), ("[\"localhost:9001\"]", "default"));
    let flags = ["--http", "none,127.0.0.1:0", "--print-config"];
    let report = usage_error(&mut distributor_command(&flags));
    assert!(
        report.contains("--http none: combined with an address"),
        "{report}"
    );
    let report = usage_error(&mut distributor_command(&["--http", "off"]));
    assert!(report.contains(", or none"), "{report}");
}

#[test]
fn serves_with_a_file_alone() {
    let folder = Folder::new();
    file(
        &folder,
        "listen = \"127.0.0.1:0\"\ntoken-file = \"tokens\"\nallow_from = [\"127.0.0.0/8\"]\n\
         max-name-bytes = 3\n",
    );
    fs::write(folder.join("tokens"), "0123456789abcdef\n").unwrap();
    for flags in [
        &["--config", "config.toml"][..],
        &["serve", "--config", "config.toml"],
    ] {
        let mut command = distributor_command(flags);
        // Paths in the file are relative to where the program runs.
        let mut program = Program::start(command.current_dir(Path::new(&folder.join("."))));
        let addr = program.wait_for_line("address", |line| {
            line.strip_prefix("listening on ")?.parse().ok()
        });
        let mut client = Client::connect(addr);
        client.register("four", 1);
        assert_eq!(client.next_errorcode(), 4);
    }
}

/// Every line of a log in JSON.
fn records(program: &Program) -> Vec<Value> {
    let lines = program.stderr();
    let records = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    records.collect()
}

/// Sends SIGHUP, and returns the first new log line with `word`.
#[track_caller]
fn hang_up(program: &Program, word: &str) -> Value {
    let before = program.stderr().len();
    program.signal(Signal::HUP);
    let mut found = None;
    wait_until(&format!("{word:?} in {:#?}", program.stderr()), || {
        let new = records(program).into_iter().skip(before);
        let mut matching = new.filter(|record| record.to_string().contains(word));
        found = matching.next();
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn sighup_reloads_the_log_level_of_the_distributor() {
    let folder = Folder::new();
    let path = file(&folder, "");
    let listen = ["--config", &path, "--log-format", "json"];
    let distributor = Distributor::start(&listen);
    let program = &distributor.program;
    let report = hang_up(program, "configuration reloaded");
    assert_eq!(
        (&report["log_level"], &report["file"]),
        (&"info".into(), &path.as_str().into())
    );

    // More verbose.
    file(&folder, "log-level = \"trace\"\n");
    assert_eq!(
        hang_up(program, "configuration reloaded")["log_level"],
        "trace"
    );
    distributor.assert_serves();
    wait_until("more than before", || {
        let levels = ["DEBUG", "TRACE"];
        let is_more = |record: &Value| levels.iter().any(|level| record["level"] == *level);
        records(program).iter().any(is_more)
    });

    // An invalid file.
    file(&folder, "log-level = \"off\"\nmax-depth = 0\n");
    let report = hang_up(program, "invalid configuration");
    assert_eq!(report["level"], "ERROR");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains(&format!("{path}:2: ")), "{error}");
    file(&folder, "silence-timeout = \"1s\"\n");
    let report = hang_up(program, "invalid configuration");
    assert!(
        report["error"]
            .as_str()
            .unwrap()
            .contains(":1: --silence-timeout")
    );
    fs::remove_file(&path).unwrap();
    hang_up(program, "No such file");
    distributor.assert_serves();

    // Keys that need a restart.
    file(
        &folder,
        "log-level = \"warn\"\nmax-depth = 7\nhttp-host = \"a\"\n",
    );
    let report = hang_up(program, "need a restart");
    assert_eq!(report["keys"], "max-depth, http-host");

    // Less verbose: joins are no longer logged.
    let before = program.stderr().len();
    distributor.assert_serves();
    let report = hang_up(program, "need a restart");
    assert_eq!(report["level"], "WARN");
    let since = records(program).split_off(before);
    let is_quiet = |record: &Value| record["level"] == "WARN";
    assert!(since.iter().all(is_quiet), "{since:#?}");
    program.signal(Signal::TERM);
}

#[test]
fn flags_and_variables_keep_their_log_level_on_sighup() {
    let folder = Folder::new();
    let path = file(&folder, "log-level = \"debug\"\n");
    let flags = ["--config", &path, "--log-format", "json"];
    for program in PROGRAMS {
        let prefix = if program == GATEWAY {
            "PILCROW_GATEWAY"
        } else {
            "PILCROW"
        };
        let variable = format!("{prefix}_LOG_LEVEL");
        for by_flag in [true, false] {
            let mut command = command(program, &flags);
            command.args(["--listen", "127.0.0.1:0"]);
            if by_flag {
                command.args(["--log-level", "info"]);
            } else {
                command.env(&variable, "info");
            }
            let mut program = Program::start(&mut command);
            program.wait_for_line("address", |line| {
                line.strip_prefix("listening on ").map(drop)
            });
            let record = hang_up(&program, "log-level of the file is overridden");
            let by = if by_flag { "--log-level" } else { &*variable };
            assert_eq!(record["by"], by);
            assert_eq!(record["log_level"], "info");
        }
    }
}

#[test]
fn sighup_reloads_token_and_log_level_of_the_gateway() {
    let folder = Folder::new();
    let (tokens, token) = (folder.join("tokens"), folder.join("token"));
    fs::write(&tokens, "right-token-0123456789\n").unwrap();
    fs::write(&token, "wrong-token-0123456789\n").unwrap();
    let distributor = Distributor::start(&["--token-file", &tokens]);
    let config = format!(
        "distributor = \"{}\"\nlisten = \"127.0.0.1:0\"\ntoken-file = \"{token}\"\n\
         log-format = \"json\"\n",
        distributor.addr
    );
    let path = file(&folder, &config);
    let mut program = Program::start(&mut command(GATEWAY, &["--config", &path]));
    program.wait_for_line("address", |line| {
        line.strip_prefix("listening on ").map(drop)
    });
    distributor.program.wait_for_log(&["packet rejected"]);

    fs::write(&token, "\n").unwrap();
    hang_up(&program, "tokens unchanged");
    fs::write(&token, "right-token-0123456789\n").unwrap();
    file(
        &folder,
        &format!("{config}log-level = \"debug\"\nname = \"door\"\n"),
    );
    let report = hang_up(&program, "configuration reloaded");
    assert_eq!(report["log_level"], "debug");
    hang_up(&program, "token files reloaded");
    assert_eq!(hang_up(&program, "need a restart")["keys"], "name");
    distributor
        .program
        .wait_for_log(&["joined", "name=\"gate\""]);

    file(&folder, "listen = [");
    assert_eq!(hang_up(&program, "invalid configuration")["level"], "ERROR");
    assert!(program.is_running());
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    records(&program);
}

#[test]
fn invalid_token_file_leaves_all_tokens_unchanged() {
    let folder = Folder::new();
    let (tokens, admin) = (folder.join("tokens"), folder.join("admin"));
    fs::write(&tokens, "first-token-0123456789\n").unwrap();
    fs::write(&admin, "admin-token-0123456789\n").unwrap();
    let distributor = Distributor::start(&[
        "--token-file",
        &tokens,
        "--admin-token-file",
        &admin,
        "--log-format",
        "json",
    ]);
    let program = &distributor.program;
    fs::write(&tokens, "first-token-0123456789\nsecond-token-0123456789\n").unwrap();
    fs::write(&admin, "two words\n").unwrap();
    let report = hang_up(program, "tokens unchanged");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("--admin-token-file"), "{error}");
    fs::write(&admin, "other-token-0123456789\n").unwrap();
    assert_eq!(hang_up(program, "tokens replaced")["tokens"], 2);
    let is_replaced = |record: &Value| record["message"] == "tokens replaced";
    let all = records(program);
    let replaced = all.iter().filter(|record| is_replaced(record)).count();
    assert_eq!(replaced, 1, "{all:#?}");
}

#[test]
fn logs_json_from_the_first_line() {
    let folder = Folder::new();
    let tokens = folder.join("tokens");
    fs::write(&tokens, "short\n").unwrap();
    let flags = [
        "--listen=0.0.0.0:0",
        "--allow-anonymous",
        "--log-format=json",
        "--token-file",
        &tokens,
        "--max-connections=100000",
    ];
    for program in PROGRAMS {
        let few_files = "ulimit -n 1000; exec \"$0\" \"$@\"";
        let path = crate::support::program(program);
        let mut command = command("sh", &["-c", few_files, &path]);
        let mut program = Program::start(command.args(flags));
        program.wait_for_line("address", |line| {
            line.strip_prefix("listening on ").map(drop)
        });
        hang_up(&program, "SIGHUP");
        let all = records(&program);
        let warned = |record: &Value| record["level"] == "WARN" && record["wanted"] == 100_000;
        assert!(all.iter().any(warned), "{all:#?}");
        program.signal(Signal::TERM);
        program.wait();
        records(&program);
    }
}

#[test]
fn example_files_have_all_keys_with_their_defaults() {
    let folder = Folder::new();
    for program in PROGRAMS {
        let path = format!("{}/packaging/{program}.toml", env!("CARGO_MANIFEST_DIR"));
        let example = fs::read_to_string(&path).unwrap();
        // Without edits it changes nothing.
        let defaults = printed(&mut command(program, &[]));
        assert_eq!(
            printed(&mut command(program, &["--config", &path])),
            defaults
        );
        // A line is prose, a heading or a key.
        let mut keys: Vec<&str> = Vec::new();
        for line in example.lines().filter_map(|line| line.strip_prefix('#')) {
            if line.is_empty() || line.starts_with([' ', '#']) {
                continue;
            }
            let (key, value) = line.split_once(" = ").expect(line);
            let set = defaults
                .lines()
                .find(|set| set.starts_with(&format!("{key} = ")));
            if let Some(set) = set {
                assert_eq!(set, format!("{line} # default"));
            } else {
                assert!(defaults.contains(&format!("\n# {key} = ")), "{key}");
                // A key without a default has a valid example, whose files do not exist.
                let value = value.replace("/etc/", "/nowhere/");
                let file = file(&folder, &format!("{key} = {value}\n"));
                let output =
                    output_of(command(program, &["--config", &file]).arg("--print-config"));
                let report = String::from_utf8(output.stderr).unwrap();
                let is_right = output.status.success() || report.contains("No such file");
                assert!(is_right, "{report}");
            }
            keys.push(key);
        }
        let all = defaults.lines().map(|line| line.trim_start_matches("# "));
        let mut all: Vec<&str> = all.map(|line| line.split(' ').next().unwrap()).collect();
        all.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, all);
    }
}
