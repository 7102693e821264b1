//! Output on a terminal: its colors and its width.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;

use crate::admin::AdminServer;
use crate::start;
use crate::support::{Client, Folder, command, distributor_command, output_of};

/// Returns a terminal of this width, and the side of it that a program gets.
fn terminal(columns: u16) -> (File, File) {
    let (terminal, side) = start::terminal();
    let size = Winsize {
        ws_row: 40,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&side, size).unwrap();
    (terminal, side)
}

/// Returns what was written to the other side, which is closed.
fn read_all(mut terminal: File) -> String {
    let mut text = Vec::new();
    // It ends with an error.
    let _ = terminal.read_to_end(&mut text);
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

/// Runs a command whose standard output is a terminal.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let (terminal, side) = terminal(columns);
    command.stdin(Stdio::null()).stdout(side);
    assert!(command.status().unwrap().success());
    drop(command);
    read_all(terminal)
}

fn width(line: &str) -> usize {
    // Without names in wide characters, each is one column.
    line.chars().count()
}

/// Environments of a terminal, and whether output in it has colors.
const ENVIRONMENTS: [(&[(&str, &str)], bool); 4] = [
    (&[], true),
    (&[("NO_COLOR", "")], true),
    (&[("NO_COLOR", "1")], false),
    (&[("TERM", "dumb")], false),
];

fn in_environment(command: &mut Command, variables: &[(&str, &str)]) {
    command.env_remove("NO_COLOR").env("TERM", "xterm");
    command.env_remove("COLUMNS").env_remove("CLICOLOR_FORCE");
    // A build server is taken to show colors whatever the terminal is.
    command.env_remove("CI");
    command.envs(variables.iter().copied());
}

#[test]
fn log_has_colors_on_terminals_that_permit_them() {
    let folder = Folder::new();
    let file = folder.join("tokens");
    std::fs::write(&file, "short\n").unwrap();
    for (variables, is_colored) in ENVIRONMENTS {
        let mut command = distributor_command(&["--print-config", "--token-file", &file]);
        in_environment(&mut command, variables);
        let (terminal, side) = terminal(80);
        command.stdout(Stdio::null()).stderr(side);
        assert!(command.status().unwrap().success());
        drop(command);
        let report = read_all(terminal);
        assert!(report.contains("can be guessed"), "{report}");
        assert_eq!(
            report.contains('\u{1b}'),
            is_colored,
            "{variables:?}: {report}"
        );
    }
}

#[test]
fn help_and_tables_have_colors_on_terminals_that_permit_them() {
    let admin = AdminServer::start_ready(&[]);
    let _goods = admin.distributor.join("goods", 9010);
    let http = admin.http.to_string();
    let outputs: [(&str, &[&str]); 6] = [
        ("distributor", &["-h"]),
        ("gateway", &["--help"]),
        ("flood", &["storm", "-h"]),
        ("distributor", &["nodes", "--http", &http]),
        ("distributor", &["why", "--http", &http]),
        (
            "flood",
            &["idle", "--spawn", "--connections=1", "--duration=10ms"],
        ),
    ];
    for (program, words) in outputs {
        for (variables, is_colored) in ENVIRONMENTS {
            let mut command = command(program, words);
            in_environment(&mut command, variables);
            let text = on_terminal(command, 100);
            assert_eq!(
                text.contains("\u{1b}["),
                is_colored,
                "{program} {words:?} {variables:?}: {text}"
            );
        }
        let mut command = command(program, words);
        in_environment(&mut command, &[]);
        let piped = output_of(&mut command).stdout;
        assert!(!piped.is_empty() && !piped.contains(&0x1b), "{words:?}");
    }
}

/// A Distributor with nodes whose names and URLs are long.
fn with_long_names() -> (AdminServer, Vec<Client>) {
    let admin = AdminServer::start_ready(&[]);
    let long_name = "inventory-of-the-northern-warehouse-and-of-all-its-suppliers-in-europe";
    let urls: Vec<String> = (0..30)
        .map(|number| format!("GET/inventory/{number}"))
        .collect();
    let long_url = format!("GET/{}", "a".repeat(300));
    let mut nodes = Vec::new();
    for params in [
        json!({"port": 9010, "name": "goods", "urls": ["GET/goods", "POST/goods"]}),
        json!({"port": 65535, "name": long_name, "urls": urls}),
        json!({"port": 9011, "name": "shop", "urls": [long_url]}),
        json!({"name": "caller"}),
    ] {
        let mut client = admin.distributor.connect();
        client.post(&params);
        admin
            .distributor
            .program
            .wait_for_log(&["joined", params["name"].as_str().unwrap()]);
        nodes.push(client);
    }
    (admin, nodes)
}

#[test]
fn nodes_fits_the_terminal() {
    let (admin, _nodes) = with_long_names();
    let http = admin.http.to_string();
    let nodes = || {
        let mut command = distributor_command(&["nodes", "--http", &http]);
        in_environment(&mut command, &[("NO_COLOR", "1")]);
        command
    };
    for columns in [80, 100, 60, 200] {
        let text = on_terminal(nodes(), columns);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 4 + 1, "{text}");
        let columns = usize::from(columns);
        assert!(lines.iter().all(|line| width(line) <= columns), "{text}");
        assert_eq!(lines[1], "─".repeat(columns), "{text}");
        // The address is the last to be cut.
        assert!(text.contains("  127.0.0.1:65535 "), "{text}");
        assert!(text.contains("invent"), "{text}");
        assert_eq!(text.contains("plain (not listed)"), columns >= 80, "{text}");
        assert_eq!(
            text.contains("GET/goods POST/goods\n"),
            columns >= 100,
            "{text}"
        );
        assert!(text.contains("…\n"), "{text}");
    }
    // A terminal of unknown size has 80 columns.
    let text = on_terminal(nodes(), 0);
    assert_eq!(text.lines().nth(1), Some(&*"─".repeat(80)));
}

#[test]
fn nodes_in_a_pipe_is_complete_unless_columns_are_given() {
    let (admin, _nodes) = with_long_names();
    let http = admin.http.to_string();
    let mut command = distributor_command(&["nodes", "--http", &http]);
    in_environment(&mut command, &[]);
    let text = String::from_utf8(output_of(&mut command).stdout).unwrap();
    assert!(text.contains(&"a".repeat(300)), "{text}");
    assert!(!text.contains('…'), "{text}");
    let text = output_of(command.env("COLUMNS", "80")).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| width(line) <= 80), "{text}");
    assert_eq!(text.lines().nth(1), Some(&*"─".repeat(80)));
}
