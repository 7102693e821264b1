//! The load tool, on small loads.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::admin::AdminServer;
use crate::support::{Distributor, Folder, Program, ReservedPort, program, wait_until};

fn flood(flags: &str) -> Output {
    let mut command = Command::new(program("flood"));
    command.args(flags.split_whitespace()).stdin(Stdio::null());
    command.output().unwrap()
}

/// Returns the JSON of a run, which must succeed.
#[track_caller]
fn measure(flags: &str) -> Value {
    let output = flood(&format!("{flags} --json"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the error line of a run, which must fail with this code and print nothing else.
#[track_caller]
fn error_of(output: Output, code: i32) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(output.stdout.is_empty());
    error
}

#[track_caller]
fn figure<'a>(report: &'a Value, name: &str) -> &'a Value {
    let figures = report["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["name"] == name);
    found.unwrap_or_else(|| panic!("no {name:?} in {report:#}"))
}

#[track_caller]
fn value(report: &Value, name: &str) -> f64 {
    let figure = figure(report, name);
    let value = figure["value"].as_f64();
    value.unwrap_or_else(|| panic!("{figure}"))
}

#[track_caller]
fn assert_joins(report: &Value, joins: f64) {
    let figure = figure(report, "joins that reached all watchers");
    for column in ["value", "baseline"] {
        assert_eq!(figure[column], joins, "{figure}");
    }
}

/// Checks that every figure of a run with a baseline has the figure of the baseline and a ratio.
#[track_caller]
fn assert_ratios(report: &Value) {
    for figure in report["figures"].as_array().unwrap() {
        // The bare server does not measure its loop.
        let name = figure["name"].as_str().unwrap();
        if (name.contains("turn of the server") || name.contains("the server's loop"))
            && figure["baseline"].is_null()
        {
            continue;
        }
        let number = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("{figure}"));
        let ratio = number("value") / number("baseline");
        assert!((number("ratio") / ratio - 1.0).abs() < 1e-6, "{figure}");
    }
}

#[test]
fn storm_converges_for_every_watch_mode() {
    for watch in ["plain", "list", "delta"] {
        let flags = format!("storm --spawn --nodes 20 --rounds 2 --baseline --watch {watch}");
        let report = measure(&flags);
        assert_ratios(&report);
        assert_eq!(report["settings"]["rounds"], "2");
        assert!(value(&report, "until all nodes have the list") > 0.0);
        assert_eq!(figure(&report, "lists per node")["baseline"], 1.0);
        assert!(value(&report, "lists per node") >= 1.0);
        assert_eq!(report["curves"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn churn_shows_the_longest_turn_of_an_embedded_node() {
    const ROWS: [&str; 4] = [
        "longest turn of an embedded node",
        "longest turn of a loop that does nothing",
        "turn of an embedded node, p50",
        "turn of a loop that does nothing, max",
    ];
    for comparison in ["", "--baseline"] {
        let flags = "churn --spawn --embedded --nodes 20 --rate 50 --duration 400ms --rounds 2";
        let report = measure(&format!("{flags} {comparison}"));
        for name in ROWS {
            let figure = figure(&report, name);
            assert!(figure["value"].as_f64() > Some(0.0), "{figure}");
            assert!(figure["baseline"].is_null(), "{figure}");
        }
        // The node is not in the list that the watchers receive.
        assert_eq!(value(&report, "joins that reached all watchers"), 20.0);
        assert_eq!(report["settings"]["embedded"], "a node and an idle loop");
    }
    let report = measure("churn --spawn --nodes 5 --rate 50 --duration 100ms --rounds 1");
    let figures = report["figures"].as_array().unwrap();
    let is_turn = |figure: &&Value| figure["name"].as_str().unwrap().contains("turn of a");
    assert_eq!(figures.iter().find(is_turn), None);
    let error = error_of(flood("slow --embedded"), 2);
    assert!(error.contains("--embedded"), "{error}");
}

#[test]
fn churn_reaches_each_session_that_a_change_concerns() {
    // Each service has 4 members, and 2 others subscribe to it. Joiners belong to services in turn.
    let flags = "churn --spawn --nodes 20 --services 5 --subscriptions 2 --rate 50";
    for watch in ["delta", "list"] {
        let rounds = "--duration 400ms --rounds 1 --baseline";
        let report = measure(&format!("{flags} {rounds} --watch {watch}"));
        assert_ratios(&report);
        assert_joins(&report, 20.0);
        for (name, count) in [
            ("services", "5"),
            ("subscriptions of a node", "2"),
            ("watch", watch),
        ] {
            assert_eq!(report["settings"][name], count);
        }
        for column in ["value", "baseline"] {
            let concerned = &figure(&report, "sessions that a change concerns")[column];
            assert_eq!(concerned, 8.0);
        }
        let median = value(&report, "join to each session that it concerns, p50");
        let slowest = value(&report, "join to the last session that it concerns, max");
        assert!(median > 0.0 && median <= slowest);
        assert!(value(&report, "server CPU for a change under churn") > 0.0);
        // Nothing else is sent: at most one update for each change and each session.
        let updates = value(&report, "updates to a watcher for a change");
        assert!(updates <= 1.0, "{updates}");
        assert!(report["notes"].as_array().unwrap().is_empty(), "{report}");
    }
}

#[test]
fn subscribers_do_not_have_to_be_listed_or_even_in_number() {
    // Services have 3 or 4 members.
    let flags = "churn --spawn --nodes 17 --services 5 --rate 50 --duration 200ms --rounds 1";
    for more in ["--subscriptions 5", "--subscriptions 3 --unlisted", ""] {
        let report = measure(&format!("{flags} {more}"));
        let reached = value(&report, "joins that reached all watchers");
        assert_eq!(reached, 10.0, "{more}");
    }
}

#[test]
fn storm_converges_on_what_each_node_subscribes_to() {
    let flags = "storm --spawn --nodes 40 --services 8 --rounds 2 --baseline";
    let [all, some] = ["--watch delta", "--subscriptions 2"].map(|more| {
        let report = measure(&format!("{flags} {more}"));
        assert_ratios(&report);
        assert_eq!(report["settings"]["watch"], "delta");
        assert_eq!(figure(&report, "lists per node")["baseline"], 1.0);
        let bytes = figure(&report, "bytes per node")["baseline"].as_f64();
        bytes.unwrap()
    });
    // 10 of 40 entries, and a frame.
    assert!(some < all / 2.0, "{some} of {all}");
}

/// Returns the address of a Distributor that confirms each registration with these results.
fn distributor_that_confirms_with(results: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut bytes = [0; 4096];
            // The first connection only shows that the address is reachable.
            if client.read(&mut bytes).unwrap() == 0 {
                continue;
            }
            let reply = r#"{"key":1,"errorcode":0,"errormessage":"success","results":"#;
            client
                .write_all(format!("{reply}{results}}}¶").as_bytes())
                .unwrap();
            clients.push(client);
        }
    });
    addr
}

#[test]
fn fails_if_the_distributor_does_not_offer_subscriptions() {
    for (results, part) in [
        (
            r#"{"id":1,"epoch":"e","rev":1,"heartbeat_ms":5000}"#,
            "does not offer subscriptions",
        ),
        (
            r#"{"id":1,"epoch":"e","rev":1,"heartbeat_ms":5000,"features":["at"]}"#,
            "does not offer subscriptions",
        ),
        (
            r#"{"id":1,"epoch":"e","rev":1,"heartbeat_ms":5000,"features":["only"],"only":false}"#,
            "too many subscriptions",
        ),
    ] {
        let to = distributor_that_confirms_with(results);
        for scenario in ["churn", "storm"] {
            let flags = "--nodes 2 --services 2 --subscriptions 1 --rounds 1";
            let error = error_of(flood(&format!("{scenario} {flags} --to {to}")), 1);
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn load_chooses_the_rate_of_joins() {
    let flags = "churn --spawn --nodes 20 --duration 400ms --rounds 1 --baseline --load";
    let [low, high] = ["0.01", "0.03"].map(|load| {
        let report = measure(&format!("{flags} {load}"));
        let settings = &report["settings"];
        assert_eq!(settings["load of the bare loop"], load);
        let rate: f64 = settings["joins per second"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(value(&report, "joins per second") <= rate * 1.5);
        rate
    });
    assert!(low > 0.0 && high > low, "{low} {high}");
}

#[test]
fn shows_how_the_loop_of_a_spawned_server_spends_its_time() {
    let longest = "longest turn of the server";
    for flags in [
        "churn --nodes 10 --rate 50 --duration 200ms --rounds 1",
        "storm --nodes 10 --rounds 1",
    ] {
        let report = measure(&format!("{flags} --spawn"));
        assert!(value(&report, longest) > 0.0);
        let kinds = ["writing", "other work", "waiting"];
        let shares =
            kinds.map(|kind| value(&report, &format!("time of the server's loop: {kind}")));
        assert!(shares.iter().all(|share| *share > 0.0), "{shares:?}");
        let sum: f64 = shares.iter().sum();
        assert!((sum - 1.0).abs() < 0.05, "{shares:?}");
    }
    let server = Distributor::start(&[]);
    let report = measure(&format!("storm --nodes 3 --rounds 1 --to {}", server.addr));
    let figures = report["figures"].as_array().unwrap();
    assert!(figures.iter().all(|figure| figure["name"] != longest));
}

#[test]
fn omits_ratios_without_a_baseline() {
    let flags = "storm --spawn --nodes 3 --rounds 1";
    let report = measure(flags);
    for figure in report["figures"].as_array().unwrap() {
        let has_one_value = figure["ratio"].is_null() && figure["value"].is_number();
        assert!(has_one_value, "{figure}");
    }
    let table = String::from_utf8(flood(flags).stdout).unwrap();
    assert!(table.contains("until all nodes have the list"), "{table}");
    assert!(!table.contains("ratio"), "{table}");
}

#[test]
fn reports_each_error_in_one_line() {
    let unused = ReservedPort::new();
    let to = unused.addr;
    for (flags, code, part) in [
        (&*format!("storm --to {to}"), 1, "Connection refused"),
        ("storm --nodez 3", 2, "--nodez"),
        ("storm --nodes 0", 2, "--nodes"),
        ("storm --spawn --pid 1", 2, "--pid"),
        ("", 2, "missing command"),
        ("rpc --path echo", 2, "--path"),
        ("rpc --params {", 2, "--params"),
        ("idle --duration 1m", 2, "--registered"),
        ("churn --rate 0", 2, "--rate"),
        ("churn --load 0.5", 2, "--baseline"),
        ("churn --load 0.5 --rate 5 --baseline", 2, "--rate"),
        ("churn --load 0 --baseline", 2, "--load"),
        ("churn --load 45 --baseline", 2, "--load"),
        ("churn --subscriptions 3", 2, "--services"),
        (
            "storm --services 5 --subscriptions 6",
            2,
            "--subscriptions 6",
        ),
        ("storm --services 5 --subscriptions 0", 2, "--subscriptions"),
        ("storm --nodes 9 --services 10", 2, "--services 10"),
        (
            "storm --watch plain --services 5 --subscriptions 2",
            2,
            "--watch",
        ),
        ("slow --services 5", 2, "--services"),
        ("churn --rate 1e-300", 2, "--rate"),
        ("rpc --duration 584000000000y", 2, "--duration"),
        ("storm --timeout 584000000000y", 2, "--timeout"),
        ("storm --timeout 0s", 2, "--timeout"),
        (&format!("storm --nodes 1 --to {to}"), 2, "--nodes"),
        (
            &format!("churn --http-readers 5 --to {to}"),
            2,
            "--http ADDR",
        ),
        (&format!("churn --http {to}"), 2, "--http-readers"),
        (
            &format!("storm --spawn --http-readers 5 --http {to}"),
            2,
            "--http",
        ),
    ] {
        let error = error_of(flood(flags), code);
        assert!(error.contains(part), "{flags}: {error}");
    }
}

#[test]
fn churn_reaches_every_watcher() {
    for watch in ["plain", "list", "delta"] {
        let flags = "churn --spawn --nodes 10 --rate 50 --duration 400ms --rounds 1 --baseline";
        let report = measure(&format!("{flags} --watch {watch}"));
        assert_ratios(&report);
        assert_joins(&report, 20.0);
        let median = value(&report, "join to each watcher, p50");
        let slowest = value(&report, "join to the last watcher, max");
        assert!(median > 0.0 && median <= slowest);
        assert_eq!(report["curves"].as_array().unwrap().len(), 2);
        let points = &report["time_line"]["lines"][0]["points"];
        assert_eq!(points.as_array().unwrap().len(), 20);
        assert!(report["notes"].as_array().unwrap().is_empty(), "{report}");
    }
}

/// Returns the address of a proxy. It forwards frames to the first client only after the second one
/// has received its list; all other frames it forwards at once.
fn proxy_that_delays_the_first(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (release, released) = mpsc::channel::<()>();
        let mut released = Some(released);
        let mut release = Some(release);
        for number in 0.. {
            let Ok((client, _)) = listener.accept() else {
                return;
            };
            let server = TcpStream::connect(to).unwrap();
            let (mut from_client, mut to_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (registered, is_registered) = mpsc::channel();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = from_client.read(&mut bytes) {
                    if to_server.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                    let _ = registered.send(());
                }
                let _ = to_server.shutdown(Shutdown::Both);
            });
            let held = released.take_if(|_| number == 1);
            let release = release.take_if(|_| number == 2);
            let (mut from_server, mut to_client) = (server, client);
            if number == 1 {
                // The second client connects after this one's registration was confirmed.
                is_registered.recv().unwrap();
                let mut first = vec![0; 64 << 10];
                let mut length = 0;
                while !String::from_utf8_lossy(&first[..length]).contains("\"errorcode\":0") {
                    length += from_server.read(&mut first[length..]).unwrap();
                }
                thread::spawn(move || {
                    held.unwrap().recv().unwrap();
                    to_client.write_all(&first[..length]).unwrap();
                    let _ = io::copy(&mut from_server, &mut to_client);
                });
                continue;
            }
            thread::spawn(move || {
                let mut bytes = [0; 64 << 10];
                let mut all = Vec::new();
                while let Ok(count @ 1..) = from_server.read(&mut bytes) {
                    if to_client.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                    all.extend_from_slice(&bytes[..count]);
                    if let Some(release) = &release
                        && String::from_utf8_lossy(&all).contains("w00000001")
                    {
                        // The newer list must have been read when the older one arrives.
                        thread::sleep(Duration::from_millis(200));
                        let _ = release.send(());
                    }
                }
                let _ = to_client.shutdown(Shutdown::Both);
            });
        }
    });
    addr
}

#[test]
fn baseline_ignores_an_older_list_that_arrives_last() {
    let distributor = Distributor::start(&["--warm-up", "0s"]);
    let to = proxy_that_delays_the_first(distributor.addr);
    let flags = "churn --nodes 2 --rate 20 --duration 200ms --rounds 1 --baseline --timeout 20s";
    assert_joins(&measure(&format!("{flags} --to {to}")), 4.0);
}

#[test]
fn slow_compares_stuck_watchers_with_none() {
    for baseline in ["", "--baseline"] {
        let flags = "slow --spawn --nodes 10 --stuck 2 --rate 50 --duration 200ms --unlisted";
        let report = measure(&format!("{flags} {baseline}"));
        assert_joins(&report, 10.0);
        assert_eq!(value(&report, "stuck watchers cut, all rounds"), 0.0);
        let settings = ["watch", "rounds"].map(|name| &report["settings"][name]);
        assert_eq!(settings, ["list", "1"], "other defaults than churn");
    }
}

#[test]
fn compares_http_readers_with_none() {
    let admin = AdminServer::start_ready(&[]);
    let running = format!("--to {} --http {}", admin.distributor.addr, admin.http);
    let churn = "churn --rate 50 --duration 400ms";
    for (flags, bare) in [(churn, "bare send loop"), ("storm", "bare acceptor")] {
        for (server, heading) in [
            ("--spawn", "no readers"),
            (&*running, "no readers"),
            ("--spawn --baseline", bare),
        ] {
            let flags = format!("{flags} --nodes 10 --rounds 2 --http-readers 6 {server}");
            let report = measure(&flags);
            assert_eq!(report["baseline"], heading, "{flags}");
            if report["command"] == "churn" {
                assert_joins(&report, 20.0);
            }
            assert!(
                value(&report, "read from the HTTP side, all rounds") > 0.0,
                "{report:#}"
            );
            assert_eq!(value(&report, "HTTP readers cut, all rounds"), 0.0);
        }
    }
}

#[test]
fn fails_if_the_http_side_is_unreadable() {
    let folder = Folder::new();
    let tokens = folder.join("tokens");
    std::fs::write(&tokens, "0123456789abcdef\n").unwrap();
    let admin = AdminServer::start_ready(&["--token-file", &tokens]);
    let open = Distributor::start(&[]);
    let unused = ReservedPort::new();
    for (http, part) in [
        (unused.addr, "Connection refused"),
        (open.addr, "connection closed without a response"),
        (admin.http, "401"),
    ] {
        let flags = "storm --nodes 3 --rounds 1 --http-readers 3";
        let output = flood(&format!("{flags} --to {} --http {http}", open.addr));
        let error = error_of(output, 1);
        assert!(
            error.contains(part) && error.contains(&http.to_string()),
            "{error}"
        );
    }
}

#[test]
fn notes_refused_http_readers() {
    let admin = AdminServer::start_ready(&["--max-http-connections", "4"]);
    let (to, http) = (admin.distributor.addr, admin.http);
    let flags = "churn --nodes 3 --rate 10 --duration 1s --rounds 1 --http-readers 8";
    let report = measure(&format!("{flags} --to {to} --http {http}"));
    assert_eq!(value(&report, "HTTP readers cut, all rounds"), 0.0);
    let notes = report["notes"].to_string();
    assert!(notes.contains("refused"), "{notes}");
}

#[test]
fn idle_reports_memory_per_connection() {
    for registered in ["", "--registered --unlisted"] {
        let flags = "idle --spawn --connections 200 --duration 100ms --baseline";
        let report = measure(&format!("{flags} {registered}"));
        assert_eq!(report["settings"]["connections"], "200");
        assert!(value(&report, "server memory per connection, anonymous") > 0.0);
        let resident = figure(&report, "server memory while idle, resident");
        assert!(resident["ratio"].as_f64() > Some(0.0), "{resident}");
        assert_eq!(value(&report, "connections lost"), 0.0);
    }
}

#[test]
fn rpc_counts_one_reply_per_request() {
    for (rate, requests) in [("", None), ("--rate 500", Some(100.0))] {
        let flags = "rpc --spawn --connections 3 --depth 4 --duration 200ms --rounds 2 --baseline";
        let report = measure(&format!("{flags} {rate}"));
        for column in ["value", "baseline"] {
            let count = |name: &str| figure(&report, name)[column].as_f64().unwrap();
            assert!(count("requests") >= 12.0);
            assert_eq!(count("replies"), count("requests"));
            for name in ["errors", "lost", "replies without a request"] {
                assert_eq!(count(name), 0.0, "{name}");
            }
            assert!(
                requests.is_none_or(|requests| count("requests") == requests),
                "{report}"
            );
        }
        let cpu = figure(&report, "server CPU per request, best round");
        assert!(cpu["ratio"].as_f64() > Some(0.0), "{cpu}");
        let points = &report["time_line"]["lines"][1]["points"];
        assert!(!points.as_array().unwrap().is_empty());
    }
}

#[test]
fn percentiles_include_abandoned_requests() {
    let flags = "rpc --spawn --rate 10000000 --duration 100ms --rounds 1 --timeout 100ms --depth 1";
    let report = measure(flags);
    // Most requests never find room, and wait until they are abandoned.
    assert!(
        value(&report, "lost") > value(&report, "replies"),
        "{report}"
    );
    assert!(value(&report, "request to reply, p90") >= 0.1, "{report}");
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("abandoned"), "{note}");
}

#[test]
fn counts_and_explains_refused_requests() {
    let flags = "rpc --spawn --connections 1 --depth 1 --duration 50ms --rounds 1 --path POST/x";
    let report = measure(flags);
    assert!(value(&report, "errors") > 0.0);
    assert_eq!(value(&report, "replies"), 0.0);
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.contains("errorcode 2"), "{note}");
}

#[test]
fn html_page_needs_no_other_files() {
    let folder = Folder::new();
    let file = folder.join("page.html");
    measure(&format!(
        "storm --spawn --nodes 20 --rounds 1 --html {file}"
    ));
    let page = std::fs::read_to_string(&file).unwrap();
    let charts = page.matches("<svg").count();
    assert_eq!(charts, 2, "the percentile curve and the time line");
    assert!(page.contains("until all nodes have the list"));
    for external in ["http://", "https://", "src=", "<link", "url(", "import "] {
        assert!(!page.contains(external), "{external}");
    }

    let output = flood(&format!(
        "storm --spawn --nodes 2 --rounds 1 --html {file}/page.html"
    ));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("--html") && error.lines().count() == 1,
        "{error}"
    );
}

fn with_fds(limit: u32, flags: &str) -> Output {
    let script = format!("ulimit -n {limit} && exec \"$0\" {flags}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, &program("flood")]);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn fd_limit_caps_a_run_with_a_note() {
    for (flags, setting) in [
        (
            "storm --spawn --nodes 900 --rounds 1 --json --baseline",
            "nodes",
        ),
        (
            "idle --spawn --connections 900 --duration 10ms --json",
            "connections",
        ),
    ] {
        let output = with_fds(200, flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in ["ulimit -n", "200", "using 136 of 900"] {
            assert!(error.contains(part), "no {part}: {error}");
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["settings"][setting], "136", "{report}");
        assert!(report["notes"][0].as_str().unwrap().contains("ulimit -n"));
    }
}

#[test]
fn fails_without_room_for_connections() {
    for flags in [
        "churn --spawn --nodes 50 --duration 100ms",
        "idle --spawn --connections 50 --duration 10ms",
        "rpc --spawn --duration 10ms",
        "storm --spawn --nodes 50",
    ] {
        let error = error_of(with_fds(60, flags), 1);
        assert!(
            error.contains("ulimit -n") && error.contains("too few"),
            "{error}"
        );
    }
}

#[test]
fn fails_if_stdout_is_full() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = Command::new(program("flood"));
    command.args("storm --spawn --nodes 3 --rounds 1 --json".split(' '));
    let error = error_of(command.stdout(full).output().unwrap(), 1);
    assert!(error.contains("standard output"), "{error}");
}

#[test]
fn connects_from_several_source_addresses() {
    let server = Distributor::start(&[]);
    let flags = "storm --nodes 30 --rounds 1 --source-addresses 3";
    let report = measure(&format!("{flags} --to {}", server.addr));
    assert!(value(&report, "until all nodes have the list") > 0.0);
    let joined_from = |source: &str| {
        let peer = format!("peer={source}:");
        let lines = server.program.stderr();
        let joined = lines.iter().filter(|line| line.contains("joined"));
        joined.filter(|line| line.contains(&peer)).count()
    };
    for source in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        wait_until("ten nodes from each address", || joined_from(source) == 10);
    }
}

/// Returns the CPU time of all threads of a process.
fn cpu_nanos(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.map(|task| -> u64 {
        let used = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        used.split(' ').next().unwrap().parse().unwrap()
    });
    nanos.sum()
}

#[test]
fn measures_a_running_server() {
    let server = Distributor::start(&[]);
    let pid = server.program.pid();
    let to = format!("--to {} --pid {pid}", server.addr);
    let flags = "churn --nodes 5 --rate 50 --duration 100ms --rounds 1 --baseline";
    let report = measure(&format!("{flags} {to}"));
    assert_ratios(&report);
    assert!(value(&report, "server CPU in all") > 0.0);
    server.assert_serves();

    let before = cpu_nanos(pid);
    let report = measure(&format!("idle --connections 1 --duration 10ms {to}"));
    let used = (cpu_nanos(pid) - before) as f64 / 1e9;
    let reported = value(&report, "server CPU in all");
    assert!(reported <= used, "{reported} of {used} s");

    let output = flood(&format!("idle --to {} --pid 4000000000", server.addr));
    let error = error_of(output, 2);
    assert!(error.contains("--pid"), "{error}");
}

#[test]
fn fails_with_the_refusal_of_the_server() {
    let server = Distributor::start(&["--max-entries", "5"]);
    for flags in [
        "storm --nodes 9 --rounds 1",
        // There is room for the watchers, but not for joiners.
        "churn --nodes 5 --duration 100ms --rounds 1",
    ] {
        let error = error_of(flood(&format!("{flags} --to {}", server.addr)), 1);
        assert!(error.contains("errorcode 4"), "{error}");
    }
}

#[test]
fn fails_at_the_timeout_if_nodes_never_converge() {
    // It accepts connections, and sends nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = silent.local_addr().unwrap();
    let error = error_of(
        flood(&format!("storm --nodes 3 --timeout 200ms --to {to}")),
        1,
    );
    assert!(
        error.contains("0 of 3") && error.contains("--timeout"),
        "{error}"
    );
}

/// Returns the child processes that a process has not reaped yet.
fn children_of(pid: u32) -> Vec<u32> {
    let children = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let children = children.split_whitespace();
    children.filter_map(|child| child.parse().ok()).collect()
}

fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // It may be a zombie without a parent that reaps it.
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    }
}

/// Waits until the run has this many children, and returns them.
#[track_caller]
fn wait_for_children(run: &mut Program, count: usize) -> Vec<u32> {
    let mut children = Vec::new();
    wait_until("the children", || {
        assert!(run.is_running(), "ended early: {:?}", run.stderr());
        children = children_of(run.pid());
        children.len() >= count
    });
    children
}

#[track_caller]
fn assert_ended(children: &[u32]) {
    wait_until("the children to end", || {
        children.iter().all(|child| is_gone(*child))
    });
}

/// A run that only a signal ends.
pub(crate) const ENDLESS: &str = "churn --spawn --nodes 5 --rate 20 --duration 10m --baseline";

#[test]
fn children_end_with_the_run() {
    for signal in [Signal::KILL, Signal::INT] {
        let mut command = Command::new(program("flood"));
        let mut run = Program::start(command.args(ENDLESS.split(' ')));
        let children = wait_for_children(&mut run, 2);
        run.signal(signal);
        run.wait();
        assert_ended(&children);
    }
}

/// Background jobs of scripts ignore SIGINT until they handle it: one that arrives before that, for
/// instance while the servers are being started, is lost.
#[test]
fn handles_sigint_while_servers_start() {
    let mut command = Command::new("sh");
    let script = format!("trap '' INT && exec \"$0\" {ENDLESS}");
    let mut run = Program::start(command.args(["-c", &script, &program("flood")]));
    let children = wait_for_children(&mut run, 1);
    run.signal(Signal::INT);
    assert_eq!(run.wait().code(), Some(1));
    let error = run.stderr().join("");
    assert!(error.contains("stopped before"), "{error}");
    assert_ended(&children);
}

#[test]
fn reports_figures_of_a_stopped_run() {
    let mut command = Command::new(program("flood"));
    command.args("rpc --spawn --duration 10m --rounds 1 --baseline".split(' '));
    let mut run = Program::start(&mut command);
    let server = wait_for_children(&mut run, 2)[0];
    wait_until("some requests", || cpu_nanos(server) > 100_000_000);
    run.signal(Signal::INT);
    assert!(run.wait().success(), "{:?}", run.stderr());
    let find = |start: &str| {
        let mut lines = run.stdout().into_iter();
        lines.find(|line| line.starts_with(start))
    };
    wait_until("the table", || find("request to reply, p50").is_some());
    let lost = find("lost").unwrap();
    assert_eq!(lost.split_whitespace().collect::<Vec<_>>(), ["lost", "0"]);
    let output = run.stdout().join("\n");
    assert!(output.contains("0 of 1 rounds"), "{output}");
    // The baseline has not begun, so there is no comparison.
    assert!(
        !output.contains("bare echo") && !output.contains("×"),
        "{output}"
    );
}
