//! Errors of the three programs: what is wrong, the offending value, and the remedy.

use std::net::TcpListener;
use std::process::Command;

use crate::support::{
    Folder, Program, ReservedPort, command, distributor_command, is_in_own_network, output_of,
};

/// Runs a command that must fail with this exit code. Returns its one line without the name of the
/// program.
#[track_caller]
fn error_of(command: &mut Command, code: i32) -> String {
    let output = output_of(command);
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {report}");
    assert_eq!(report.lines().count(), 1, "{command:?}: {report}");
    let (_, message) = report.trim_end().split_once(": ").unwrap();
    message.to_owned()
}

/// Runs a command line with spaces between its words.
#[track_caller]
fn error_of_line(line: &str, code: i32) -> String {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let words: Vec<&str> = words.collect();
    error_of(&mut command(program, &words), code)
}

#[test]
fn invalid_command_lines_have_one_form() {
    for (line, message) in [
        (
            "distributor --listn localhost:0",
            "unknown flag --listn; did you mean --listen?",
        ),
        (
            "gateway --listn localhost:0",
            "unknown flag --listn; did you mean --listen?",
        ),
        (
            "flood storm --nods 3",
            "unknown flag --nods; did you mean --nodes?",
        ),
        ("distributor -x", "unknown flag -x; see distributor --help"),
        (
            "distributor nods",
            "unknown command nods; did you mean nodes?",
        ),
        ("flood foo", "unknown command foo; see flood --help"),
        (
            "flood",
            "missing command; use storm, churn, slow, rpc, idle, completions or man",
        ),
        (
            "distributor nodes a b",
            "unexpected argument b; see distributor nodes --help",
        ),
        ("gateway foo", "unknown command foo; see gateway --help"),
        (
            "distributor --allow-anonymous yes",
            "--allow-anonymous yes: takes no value after a space; write --allow-anonymous or \
             --allow-anonymous=yes",
        ),
        (
            "gateway --allow-anonymous true",
            "--allow-anonymous true: takes no value after a space; write --allow-anonymous or \
             --allow-anonymous=true",
        ),
        (
            "flood storm --baseline true",
            "--baseline true: takes no value; write --baseline alone",
        ),
        (
            "gateway --name=",
            "--name \"\": empty; use a name, as in gate",
        ),
        (
            "distributor drain",
            "missing NAME; see distributor drain --help",
        ),
        (
            "flood storm --http-readers 2",
            "missing --http ADDR or --spawn; see flood storm --help",
        ),
        (
            "flood idle --unlisted",
            "missing --registered; see flood idle --help",
        ),
        (
            "distributor --listen",
            "--listen: missing value; write --listen ADDR",
        ),
        (
            "distributor --log-level loud",
            "--log-level loud: unknown value; use off, error, warn, info, debug or trace",
        ),
        (
            "distributor completions tcsh",
            "SHELL tcsh: unknown value; use bash, elvish, fish, powershell or zsh",
        ),
        (
            "distributor --allow-anonymous=perhaps",
            "--allow-anonymous perhaps: unknown value; use true or false",
        ),
        (
            "distributor --warm-up 1s --warm-up 2s",
            "--warm-up: given more than once; give it once",
        ),
        (
            "flood storm --spawn --to localhost:1",
            "--spawn cannot be used with --to; see flood storm --help",
        ),
        (
            "distributor --listen localhost:0 nodes",
            "nodes cannot be used with --listen, which is for the server; write it without, or \
             write flags of nodes after it",
        ),
        (
            "distributor --warm-up -1s",
            "unexpected argument -1: values cannot be negative",
        ),
        ("distributor --help=x", "--help x: takes no value"),
    ] {
        assert_eq!(error_of_line(line, 2), message, "{line}");
    }
    let quoted = error_of(&mut command("distributor", &["--http-host", "a b\n"]), 2);
    assert!(quoted.starts_with("--http-host \"a b\\n\": "), "{quoted}");
}

const DIGITS: &str = "not a whole number; use digits only, ";

#[test]
fn numbers_show_the_value_and_the_accepted_form() {
    for (line, flag, range) in [
        ("distributor", "--max-connections", "at least 1"),
        ("distributor", "--max-frame-bytes", "at least 1"),
        ("distributor", "--max-unsent-bytes", "at least 1"),
        ("distributor", "--max-entries", "at least 1"),
        ("distributor", "--max-list-bytes", "at least 1"),
        ("distributor", "--max-registration-bytes", "at least 1"),
        ("distributor", "--max-name-bytes", "at least 1"),
        ("distributor", "--max-urls", "at least 1"),
        ("distributor", "--max-url-bytes", "at least 1"),
        ("distributor", "--max-depth", "1 to 100"),
        ("distributor", "--max-http-connections", "1 to 65535"),
        ("distributor", "--max-accepts-per-turn", "at least 1"),
        ("distributor", "--max-read-bytes-per-turn", "1 to 16777216"),
        ("distributor", "--max-frames-per-turn", "at least 1"),
        ("distributor", "--listen-backlog", "1 to 65535"),
        ("distributor", "--keepalive-probes", "1 to 127"),
        ("distributor", "--send-buffer-bytes", "4096 to 1073741824"),
        ("distributor why", "--limit", "at least 1"),
        ("gateway", "--max-connections", "at least 1"),
        ("gateway", "--max-plain-in-flight", "1 to 4294967295"),
        ("flood storm", "--nodes", "2 to 10000000"),
        ("flood storm", "--rounds", "1 to 1000"),
        ("flood storm", "--pid", "1 to 2147483647"),
        ("flood storm", "--source-addresses", "1 to 10000000"),
        ("flood storm --spawn", "--http-readers", "1 to 10000000"),
        ("flood slow", "--stuck", "1 to 10000000"),
        ("flood rpc", "--connections", "1 to 10000000"),
        ("flood rpc", "--depth", "1 to 10000000"),
    ] {
        for value in ["many", "10k", "1.5", "1_000"] {
            let message = error_of_line(&format!("{line} {flag} {value}"), 2);
            assert_eq!(message, format!("{flag} {value}: {DIGITS}{range}"));
        }
        for value in ["0", "-1"] {
            let message = error_of_line(&format!("{line} {flag} {value}"), 2);
            assert_eq!(message, format!("{flag} {value}: too small; use {range}"));
        }
        let value = "9".repeat(30);
        let message = error_of_line(&format!("{line} {flag} {value}"), 2);
        let begin = format!("{flag} {value}: too large; use ");
        assert!(message.starts_with(&begin), "{message}");
    }
    for value in ["0", "fast", "nan", "1e300"] {
        let message = error_of_line(&format!("flood churn --rate {value}"), 2);
        let form = "not a rate; use a number from 0.001 to 10000000";
        assert_eq!(message, format!("--rate {value}: {form}"));
    }
}

const TIME_FORM: &str = "write a number and a unit, as in 500ms, 10s or 2m";

#[test]
fn durations_show_the_value_and_the_accepted_form() {
    for (line, flag) in [
        ("distributor", "--warm-up"),
        ("distributor", "--heartbeat"),
        ("distributor", "--silence-timeout"),
        ("distributor", "--frame-timeout"),
        ("distributor", "--first-byte-timeout"),
        ("distributor", "--write-timeout"),
        ("distributor", "--keepalive-idle"),
        ("distributor", "--keepalive-interval"),
        ("distributor", "--tcp-user-timeout"),
        ("distributor drain goods", "--wait"),
        ("distributor call GET/goods", "--deadline"),
        ("gateway", "--deadline"),
        ("gateway", "--keep-alive"),
        ("flood storm", "--timeout"),
        ("flood rpc", "--duration"),
    ] {
        for (value, why) in [
            ("soon", "not a duration"),
            ("5", "missing unit"),
            ("5parsec", "unknown unit parsec"),
        ] {
            let message = error_of_line(&format!("{line} {flag} {value}"), 2);
            let expected = format!("{flag} {value}: {why}; {TIME_FORM}");
            assert!(message.starts_with(&expected), "{message}");
        }
        let value = "99999999999999999999s";
        let message = error_of_line(&format!("{line} {flag} {value}"), 2);
        let begin = format!("{flag} {value}: too long; use at most ");
        assert!(message.starts_with(&begin), "{message}");
    }
    for (line, message) in [
        (
            "distributor --frame-timeout 0s",
            "--frame-timeout 0s: too short; use at least 1ms",
        ),
        (
            "distributor --heartbeat 0s",
            "--heartbeat 0s: too short; use at least 10ms",
        ),
        (
            // The kernel rejects it.
            "distributor --keepalive-idle 10h",
            "--keepalive-idle 10h: too long; use at most 9h 6m 7s",
        ),
        (
            "gateway --deadline 2h",
            "--deadline 2h: too long; use at most 1h",
        ),
        (
            "distributor call GET/goods --deadline 0s",
            "--deadline 0s: too short; use at least 1ms",
        ),
    ] {
        assert_eq!(error_of_line(line, 2), message);
    }
}

#[test]
fn addresses_show_the_value_and_the_accepted_form() {
    const FORM: &str = "use ADDRESS:PORT or NAME:PORT, as in";
    for (value, why) in [
        ("9000", format!("invalid address; {FORM} 127.0.0.1:9000")),
        ("[::1]", format!("invalid address; {FORM} 127.0.0.1:9000")),
        (
            "http://localhost:9000",
            format!("invalid address; {FORM} 127.0.0.1:9000"),
        ),
        ("", format!("invalid address; {FORM} 127.0.0.1:9000")),
        ("*:9000", format!("invalid address; {FORM} 127.0.0.1:9000")),
        (
            "db.internal",
            format!("missing port; {FORM} db.internal:9000"),
        ),
        ("::1", format!("missing port; {FORM} [::1]:9000")),
        ("localhost:70000", "invalid port; use 0 to 65535".to_owned()),
    ] {
        for flag in [
            "distributor --listen",
            "distributor --http",
            "distributor call GET/goods --distributor",
            "gateway --listen",
            "gateway --distributor",
            "flood storm --to",
        ] {
            let message = error_of_line(&format!("{flag} {value}"), 2);
            let name = flag.split(' ').next_back().unwrap();
            let value = if value.is_empty() { "\"\"" } else { value };
            let expected = format!("{name} {value}: {why}");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    const AT: &str = "use ADDRESS:PORT or NAME:PORT, as in";
    for (value, why) in [
        ("::1", format!("missing port; {AT} [::1]:9001")),
        ("9001", format!("invalid address; {AT} 127.0.0.1:9001")),
        ("[::1]", format!("invalid address; {AT} 127.0.0.1:9001")),
        ("localhost:70000", "invalid port; use 0 to 65535".to_owned()),
        (
            "http://a:1/nodes",
            format!("invalid address; {AT} 127.0.0.1:9001"),
        ),
        (
            "https://a:1",
            "TLS is not supported; use ADDRESS:PORT".to_owned(),
        ),
    ] {
        let message = error_of_line(&format!("distributor nodes --http {value}"), 2);
        assert_eq!(message, format!("--http {value}: {why}"));
    }
    for value in ["10.0.0.0/33", "shop/8", "10.0.0.0/", "::1/129"] {
        let message = error_of_line(&format!("distributor --allow-from {value}"), 2);
        let form = "not an address block; use ADDRESS or ADDRESS/BITS, as in 10.0.0.0/8";
        assert_eq!(message, format!("--allow-from {value}: {form}"));
    }
}

#[test]
fn configuration_files_and_variables_have_the_same_messages() {
    let folder = Folder::new();
    let path = folder.join("config.toml");
    for (key, value, why) in [
        ("max-entries", "10k", format!("{DIGITS}at least 1")),
        ("max-depth", "0", "too small; use 1 to 100".to_owned()),
        ("warm-up", "soon", format!("not a duration; {TIME_FORM}")),
        ("heartbeat", "0s", "too short; use at least 10ms".to_owned()),
    ] {
        std::fs::write(&path, format!("\n\n{key} = \"{value}\"\n")).unwrap();
        let message = error_of(&mut command("distributor", &["--config", &path]), 2);
        assert_eq!(message, format!("{path}:3: --{key} {value}: {why}"));
        let variable = format!("PILCROW_{}", key.to_uppercase().replace('-', "_"));
        let mut with_variable = command("distributor", &[]);
        let message = error_of(with_variable.env(&variable, value), 2);
        assert_eq!(message, format!("{variable}: --{key} {value}: {why}"));
    }
}

#[test]
fn a_listener_of_the_program_itself_is_named() {
    let port = ReservedPort::new();
    let addr = port.addr;
    let by_name = format!("localhost:{}", addr.port());
    let mapped = format!("[::ffff:127.0.0.1]:{}", addr.port());
    let taken = |flag: &str, holder: &str| {
        format!(
            "{flag}: cannot listen on {addr}: {holder} of this program uses it; choose another \
             port for one of them"
        )
    };
    for (line, message) in [
        (
            format!("distributor --listen {addr} --http {addr}"),
            taken(&format!("--listen {addr}"), &format!("--http {addr}")),
        ),
        (
            format!("distributor --listen {by_name} --http {addr}"),
            taken(&format!("--listen {by_name}"), &format!("--http {addr}")),
        ),
        (
            format!(
                "distributor --allow-anonymous --listen 0.0.0.0:{} --listen {addr}",
                addr.port()
            ),
            taken(
                &format!("--listen {addr}"),
                &format!("--listen 0.0.0.0:{}", addr.port()),
            ),
        ),
        (
            format!("distributor --listen {addr} --listen {addr}"),
            format!("--listen {addr}: given twice; give it once"),
        ),
        (
            format!("gateway --listen {addr},{by_name}"),
            taken(&format!("--listen {by_name}"), &format!("--listen {addr}")),
        ),
        (
            format!("distributor --listen {addr} --http {mapped}"),
            taken(&format!("--listen {addr}"), &format!("--http {mapped}")),
        ),
        (
            format!("gateway --listen {addr} --admin-listen {addr}"),
            taken(
                &format!("--admin-listen {addr}"),
                &format!("--listen {addr}"),
            ),
        ),
        (
            format!("gateway --listen {addr} --distributor {by_name}"),
            format!(
                "--distributor {by_name}: this gateway itself listens there (--listen); give the \
                 address of the Distributor"
            ),
        ),
        (
            format!("gateway --listen {addr} --distributor {addr}"),
            format!(
                "--distributor {addr}: this gateway itself listens there (--listen); give the \
                 address of the Distributor"
            ),
        ),
    ] {
        // Trying again cannot help.
        assert_eq!(error_of_line(&line, 2), message);
    }
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    for program in ["distributor", "gateway"] {
        let message = error_of_line(&format!("{program} --listen {addr}"), 3);
        let expected = format!(
            "--listen {addr}: cannot listen on {addr}: Address already in use; stop the program \
             that listens there, or choose another address"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn paths_are_quoted_only_if_they_have_spaces() {
    let folder = Folder::new();
    for (program, flags) in [
        ("distributor", &["--token-file"][..]),
        ("distributor", &["--admin-token-file"]),
        ("distributor", &["--config"]),
        ("distributor", &["--listen", "127.0.0.1:0", "--state"]),
        (
            "distributor",
            &["why", "--http", "127.0.0.1:1", "--token-file"],
        ),
        ("distributor", &["call", "GET/goods", "--token-file"]),
        ("gateway", &["--token-file"]),
        ("gateway", &["--config"]),
        ("flood", &["storm", "--spawn", "--html"]),
    ] {
        let flag = flags.last().unwrap();
        for (name, quote) in [("none/file", ""), ("no such/file", "\"")] {
            let path = folder.join(name);
            let message = error_of(&mut command(program, &[flags, &[&path]].concat()), 1);
            let begin = format!("{flag} {quote}{path}{quote}: ");
            assert!(message.starts_with(&begin), "{message}");
        }
    }
    let path = folder.join("a file.toml");
    std::fs::write(&path, "max-depth = 0\n").unwrap();
    for program in ["distributor", "gateway"] {
        let message = error_of(&mut command(program, &["--config", &path]), 2);
        assert!(message.starts_with(&format!("\"{path}\":1: ")), "{message}");
    }
}

#[test]
fn a_folder_is_not_a_file_for_the_page() {
    let folder = Folder::new();
    let path = folder.join("");
    let message = error_of_line(&format!("flood storm --spawn --html {path}"), 2);
    let why = "this is a folder; give the path of a file in it";
    assert_eq!(message, format!("--html {path}: {why}"));
}

#[test]
fn configuration_files_name_the_key_and_the_accepted_type() {
    let folder = Folder::new();
    let path = folder.join("config.toml");
    for (text, why) in [
        (
            "listen = 9000",
            "--listen 9000: wrong type; write ADDR in quotes or an array of them, as in \
             \"127.0.0.1:9000\"",
        ),
        (
            "warm-up = 5",
            "--warm-up 5: wrong type; write TIME in quotes, as in \"10s\"",
        ),
        (
            "max-entries = 1.5",
            "--max-entries 1.5: wrong type; write a whole number",
        ),
        (
            "allow-anonymous = \"yes\"",
            "--allow-anonymous \"yes\": wrong type; write true or false",
        ),
        ("lisen = \"x\"", "unknown key lisen; did you mean listen?"),
        (
            "color = 1",
            "unknown key color; keys are the names of flags (see --help)",
        ),
        (
            "print-config = true",
            "unknown key print-config; it is a flag only, remove it",
        ),
        (
            "config = \"x\"",
            "unknown key config; it is a flag only, remove it",
        ),
        (
            "[server]",
            "unknown key server; tables are not supported, write all keys at the top level",
        ),
        (
            "warm-up = \"1s\"\nwarm-up = \"2s\"",
            "invalid TOML: warm-up = \"2s\": duplicate key; remove one",
        ),
        (
            "warm-up",
            "invalid TOML: warm-up: key with no value, expected `=`",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = error_of(&mut command("distributor", &["--config", &path]), 2);
        let line = text.lines().count();
        assert_eq!(message, format!("{path}:{line}: {why}"));
    }
}

#[test]
fn invalid_tokens_are_rejected_by_all_programs() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    let long = "a".repeat(513);
    for (text, why) in [
        (
            "tökens-of-the-fleet\n",
            "invalid character in the token: use printable ASCII without spaces",
        ),
        (&*long, "token too long: use at most 512 bytes"),
        ("# none\n", "no token in the file; write one "),
    ] {
        std::fs::write(&file, text).unwrap();
        for words in [
            &["distributor", "--token-file"][..],
            &["distributor", "--admin-token-file"],
            &["gateway", "--token-file"],
            &[
                "distributor",
                "nodes",
                "--http",
                "127.0.0.1:1",
                "--token-file",
            ],
            &["distributor", "call", "GET/goods", "--token-file"],
        ] {
            let (program, flags) = words.split_first().unwrap();
            let flag = flags.last().unwrap();
            let flags = [flags, &[&*file]].concat();
            let message = error_of(&mut command(program, &flags), 2);
            let message = message.replace("line 1: ", "");
            let begin = format!("{flag} {file}: {why}");
            assert!(message.starts_with(&begin), "{message}");
        }
    }
}

#[test]
fn a_refused_connection_has_its_address_purpose_and_remedy() {
    let unused = ReservedPort::new();
    let addr = unused.addr;
    for command in ["nodes", "watch", "why goods", "drain goods", "check"] {
        let message = error_of_line(&format!("distributor {command} --http {addr}"), 1);
        let expected = format!(
            "admin API at http://{addr}: cannot connect: Connection refused; start a Distributor, \
             or set the address of its admin API with --http ADDR"
        );
        assert_eq!(message, expected);
    }
    for command in ["nodes", "call GET/goods"] {
        let message = error_of_line(&format!("distributor {command} --distributor {addr}"), 1);
        let expected = format!(
            "cannot read the list from {addr}: connection refused; start a Distributor there, or \
             set its address for nodes with --distributor ADDR"
        );
        assert_eq!(message, expected);
    }
    for command in ["storm", "churn", "slow", "rpc", "idle"] {
        let message = error_of_line(&format!("flood {command} --to {addr}"), 1);
        let expected = format!(
            "cannot connect to {addr}: Connection refused; start the server, set another address \
             with --to, or start a server for the run with --spawn"
        );
        assert_eq!(message, expected);
    }
    let gateway = [
        "--listen",
        "127.0.0.1:0",
        "--distributor",
        &addr.to_string(),
    ];
    let gateway = Program::start(&mut command("gateway", &gateway));
    let log = ["WARN", "failed to connect to the Distributor, retrying"];
    let line = gateway.wait_for_log(&log);
    let fields = format!("address={addr} error=connection refused");
    assert!(line.ends_with(&fields), "{line}");
}

#[test]
fn a_name_without_an_address_is_reported_as_such() {
    let test = "messages::a_name_without_an_address_is_reported_as_such";
    if !is_in_own_network(test, "true") {
        return;
    }
    for (line, begin) in [
        (
            "distributor nodes --http none.invalid:1",
            "admin API at http://none.invalid:1: cannot resolve the name: ",
        ),
        (
            "distributor nodes --http none.invalid",
            "admin API at http://none.invalid:80: cannot resolve the name: ",
        ),
        (
            "distributor nodes --distributor none.invalid:1",
            "--distributor none.invalid:1: cannot resolve the name: ",
        ),
        (
            "flood storm --to none.invalid:1",
            "--to none.invalid:1: cannot resolve the name: ",
        ),
    ] {
        let message = error_of_line(line, 1);
        assert!(message.starts_with(begin), "{message}");
        assert!(
            message.ends_with("; check its spelling and DNS, or use an address"),
            "{message}"
        );
    }
}

#[test]
fn a_wrong_port_is_named() {
    let flags = ["--listen", "127.0.0.1:0", "--http", "none"];
    let mut distributor = Program::start(&mut distributor_command(&flags));
    let nodes = distributor.wait_for_line("address", |line| {
        line.strip_prefix("listening on ").map(ToOwned::to_owned)
    });
    let message = error_of_line(&format!("distributor why --http {nodes}"), 1);
    let expected = format!(
        "admin API at http://{nodes}: connection closed without a response; it may be the port for \
         nodes; start a Distributor, or set the address of its admin API with --http ADDR"
    );
    assert_eq!(message, expected);
}

#[test]
fn short_tokens_are_warned_of_in_one_way() {
    const WARNING: &str = "tokens of fewer than 16 characters can be guessed";
    let folder = Folder::new();
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, "sesame\n").unwrap();
    let config = folder.join("config.toml");
    std::fs::write(&config, format!("token-file = \"{tokens}\"\n")).unwrap();
    for (program, more) in [
        ("distributor", &["--http", "none"][..]),
        ("gateway", &["--distributor", "127.0.0.1:1"]),
    ] {
        let mut sources = vec![["--token-file", &tokens], ["--config", &config]];
        if program == "distributor" {
            sources.push(["--admin-token-file", &tokens]);
        }
        for source in sources {
            let flags = [&["--listen", "127.0.0.1:0"], more, &source].concat();
            let running = Program::start(&mut command(program, &flags));
            let line = running.wait_for_log(&["WARN", WARNING, "short=1"]);
            assert!(!line.contains("sesame"), "{line}");
        }
    }
}

#[test]
fn rejected_and_unanswered_registrations_are_logged_with_the_reason() {
    let folder = Folder::new();
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, "0123456789abcdef\n").unwrap();
    let flags = [
        "--listen",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--token-file",
        &tokens,
    ];
    let mut distributor = Program::start(&mut distributor_command(&flags));
    let http = distributor.wait_for_line("http", |line| {
        let address = line.strip_prefix("http on http://")?;
        Some(address.trim_end_matches('/').to_owned())
    });
    let nodes = distributor.wait_for_line("address", |line| {
        line.strip_prefix("listening on ").map(ToOwned::to_owned)
    });
    let gateway = |address: &str| {
        let flags = ["--listen", "127.0.0.1:0", "--log-format", "json"];
        let flags = [&flags[..], &["--distributor", address]].concat();
        Program::start(&mut command("gateway", &flags))
    };
    let rejected = gateway(&nodes);
    let line = rejected.wait_for_log(&["registration rejected, retrying"]);
    // An object with a key twice has the last value for most readers.
    assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    let error = "\"error\":\"authentication required: set `session.token`\"";
    assert!(line.contains(error), "{line}");
    // The port for HTTP.
    let unanswered = gateway(&http);
    let phrase = "the Distributor did not answer the registration, retrying";
    let line = unanswered.wait_for_log(&["WARN", phrase]);
    assert!(line.contains(&format!("\"address\":\"{http}\"")), "{line}");
}
