//! All nodes connect and register at once; when each holds all, all but one leave at once.

use std::time::{Duration, Instant};

use crate::cli::failure::Failure;
use crate::cli::flood::args::{StormArgs, name_of};
use crate::cli::flood::child::Server;
use crate::cli::flood::client::{Client, Waited, pause_after};
use crate::cli::flood::format::Unit;
use crate::cli::flood::herd::{Herd, Manners, Says, Watch};
use crate::cli::flood::http_readers::Tally;
use crate::cli::flood::progress::Progress;
use crate::cli::flood::report::{Line, Report, TimeLine, Times, record, times};
use crate::cli::flood::target::{HttpLoad, Target};
use crate::cli::flood::usage::Process;
use crate::cli::flood::view::Names;

/// What one round came to.
#[derive(Debug, Default)]
struct Round {
    converged: Duration,
    lists: u64,
    most_lists: u64,
    bytes: u64,
    cpu: Option<Duration>,
    left: Duration,
    leaving_cpu: Option<Duration>,
    resident_bytes: Option<u64>,
    times: Vec<Duration>,
}

/// What the baseline sends: the last lists of ours.
#[derive(Default)]
struct Frames {
    of_all: Vec<u8>,
    of_one: Vec<u8>,
}

pub(crate) fn run(args: &StormArgs) -> Result<Report, Failure> {
    if args.nodes < 2 {
        return Err(Failure::usage("--nodes: at least 2"));
    }
    let mut target = Target::reach_with_http(&args.server, &args.http, args.nodes, 0)?;
    let nodes = target.plan.connections;
    if nodes < 2 {
        return Err(Failure::failed("a storm of one node shows nothing"));
    }
    let mut client = Client::new(nodes, args.server.timeout)?;
    let names = Names::new(client.net().random());
    let manners = Manners {
        watch: args.watch,
        unlisted: false,
        says: Says::ThatItWatches,
        bare: false,
    };
    let mut storm = Storm {
        client,
        names,
        nodes,
        timeout: args.server.timeout,
        manners,
        frames: None,
    };
    let mut ours = Vec::new();
    let mut other = Vec::new();
    let mut read = Tally::default();
    let progress = Progress::of_rounds("storm", args.rounds);
    let mut done = 0;
    for _ in 0..args.rounds {
        let process = target.process;
        let (to, sources) = (target.addr, target.plan.sources.clone());
        let herd = Herd::new(to, &sources, &storm.names, &storm.manners);
        let readers = target.http.map(HttpLoad::start).transpose()?;
        let round = storm.round(herd, process)?;
        if let Some(readers) = readers {
            read.add(readers.stop()?);
        }
        let Some(round) = round else {
            break;
        };
        ours.push(round);
        if let (Some(server), Some(frames)) = (&mut target.bare, &storm.frames) {
            let (of_all, of_one) = (&frames.of_all, &frames.of_one);
            let words = format!("acceptor {nodes} {} {}", of_all.len(), of_one.len());
            server.command(&words, &[of_all, of_one])?;
            let Some(round) = storm.bare_round(server, &sources)? else {
                break;
            };
            other.push(round);
        } else if target.http.is_some() {
            let herd = Herd::new(to, &sources, &storm.names, &storm.manners);
            let Some(round) = storm.round(herd, process)? else {
                break;
            };
            // It keeps the memory that it had for its readers.
            other.push(Round {
                resident_bytes: None,
                ..round
            });
        }
        done += 1;
        progress.round_done();
    }
    drop(progress);
    if ours.is_empty() {
        return Err(Failure::stopped());
    }
    let baseline = match (&target.bare, target.http) {
        (Some(_), _) => Some("bare acceptor"),
        (None, Some(_)) => Some("no readers"),
        (None, None) => None,
    };
    let mut report = report(args, nodes, &ours, baseline, &other);
    if let Some(http) = target.http {
        report.setting("HTTP readers", http.readers);
        read.report(&mut report);
    }
    report.rounds_done(done, args.rounds);
    target.report(&mut report);
    Ok(report)
}

struct Storm {
    client: Client,
    names: Names,
    nodes: usize,
    timeout: Duration,
    manners: Manners,
    frames: Option<Frames>,
}

impl Storm {
    fn bare_round(
        &mut self,
        server: &Server,
        sources: &[Option<std::net::IpAddr>],
    ) -> Result<Option<Round>, Failure> {
        let manners = Manners {
            bare: true,
            ..self.manners.clone()
        };
        let herd = Herd::new(server.addr, sources, &self.names, &manners);
        self.round(herd, Some(server.process()))
    }

    /// `None` if somebody stopped it.
    fn round(
        &mut self,
        mut herd: Herd,
        process: Option<Process>,
    ) -> Result<Option<Round>, Failure> {
        let herd = &mut herd;
        let nodes = self.nodes;
        let before = self.client.settled_cpu(herd, process)?;
        let until = Instant::now() + self.timeout;
        herd.set_goal(nodes);
        for _ in 0..nodes {
            herd.add_member(self.client.net());
        }
        let waited = self.client.run_until(herd, until, |herd, _| {
            herd.reached() == nodes || herd.lost > 0 || herd.refusal.is_some()
        })?;
        if waited == Waited::Stopped {
            return Ok(None);
        }
        if herd.reached() < nodes {
            return Err(herd.failure("hold all", herd.reached(), nodes, self.timeout));
        }
        let after = self.client.settled_cpu(herd, process)?;
        let memory = process.and_then(|process| process.memory().ok());
        let mut round = Round {
            times: herd.times_to_goal().to_vec(),
            lists: herd.members.iter().map(|member| member.lists).sum(),
            most_lists: herd
                .members
                .iter()
                .map(|member| member.lists)
                .max()
                .unwrap_or(0),
            bytes: herd.members.iter().map(|member| member.bytes).sum(),
            cpu: difference(before, after),
            resident_bytes: memory.map(|memory| memory.resident_bytes),
            ..Round::default()
        };
        round.converged = round.times.iter().max().copied().unwrap_or_default();
        let of_all = self.whole_list(herd)?;

        self.client.pass(herd, pause_after(round.converged))?;
        let before = self.client.settled_cpu(herd, process)?;
        let until = Instant::now() + self.timeout;
        herd.set_goal(1);
        for number in 1..nodes {
            herd.close(self.client.net(), number);
        }
        let waited = self
            .client
            .run_until(herd, until, |herd, _| herd.reached() == 1 || herd.lost > 0)?;
        if waited == Waited::Stopped {
            return Ok(None);
        }
        if herd.reached() < 1 {
            return Err(herd.failure("heard that all others left", 0, 1, self.timeout));
        }
        let after = self.client.settled_cpu(herd, process)?;
        round.left = herd.times_to_goal().first().copied().unwrap_or_default();
        round.leaving_cpu = difference(before, after);
        let of_one = self.whole_list(herd)?;
        if self.frames.is_none() {
            self.frames = Some(Frames { of_all, of_one });
        }
        herd.close_all(self.client.net());
        let until = Instant::now() + self.timeout;
        self.client
            .run_until(herd, until, |herd, _| herd.connections() == 0)?;
        self.client.pass(herd, pause_after(round.left))?;
        Ok(Some(round))
    }

    /// The list as it is now, for the baseline. Who follows changes has none, and asks.
    fn whole_list(&mut self, herd: &mut Herd) -> Result<Vec<u8>, Failure> {
        if self.frames.is_some() {
            return Ok(Vec::new());
        }
        if self.manners.watch == Watch::Delta {
            let before = herd.updates;
            herd.ask(self.client.net(), 0);
            let until = Instant::now() + self.timeout;
            self.client
                .run_until(herd, until, |herd, _| herd.updates > before)?;
        }
        Ok(herd.last_list_frame())
    }
}

fn difference(before: Option<Duration>, after: Option<Duration>) -> Option<Duration> {
    Some(after?.saturating_sub(before?))
}

fn report(
    args: &StormArgs,
    nodes: usize,
    ours: &[Round],
    baseline: Option<&'static str>,
    other: &[Round],
) -> Report {
    let mut report = Report::new("storm");
    report.setting("nodes", nodes);
    report.setting("watch", name_of(args.watch));
    report.setting("rounds", ours.len());
    report.baseline = baseline.filter(|_| !other.is_empty());

    let least = |rounds: &[Round], of: &dyn Fn(&Round) -> Option<Duration>| {
        rounds.iter().filter_map(of).min()
    };
    let mean = |rounds: &[Round], of: &dyn Fn(&Round) -> f64| {
        (!rounds.is_empty()).then(|| rounds.iter().map(of).sum::<f64>() / rounds.len() as f64)
    };
    let mut time = |name: &str, of: &dyn Fn(&Round) -> Option<Duration>| {
        report.time(name, least(ours, of), least(other, of));
    };
    time("until all hold all", &|round| Some(round.converged));
    time("server CPU while they join", &|round| round.cpu);
    time("until the last one knows that all others left", &|round| {
        Some(round.left)
    });
    time("server CPU while they leave", &|round| round.leaving_cpu);
    let per_node = |total: u64| total as f64 / nodes as f64;
    let mut count = |name: &str, unit: Unit, of: &dyn Fn(&Round) -> f64| {
        report.figure(name, unit, mean(ours, of), mean(other, of));
    };
    count("lists a node", Unit::Count, &|round| per_node(round.lists));
    count("lists of the node with most", Unit::Count, &|round| {
        round.most_lists as f64
    });
    count("bytes to a node", Unit::Bytes, &|round| {
        per_node(round.bytes)
    });
    count("bytes to all", Unit::Bytes, &|round| round.bytes as f64);
    let resident = |rounds: &[Round]| {
        let bytes = rounds.iter().filter_map(|round| round.resident_bytes);
        bytes.max().map(|bytes| bytes as f64)
    };
    report.figure(
        "server memory while all are there, resident",
        Unit::Bytes,
        resident(ours),
        resident(other),
    );
    report.latencies(
        "until a node holds all",
        &all_times(ours),
        Some(&all_times(other)),
    );
    report.time_line = Some(TimeLine {
        what: "nodes that hold all, in the fastest round",
        unit: Some(Unit::Count),
        lines: [("Distributor", ours), (baseline.unwrap_or_default(), other)]
            .into_iter()
            .filter_map(|(name, rounds)| {
                let fastest = rounds.iter().min_by_key(|round| round.converged)?;
                Some(Line {
                    name: name.to_owned(),
                    points: risen(&fastest.times),
                })
            })
            .collect(),
    });
    report
}

fn all_times(rounds: &[Round]) -> Times {
    let mut all = times();
    for time in rounds.iter().flat_map(|round| &round.times) {
        record(&mut all, *time);
    }
    all
}

/// How many had reached it when, in about a hundred points.
fn risen(times: &[Duration]) -> Vec<(f64, f64)> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let step = times.len().div_ceil(100).max(1);
    let mut points = vec![(0.0, 0.0)];
    let counted = times.iter().zip(1_u32..);
    let last = times.len();
    points.extend(
        counted
            .filter(|(_, count)| (*count as usize).is_multiple_of(step) || *count as usize == last)
            .map(|(time, count)| (time.as_secs_f64(), f64::from(count))),
    );
    points
}
