//! The load tool, on small loads.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::ReservedPort;

fn flood(flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flood"));
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
fn a_storm_converges_beside_its_baseline_whatever_the_nodes_watch() {
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
fn without_a_baseline_there_is_no_ratio() {
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
fn what_is_wrong_is_said_in_one_line() {
    let nobody = ReservedPort::new();
    let to = nobody.addr.to_string();
    for (flags, code, part) in [
        (&["storm", "--to", &to][..], 1, "nothing listens there"),
        (&["storm", "--nodez", "3"], 2, "--nodez"),
        (&["storm", "--nodes", "0"], 2, "--nodes"),
        (&["storm", "--spawn", "--pid", "1"], 2, "--pid"),
        (&[], 2, "--help"),
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
fn churn_reaches_every_watcher_beside_its_baseline() {
    for watch in ["plain", "list", "delta"] {
        let flags = "churn --spawn --nodes 10 --rate 50 --duration 400ms --rounds 2 --baseline";
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

#[test]
fn watchers_that_do_not_read_stand_beside_none() {
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
    }
}

#[test]
fn idle_connections_cost_memory_beside_their_baseline() {
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
fn requests_are_answered_once_each_beside_their_baseline() {
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
fn refused_requests_are_counted_and_explained() {
    let flags = "rpc --spawn --connections 1 --depth 1 --duration 50ms --rounds 1 --path POST/x";
    let report = measured(&flags.split(' ').collect::<Vec<_>>());
    assert!(figure(&report, "errors")["value"].as_f64() > Some(0.0));
    assert_eq!(figure(&report, "replies")["value"], 0.0);
    assert!(
        report["notes"][0].as_str().unwrap().contains("errorcode 2"),
        "{report}"
    );
}
