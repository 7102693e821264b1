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

fn flood(flags: &[&str]) -> Output {
    let mut command = Command::new(program("flood"));
    command.args(flags).stdin(Stdio::null()).output().unwrap()
}

/// What a run that succeeds says as JSON.
#[track_caller]
fn measured(flags: &[&str]) -> Value {
    let output = flood(&[flags, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{flags:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn figure<'a>(report: &'a Value, name: &str) -> &'a Value {
    let figures = report["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["name"] == name);
    found.unwrap_or_else(|| panic!("no {name:?} in {report:#}"))
}

/// Every figure of a run with a baseline stands beside another, with the ratio of the two.
#[track_caller]
fn assert_ratios(report: &Value) {
    for figure in report["figures"].as_array().unwrap() {
        let number = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("{figure}"));
        let ratio = number("value") / number("baseline");
        assert!((number("ratio") / ratio - 1.0).abs() < 1e-6, "{figure}");
    }
}

#[test]
fn storm_converges_for_every_watch_mode() {
    for watch in ["plain", "list", "delta"] {
        let flags = [
            "storm",
            "--spawn",
            "--nodes",
            "20",
            "--rounds",
            "2",
            "--baseline",
        ];
        let report = measured(&[&flags[..], &["--watch", watch]].concat());
        assert_ratios(&report);
        assert_eq!(report["settings"]["rounds"], "2");
        assert!(figure(&report, "until all hold all")["value"].as_f64() > Some(0.0));
        assert_eq!(figure(&report, "lists a node")["baseline"], 1.0);
        assert!(figure(&report, "lists a node")["value"].as_f64() >= Some(1.0));
        assert_eq!(report["curves"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn omits_ratios_without_a_baseline() {
    let report = measured(&["storm", "--spawn", "--nodes", "3", "--rounds", "1"]);
    for figure in report["figures"].as_array().unwrap() {
        assert!(
            figure["ratio"].is_null() && figure["value"].is_number(),
            "{figure}"
        );
    }
    let output = flood(&["storm", "--spawn", "--nodes", "3", "--rounds", "1"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("until all hold all") && !table.contains("ratio"),
        "{table}"
    );
}

#[test]
fn reports_each_error_in_one_line() {
    let nobody = ReservedPort::new();
    let to = nobody.addr.to_string();
    for (flags, code, part) in [
        (&["storm", "--to", &to][..], 1, "nothing listens there"),
        (&["storm", "--nodez", "3"], 2, "--nodez"),
        (&["storm", "--nodes", "0"], 2, "--nodes"),
        (&["storm", "--spawn", "--pid", "1"], 2, "--pid"),
        (&[], 2, "no scenario"),
        (&["rpc", "--path", "echo"], 2, "--path"),
        (&["rpc", "--params", "{"], 2, "--params"),
        (&["idle", "--duration", "1m"], 2, "--registered"),
        (&["churn", "--rate", "0"], 2, "--rate"),
        (&["churn", "--rate", "1e-300"], 2, "--rate"),
        (&["rpc", "--duration", "584000000000y"], 2, "--duration"),
        (&["storm", "--timeout", "584000000000y"], 2, "--timeout"),
        (&["storm", "--timeout", "0s"], 2, "--timeout"),
        (&["storm", "--nodes", "1", "--to", &to], 2, "--nodes"),
        (
            &["churn", "--http-readers", "5", "--to", &to],
            2,
            "--http ADDR",
        ),
        (&["churn", "--http", &to], 2, "--http-readers"),
        (
            &["storm", "--spawn", "--http-readers", "5", "--http", &to],
            2,
            "--http",
        ),
    ] {
        let output = flood(flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(part), "{flags:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn churn_reaches_every_watcher() {
    for watch in ["plain", "list", "delta"] {
        let flags = "churn --spawn --nodes 10 --rate 50 --duration 400ms --rounds 1 --baseline";
        let flags: Vec<&str> = flags.split(' ').chain(["--watch", watch]).collect();
        let report = measured(&flags);
        assert_ratios(&report);
        let joins = figure(&report, "joins all watchers were told of");
        assert_eq!(
            (&joins["value"], &joins["baseline"]),
            (&20.0.into(), &20.0.into())
        );
        let median = &figure(&report, "join to each watcher, p50")["value"];
        let slowest = &figure(&report, "join to the last watcher, max")["value"];
        assert!(median.as_f64() > Some(0.0) && median.as_f64() <= slowest.as_f64());
        assert_eq!(report["curves"].as_array().unwrap().len(), 2);
        assert_eq!(
            report["time_line"]["lines"][0]["points"]
                .as_array()
                .unwrap()
                .len(),
            20
        );
        assert!(report["notes"].as_array().unwrap().is_empty(), "{report}");
    }
}

/// Hands on what two watchers and the Distributor say, but to the first one nothing before the
/// second has its list. Those who come later are forwarded as they are.
fn hold_back_the_first(to: SocketAddr) -> SocketAddr {
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
                // The second one comes when this one's registration has been answered.
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
                        // So that the newer list has been read when the older one comes.
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
    let to = hold_back_the_first(distributor.addr).to_string();
    let flags =
        "churn --nodes 2 --rate 20 --duration 200ms --rounds 1 --baseline --timeout 20s --to";
    let flags: Vec<&str> = flags.split(' ').chain([to.as_str()]).collect();
    let report = measured(&flags);
    let joins = figure(&report, "joins all watchers were told of");
    assert_eq!(
        (&joins["value"], &joins["baseline"]),
        (&4.0.into(), &4.0.into())
    );
}

#[test]
fn slow_compares_stuck_watchers_with_none() {
    for baseline in [&[][..], &["--baseline"]] {
        let flags = "slow --spawn --nodes 10 --stuck 2 --rate 50 --duration 200ms --unlisted";
        let flags: Vec<&str> = flags.split(' ').chain(baseline.iter().copied()).collect();
        let report = measured(&flags);
        let joins = figure(&report, "joins all watchers were told of");
        assert_eq!(
            (&joins["value"], &joins["ratio"]),
            (&10.0.into(), &1.0.into())
        );
        assert_eq!(
            figure(&report, "stuck watchers cut, all rounds")["value"],
            0.0
        );
        let settings = ["watch", "rounds"].map(|name| &report["settings"][name]);
        assert_eq!(settings, ["list", "1"], "other defaults than churn");
    }
}

#[test]
fn compares_http_readers_with_none() {
    let admin = AdminServer::start_ready(&[]);
    let to = admin.distributor.addr.to_string();
    let http = admin.http.to_string();
    let churn = "churn --nodes 10 --rate 50 --duration 400ms --rounds 2 --http-readers 6";
    let storm = "storm --nodes 10 --rounds 2 --http-readers 6";
    for (flags, joins) in [(churn, Some(20.0)), (storm, None)] {
        for server in [
            &["--spawn"][..],
            &["--to", &to, "--http", &http],
            &["--spawn", "--baseline"],
        ] {
            let flags: Vec<&str> = flags.split(' ').chain(server.iter().copied()).collect();
            let report = measured(&flags);
            let beside = match (server.len(), joins) {
                (2, Some(_)) => "bare send loop",
                (2, None) => "bare acceptor",
                _ => "no readers",
            };
            assert_eq!(report["baseline"], beside, "{flags:?}");
            if let Some(joins) = joins {
                let told = figure(&report, "joins all watchers were told of");
                assert_eq!(
                    (&told["value"], &told["baseline"]),
                    (&joins.into(), &joins.into())
                );
            }
            let read = figure(&report, "read from the HTTP side, all rounds");
            assert!(read["value"].as_f64() > Some(0.0), "{report:#}");
            assert_eq!(
                figure(&report, "HTTP readers cut, all rounds")["value"],
                0.0
            );
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
    let to = open.addr.to_string();
    let nobody = ReservedPort::new();
    for (http, part) in [
        (nobody.addr, "nothing listens there"),
        (open.addr, "invalid HTTP"),
        (admin.http, "401"),
    ] {
        let http = http.to_string();
        let flags = [
            "storm",
            "--nodes",
            "3",
            "--rounds",
            "1",
            "--http-readers",
            "3",
        ];
        let output = flood(&[&flags[..], &["--to", &to, "--http", &http]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(part) && said.contains(&http), "{said}");
    }
}

#[test]
fn notes_refused_http_readers() {
    let admin = AdminServer::start_ready(&["--max-http-connections", "4"]);
    let to = admin.distributor.addr.to_string();
    let http = admin.http.to_string();
    let flags = "churn --nodes 3 --rate 10 --duration 1s --rounds 1 --http-readers 8";
    let flags: Vec<&str> = flags.split(' ').collect();
    let report = measured(&[&flags[..], &["--to", &to, "--http", &http]].concat());
    assert_eq!(
        figure(&report, "HTTP readers cut, all rounds")["value"],
        0.0
    );
    let notes = report["notes"].to_string();
    assert!(notes.contains("refused"), "{notes}");
}

#[test]
fn idle_reports_memory_per_connection() {
    for registered in [&[][..], &["--registered", "--unlisted"]] {
        let flags = "idle --spawn --connections 200 --duration 100ms --baseline";
        let flags: Vec<&str> = flags.split(' ').chain(registered.iter().copied()).collect();
        let report = measured(&flags);
        assert_eq!(report["settings"]["connections"], "200");
        let own = figure(&report, "server memory a connection, its own");
        assert!(own["value"].as_f64() > Some(0.0), "{own}");
        let resident = figure(&report, "server memory while they are idle, resident");
        assert!(resident["ratio"].as_f64() > Some(0.0), "{resident}");
        assert_eq!(figure(&report, "connections lost")["value"], 0.0);
    }
}

#[test]
fn rpc_counts_one_reply_per_request() {
    let flags = "rpc --spawn --connections 3 --depth 4 --duration 200ms --rounds 2 --baseline";
    for (more, at_most) in [("", None), ("--rate 500", Some(100.0))] {
        let flags: Vec<&str> = flags.split(' ').chain(more.split_whitespace()).collect();
        let report = measured(&flags);
        for column in ["value", "baseline"] {
            let count = |name: &str| figure(&report, name)[column].as_f64().unwrap();
            assert!(count("requests") >= 12.0);
            assert_eq!(count("replies"), count("requests"));
            assert_eq!(
                count("errors") + count("lost") + count("answers to no request"),
                0.0
            );
            assert!(
                at_most.is_none_or(|at_most| count("requests") == at_most),
                "{report}"
            );
        }
        assert!(figure(&report, "server CPU a request, best round")["ratio"].as_f64() > Some(0.0));
        assert!(
            !report["time_line"]["lines"][1]["points"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn percentiles_include_abandoned_requests() {
    let flags = "rpc --spawn --rate 10000000 --duration 100ms --rounds 1 --timeout 100ms --depth 1";
    let report = measured(&flags.split(' ').collect::<Vec<_>>());
    let number = |name: &str| figure(&report, name)["value"].as_f64().unwrap();
    // Most never had room, and waited until then.
    assert!(number("lost") > number("replies"), "{report}");
    assert!(number("request to reply, p90") >= 0.1, "{report}");
    assert!(
        report["notes"][0].as_str().unwrap().contains("given up"),
        "{report}"
    );
}

#[test]
fn counts_and_explains_refused_requests() {
    let flags = "rpc --spawn --connections 1 --depth 1 --duration 50ms --rounds 1 --path POST/x";
    let report = measured(&flags.split(' ').collect::<Vec<_>>());
    assert!(figure(&report, "errors")["value"].as_f64() > Some(0.0));
    assert_eq!(figure(&report, "replies")["value"], 0.0);
    assert!(
        report["notes"][0].as_str().unwrap().contains("errorcode 2"),
        "{report}"
    );
}

#[test]
fn html_page_needs_no_other_files() {
    let folder = own_folder();
    let file = folder.join("page.html");
    let html = file.to_str().unwrap();
    measured(&[
        "storm", "--spawn", "--nodes", "20", "--rounds", "1", "--html", html,
    ]);
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        page.matches("<svg").count(),
        2,
        "the percentile curve and the time line"
    );
    assert!(page.contains("until all hold all"));
    for outside in ["http://", "https://", "src=", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    std::fs::remove_dir_all(&folder).unwrap();

    let nowhere = file.to_str().unwrap();
    let output = flood(&[
        "storm", "--spawn", "--nodes", "2", "--rounds", "1", "--html", nowhere,
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--html") && said.lines().count() == 1,
        "{said}"
    );
}

/// A folder of this test's own.
fn own_folder() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("flood-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn with_fds(limit: u32, flags: &str) -> Output {
    let script = format!("ulimit -n {limit} && exec \"$0\" {flags}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, &program("flood")]);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn fd_limit_caps_a_run_with_a_note() {
    for flags in [
        "storm --spawn --nodes 900 --rounds 1 --json --baseline",
        "idle --spawn --connections 900 --duration 10ms --json",
    ] {
        let output = with_fds(200, flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in ["ulimit -n", "200", "going on with 136 of 900"] {
            assert!(said.contains(part), "no {part}: {said}");
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let settings = &report["settings"];
        let used = settings["nodes"]
            .as_str()
            .or(settings["connections"].as_str());
        assert_eq!(used, Some("136"), "{report}");
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
        let output = with_fds(60, flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags}: {said}");
        assert_eq!(said.lines().count(), 1, "{flags}: {said}");
        assert!(
            said.contains("ulimit -n") && said.contains("too few"),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn fails_if_stdout_is_full() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = Command::new(program("flood"));
    command.args("storm --spawn --nodes 3 --rounds 1 --json".split(' '));
    let output = command.stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output"), "{said}");
}

#[test]
fn connects_from_several_source_addresses() {
    let server = Distributor::start(&[]);
    let to = server.addr.to_string();
    let flags = "storm --nodes 30 --rounds 1 --source-addresses 3 --to";
    let report = measured(&flags.split(' ').chain([&*to]).collect::<Vec<_>>());
    assert!(figure(&report, "until all hold all")["value"].as_f64() > Some(0.0));
    let joined_from = |source: &str| {
        let lines = server.program.stderr();
        let peer = format!("peer={source}:");
        lines
            .iter()
            .filter(|line| line.contains("joined") && line.contains(&peer))
            .count()
    };
    for source in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        wait_until("ten nodes from each address", || joined_from(source) == 10);
    }
}

/// What all threads of a process have used of the processors.
fn cpu_nanos(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = tasks.map(|task| -> u64 {
        let used = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        used.split(' ').next().unwrap().parse().unwrap()
    });
    nanos.sum()
}

#[test]
fn watches_a_running_server() {
    let server = Distributor::start(&[]);
    let (to, pid) = (server.addr.to_string(), server.program.pid().to_string());
    let flags = "churn --nodes 5 --rate 50 --duration 100ms --rounds 1 --baseline";
    let flags: Vec<&str> = flags
        .split(' ')
        .chain(["--to", &to, "--pid", &pid])
        .collect();
    let report = measured(&flags);
    assert_ratios(&report);
    assert!(figure(&report, "server CPU in all")["value"].as_f64() > Some(0.0));
    server.assert_serves();

    let before = cpu_nanos(server.program.pid());
    let flags = ["idle", "--connections", "1", "--duration", "10ms"];
    let report = measured(&[&flags[..], &["--to", &to, "--pid", &pid]].concat());
    let used = cpu_nanos(server.program.pid()) - before;
    let told = figure(&report, "server CPU in all")["value"].as_f64();
    assert!(told <= Some(used as f64 / 1e9), "{told:?} of {used} ns");

    let output = flood(&["idle", "--to", &to, "--pid", "4000000000"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--pid") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn fails_with_the_refusal_of_the_server() {
    let server = Distributor::start(&["--max-entries", "5"]);
    let to = server.addr.to_string();
    let output = flood(&["storm", "--nodes", "9", "--rounds", "1", "--to", &to]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("errorcode 4") && said.lines().count() == 1,
        "{said}"
    );

    // There is room for the watchers, and not for who joins.
    let flags = "churn --nodes 5 --duration 100ms --rounds 1 --to";
    let output = flood(&flags.split(' ').chain([&*to]).collect::<Vec<_>>());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("errorcode 4"), "{said}");
}

#[test]
fn fails_at_the_timeout_if_nodes_never_converge() {
    // It accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = silent.local_addr().unwrap().to_string();
    let output = flood(&["storm", "--nodes", "3", "--timeout", "200ms", "--to", &to]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("0 of 3") && said.contains("--timeout"),
        "{said}"
    );
}

/// The processes that this one has started and not yet seen the end of.
fn children_of(pid: u32) -> Vec<u32> {
    let children = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // Nobody may be there to wait for it.
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

const ENDLESS: &str = "churn --spawn --nodes 5 --rate 20 --duration 10m --baseline";

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

/// Background jobs of scripts ignore SIGINT until they handle it. One that arrived while the servers
/// were being started, before the handler was there, was lost.
#[test]
fn handles_sigint_while_servers_start() {
    let mut command = Command::new("sh");
    let script = format!("trap '' INT && exec \"$0\" {ENDLESS}");
    let mut run = Program::start(command.args(["-c", &script, &program("flood")]));
    let children = wait_for_children(&mut run, 1);
    run.signal(Signal::INT);
    assert_eq!(run.wait().code(), Some(1));
    assert!(
        run.stderr().join("").contains("stopped before"),
        "{:?}",
        run.stderr()
    );
    assert_ended(&children);
}

#[test]
fn reports_figures_of_a_stopped_run() {
    let mut command = Command::new(program("flood"));
    command.args("rpc --spawn --duration 10m --rounds 1 --baseline".split(' '));
    let mut run = Program::start(&mut command);
    let server = wait_for_children(&mut run, 2)[0];
    wait_until("some requests", || {
        let used = std::fs::read_to_string(format!("/proc/{server}/schedstat")).unwrap();
        let nanos: u64 = used.split(' ').next().unwrap().parse().unwrap();
        nanos > 100_000_000
    });
    run.signal(Signal::INT);
    assert!(run.wait().success(), "{:?}", run.stderr());
    wait_until("the table", || {
        run.stdout()
            .iter()
            .any(|line| line.starts_with("request to reply, p50"))
    });
    let lost = run
        .stdout()
        .into_iter()
        .find(|line| line.starts_with("lost"))
        .unwrap();
    assert_eq!(lost.split_whitespace().collect::<Vec<_>>(), ["lost", "0"]);
    let said = run.stdout().join("\n");
    assert!(said.contains("0 of 1 rounds"), "{said}");
    // The baseline had not begun, so nothing is compared with it.
    assert!(!said.contains("bare echo") && !said.contains("×"), "{said}");
}
