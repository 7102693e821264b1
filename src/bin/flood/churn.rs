//! Nodes join and leave while others watch: how long it takes until each is told, and the last.
//!
//! A run is cut into slices, ours and the baseline's in turn. Each begins with single changes, one
//! after the other, for what one change costs; then joins follow a schedule that waits for nobody.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::{ChurnArgs, Schedule, ServerArgs, SlowArgs, name_of};
use crate::child::Server;
use crate::client::{Client, Waited, to_wait};
use crate::format::Unit;
use crate::herd::{FRAME_END, Herd, Manners, Says, Watch, number_in_registration};
use crate::progress::Progress;
use crate::report::{Line, Report, TimeLine, Times, times};
use crate::target::Target;
use crate::usage::Process;
use crate::view::{NUMBER_DIGITS, Names, Who};

/// A node that joined stays at least so long, and until all have been told.
const SHORTEST_STAY: Duration = Duration::from_millis(100);
/// The fractions of its multiples are spread evenly.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
/// Single changes at the beginning of a slice.
const SINGLES: u32 = 8;
/// Members that connect at a time before churn begins. Their coming is not what is measured.
const CONNECTING_AT_ONCE: usize = 512;

/// What churn is made of, whatever the command.
#[derive(Clone, Debug)]
struct Load {
    watchers: usize,
    stuck: usize,
    joins_per_second: f64,
    slice: Duration,
    timeout: Duration,
    names: Names,
    manners: Manners,
}

impl Load {
    fn new(
        target: &Target,
        client: &mut Client,
        server: &ServerArgs,
        schedule: &Schedule,
        watch: Watch,
        stuck: usize,
    ) -> Load {
        Load {
            watchers: target.plan.connections.saturating_sub(stuck).max(1),
            stuck,
            joins_per_second: schedule.rate,
            slice: schedule.duration / schedule.rounds.max(1),
            timeout: server.timeout,
            names: Names::new(client.net().random()),
            manners: Manners {
                watch,
                unlisted: schedule.unlisted,
                says: Says::ThatItWatches,
                bare: false,
            },
        }
    }

    fn due(&self, start: Instant, number: u32) -> Instant {
        start + Duration::from_secs_f64(f64::from(number) / self.joins_per_second)
    }

    /// How long a joiner stays. Leaves come at all distances from joins: who leaves just before
    /// another one joins makes it wait.
    fn stay(&self, number: u32) -> Duration {
        let share = (f64::from(number) * GOLDEN_RATIO).fract();
        SHORTEST_STAY + Duration::from_secs_f64(share / self.joins_per_second)
    }

    /// Joins of one slice.
    fn joins(&self) -> u32 {
        let joins = (self.slice.as_secs_f64() * self.joins_per_second).round();
        // Bounded by the flags; a slice without any join shows nothing.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        let joins = joins.clamp(1.0, f64::from(MOST_JOINS)) as u32;
        joins
    }
}

/// As many numbers as a name has digits for.
const MOST_JOINS: u32 = 99_999_000;

/// What came of all slices of one kind.
#[derive(Debug)]
struct Outcome {
    to_each: Times,
    to_last: Times,
    /// What one join and one leave took of the server's processors at least.
    join_cpu: Option<Duration>,
    leave_cpu: Option<Duration>,
    /// How long single joins took to the last watcher.
    alone: Vec<Duration>,
    /// What all of the schedule took.
    cpu: Duration,
    joins: usize,
    told_of_all: usize,
    bytes: u64,
    updates: u64,
    time: Duration,
    resident_bytes: u64,
    /// Watchers that did not read, and had no connection any more in the end.
    cut: usize,
    gaps: u64,
    /// Seconds into the schedule, and seconds to the last watcher.
    time_line: Vec<(f64, f64)>,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome {
            to_each: times(),
            to_last: times(),
            join_cpu: None,
            leave_cpu: None,
            alone: Vec::new(),
            cpu: Duration::ZERO,
            joins: 0,
            told_of_all: 0,
            bytes: 0,
            updates: 0,
            time: Duration::ZERO,
            resident_bytes: 0,
            cut: 0,
            gaps: 0,
            time_line: Vec::new(),
        }
    }
}

/// What the baseline sends: frames of ours, and where a joiner's number is.
#[derive(Clone, Debug)]
struct Frames {
    /// The answer to a watcher's registration, and its first list.
    welcome: Vec<u8>,
    joined: Vec<u8>,
    left: Vec<u8>,
    number_at: usize,
}

impl Frames {
    /// From what the herd was sent. `None` as long as it wasn't sent enough.
    fn of(herd: &Herd, names: &Names) -> Option<Frames> {
        let (joined, number) = herd.joins.joined_frame.as_ref()?;
        let name = names.of(Who::Joiner(*number));
        // Only the name is unlike that of others; the urls may hold anything.
        let at = memchr::memmem::find(&joined.frame, format!("\"name\":\"{name}").as_bytes())?;
        let number_at = at + "\"name\":\"".len() + name.len() - NUMBER_DIGITS;
        let list = herd.last_list.as_ref()?;
        let left = herd.joins.left_frame.as_ref().unwrap_or(list);
        let mut welcome = Vec::new();
        for frame in [herd.reply.as_ref(), Some(&list.frame)]
            .into_iter()
            .flatten()
        {
            welcome.extend_from_slice(frame);
            welcome.extend_from_slice(FRAME_END);
        }
        Some(Frames {
            welcome,
            joined: [&joined.frame, FRAME_END].concat(),
            left: [&left.frame, FRAME_END].concat(),
            number_at,
        })
    }
}

pub(crate) fn run(args: &ChurnArgs) -> Result<Report, Failure> {
    let (server, schedule) = (&args.server, &args.schedule());
    let mut target = Target::reach(server, args.nodes, SPARE)?;
    let mut client = Client::new(target.plan.connections + SPARE, server.timeout)?;
    let load = Load::new(&target, &mut client, server, schedule, args.watch, 0);
    let mut report = Report::new("churn");
    report.setting("watchers", load.watchers);
    settings(&mut report, args.watch, schedule);
    let compared = match target.bare.is_some() {
        true => Compared::Bare,
        false => Compared::Nothing,
    };
    measure(
        &mut client,
        &mut target,
        &load,
        schedule.rounds,
        compared,
        &mut report,
    )?;
    Ok(report)
}

pub(crate) fn run_slow(args: &SlowArgs) -> Result<Report, Failure> {
    let (server, schedule) = (&args.server, &args.schedule());
    let mut target = Target::reach(server, args.nodes + args.stuck, SPARE)?;
    let mut client = Client::new(target.plan.connections + SPARE, server.timeout)?;
    let load = Load::new(
        &target,
        &mut client,
        server,
        schedule,
        args.watch,
        args.stuck,
    );
    let mut report = Report::new("slow");
    report.setting("watchers", load.watchers);
    report.setting("stuck", load.stuck);
    settings(&mut report, args.watch, schedule);
    let compared = match target.bare.is_some() {
        true => Compared::Bare,
        false => Compared::NoneStuck,
    };
    measure(
        &mut client,
        &mut target,
        &load,
        schedule.rounds,
        compared,
        &mut report,
    )?;
    Ok(report)
}

/// Connections for joiners that have not left yet.
const SPARE: usize = 256;

fn settings(report: &mut Report, watch: Watch, schedule: &Schedule) {
    report.setting("watch", name_of(watch));
    report.setting("joins a second", schedule.rate);
    report.setting("for", humantime::format_duration(schedule.duration));
    report.setting("rounds", schedule.rounds);
}

/// What stands in the second column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compared {
    Nothing,
    Bare,
    /// The same server without the watchers that don't read.
    NoneStuck,
}

fn measure(
    client: &mut Client,
    target: &mut Target,
    load: &Load,
    rounds: u32,
    compared: Compared,
    report: &mut Report,
) -> Result<(), Failure> {
    let (addr, process) = (target.addr, target.process);
    let sources = target.plan.sources.clone();
    let mut ours = Outcome::default();
    let mut other = Outcome::default();
    let mut frames = None;
    let progress = Progress::new(report.command, u64::from(rounds));
    for _ in 0..rounds {
        progress.next();
        let herd = Herd::new(addr, &sources, &load.names, &load.manners);
        let mut slice = Slice::new(client, load, process);
        let waited = slice.run(herd, &mut ours, &mut frames)?;
        if waited == Waited::Stopped {
            break;
        }
        let waited = match compared {
            Compared::Nothing => Waited::Done,
            Compared::NoneStuck => {
                let load = Load {
                    stuck: 0,
                    ..load.clone()
                };
                let herd = Herd::new(addr, &sources, &load.names, &load.manners);
                Slice::new(client, &load, process).run(herd, &mut other, &mut frames)?
            }
            Compared::Bare => {
                let (Some(server), Some(frames)) = (&mut target.bare, &mut frames) else {
                    return Err(Failure::failed(
                        "no change came alone, so the baseline has nothing to send",
                    ));
                };
                tell(server, load, frames)?;
                let manners = Manners {
                    bare: true,
                    ..load.manners.clone()
                };
                let herd = Herd::new(server.addr, &sources, &load.names, &manners);
                let process = Some(server.process());
                Slice::new(client, load, process).run(herd, &mut other, &mut None)?
            }
        };
        if waited == Waited::Stopped {
            break;
        }
    }
    drop(progress);
    if ours.joins == 0 {
        return Err(Failure::stopped());
    }
    let (name, other) = match compared {
        Compared::Nothing => (None, None),
        Compared::Bare => (Some("bare send loop"), Some(&other)),
        Compared::NoneStuck => (Some("none stuck"), Some(&other)),
    };
    report.baseline = name;
    figures(report, load, &ours, other);
    target.report(report);
    Ok(())
}

/// Has the bare server do what ours did.
fn tell(server: &mut Server, load: &Load, frames: &Frames) -> Result<(), Failure> {
    let (welcome, joined, left) = (&frames.welcome, &frames.joined, &frames.left);
    let words = format!(
        "fanout {} {} {} {} {} {} {NUMBER_DIGITS}",
        load.watchers + load.stuck,
        welcome.len(),
        joined.len(),
        left.len(),
        number_in_registration(&load.names).unwrap_or_default(),
        frames.number_at,
    );
    server.command(&words, &[welcome, joined, left])?;
    Ok(())
}

struct Slice<'a> {
    client: &'a mut Client,
    load: &'a Load,
    process: Option<Process>,
}

impl<'a> Slice<'a> {
    fn new(client: &'a mut Client, load: &'a Load, process: Option<Process>) -> Slice<'a> {
        Slice {
            client,
            load,
            process,
        }
    }

    fn run(
        &mut self,
        mut herd: Herd,
        outcome: &mut Outcome,
        frames: &mut Option<Frames>,
    ) -> Result<Waited, Failure> {
        let herd = &mut herd;
        let waited = self.gather(herd)?;
        if waited == Waited::Stopped {
            return Ok(waited);
        }
        for number in 0..self.load.stuck {
            herd.make_stuck(self.client.net(), number);
        }
        if self.singles(herd, outcome)? == Waited::Stopped {
            return Ok(Waited::Stopped);
        }
        if frames.is_none() {
            *frames = Frames::of(herd, &self.load.names);
        }
        let waited = self.schedule(herd, outcome)?;
        if let Some(memory) = self.process.and_then(|process| process.memory().ok()) {
            outcome.resident_bytes = outcome.resident_bytes.max(memory.resident_bytes);
        }
        outcome.to_each.add(&herd.joins.to_each).ok();
        outcome.to_last.add(&herd.joins.to_last).ok();
        outcome.gaps += herd.gaps;
        if self.load.stuck > 0 {
            herd.resume_stuck(self.client.net());
            self.client.pass(herd, PAUSE)?;
            outcome.cut += herd.stuck_and_cut();
        }
        herd.close_all(self.client.net());
        let until = Instant::now() + self.load.timeout;
        self.client
            .run_until(herd, until, |herd, _| herd.connections() == 0)?;
        self.client.pass(herd, PAUSE)?;
        Ok(waited)
    }

    /// All watchers come, some at a time, until each holds all.
    fn gather(&mut self, herd: &mut Herd) -> Result<Waited, Failure> {
        let all = self.load.watchers + self.load.stuck;
        let listed = if self.load.manners.unlisted { 0 } else { all };
        herd.set_goal(listed);
        herd.joins.watchers = self.load.watchers;
        let until = Instant::now() + self.load.timeout;
        let waited = self.client.run_until(herd, until, |herd, net| {
            while herd.members.len() < all && herd.members.len() < herd.heard + CONNECTING_AT_ONCE {
                herd.add_member(net);
            }
            herd.reached() == all || herd.lost > 0 || herd.refusal.is_some()
        })?;
        if waited != Waited::Stopped && herd.reached() < all {
            return Err(herd.failure("watch", herd.reached(), all, self.load.timeout));
        }
        Ok(waited)
    }

    /// What the server has used so far, when it rests: nothing is sent meanwhile.
    fn cpu(&mut self, herd: &mut Herd) -> Result<Option<Duration>, Failure> {
        let before = std::mem::replace(&mut herd.heartbeats.are_held_back, true);
        let cpu = self.client.settled_cpu(herd, self.process);
        herd.heartbeats.are_held_back = before;
        cpu
    }

    /// Changes, one after the other, with a pause between two: after a push a Distributor waits
    /// for some time before the next one.
    fn singles(&mut self, herd: &mut Herd, outcome: &mut Outcome) -> Result<Waited, Failure> {
        let mut waited = Waited::Done;
        for _ in 0..SINGLES {
            let last = outcome.alone.last().copied().unwrap_or_default();
            self.client.pass(herd, SHORTEST_PAUSE + last * 6)?;
            herd.heartbeats.are_held_back = true;
            waited = self.single(herd, outcome)?;
            herd.heartbeats.are_held_back = false;
            if waited == Waited::Stopped {
                break;
            }
        }
        Ok(waited)
    }

    /// One node joins and leaves while nothing else happens.
    fn single(&mut self, herd: &mut Herd, outcome: &mut Outcome) -> Result<Waited, Failure> {
        let number = herd.add_joiner(self.client.net());
        // It is there, and has been sent what everybody is who connects.
        let before = self.cpu(herd)?;
        herd.join(self.client.net(), number, Instant::now());
        let until = Instant::now() + self.load.timeout;
        let waited = self.client.run_until(herd, until, |herd, _| {
            herd.joins.is_complete(number) || herd.lost > 0 || herd.refusal.is_some()
        })?;
        if waited == Waited::Stopped {
            return Ok(waited);
        }
        if !herd.joins.is_complete(number) {
            return Err(herd.failure("joins reached all watchers", 0, 1, self.load.timeout));
        }
        let joined = self.cpu(herd)?;
        if let Some((_, took)) = herd.joins.time_line.last() {
            outcome.alone.push(*took);
        }

        let updates = herd.updates + self.load.watchers as u64;
        herd.close_joiner(self.client.net(), number);
        let waited = self.client.run_until(herd, until, |herd, _| {
            herd.updates >= updates || herd.lost > 0
        })?;
        if waited == Waited::TooLong {
            return Err(herd.failure("leaves reached all watchers", 0, 1, self.load.timeout));
        }
        let left = self.cpu(herd)?;
        let least = |so_far: Option<Duration>, from: Option<Duration>, to: Option<Duration>| {
            let now = to.zip(from).map(|(to, from)| to.saturating_sub(from));
            so_far.into_iter().chain(now).min()
        };
        outcome.join_cpu = least(outcome.join_cpu, before, joined);
        outcome.leave_cpu = least(outcome.leave_cpu, joined, left);
        Ok(waited)
    }

    /// Joins when they are due, whatever has become of those before.
    fn schedule(&mut self, herd: &mut Herd, outcome: &mut Outcome) -> Result<Waited, Failure> {
        let joins = self.load.joins();
        herd.joins.forget_times();
        let first = herd.joins.added();
        let complete_before = herd.joins.complete;
        let (updates, bytes) = (herd.updates, herd.bytes());
        let cpu = self.cpu(herd)?;
        let start = Instant::now();
        let give_up = self.load.due(start, joins) + self.load.timeout;
        let mut begun = 0;
        let mut present: Vec<(usize, Instant)> = Vec::new();
        let waited = loop {
            let now = Instant::now();
            while begun < joins && self.load.due(start, begun) <= now {
                let due = self.load.due(start, begun);
                let number = herd.add_joiner(self.client.net());
                herd.join(self.client.net(), number, due);
                present.push((number, due + self.load.stay(begun)));
                begun += 1;
            }
            present.retain(|(number, leaves_at)| {
                let leaves = *leaves_at <= now && herd.joins.is_complete(*number);
                if leaves {
                    herd.close_joiner(self.client.net(), *number);
                }
                !leaves
            });
            if begun == joins && present.is_empty() {
                break Waited::Done;
            }
            if self.client.is_stopped() {
                break Waited::Stopped;
            }
            if now >= give_up || herd.lost > 0 || herd.refusal.is_some() {
                break Waited::TooLong;
            }
            let next = match begun < joins {
                true => self.load.due(start, begun),
                false => now + SHORTEST_STAY,
            };
            let leaving = present.iter().map(|(_, at)| *at).filter(|at| *at > now);
            let next = leaving.min().map_or(next, |leaving| leaving.min(next));
            self.client.turn(to_wait(next), herd)?;
        };
        let complete = herd.joins.complete - complete_before;
        if waited == Waited::TooLong {
            let what = "joins reached all watchers";
            return Err(herd.failure(what, complete, joins as usize, self.load.timeout));
        }
        let time = start.elapsed();
        // The last leave is told of as late as any other change.
        let (_, slowest) = herd
            .joins
            .time_line
            .last()
            .copied()
            .unwrap_or((start, PAUSE));
        self.client.pass(herd, SHORTEST_PAUSE + slowest * 2)?;
        let cpu_after = self.cpu(herd)?;
        if let (Some(before), Some(after)) = (cpu, cpu_after) {
            outcome.cpu += after.saturating_sub(before);
        }
        outcome.joins += herd.joins.added() - first;
        outcome.told_of_all += complete;
        outcome.updates += herd.updates - updates;
        outcome.bytes += herd.bytes() - bytes;
        let before = outcome.time;
        let points = herd.joins.time_line.iter().map(|(due, took)| {
            let at = before + due.saturating_duration_since(start);
            (at.as_secs_f64(), took.as_secs_f64())
        });
        outcome.time_line.extend(points);
        outcome.time += time;
        Ok(waited)
    }
}

/// Lets the server come to rest.
const PAUSE: Duration = Duration::from_millis(300);
/// Between two single changes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

fn median(times: &[Duration]) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn figures(report: &mut Report, load: &Load, ours: &Outcome, other: Option<&Outcome>) {
    let none = times();
    report.latencies(
        "join to each watcher",
        &ours.to_each,
        Some(other.map_or(&none, |other| &other.to_each)),
    );
    report.latencies(
        "join to the last watcher",
        &ours.to_last,
        Some(other.map_or(&none, |other| &other.to_last)),
    );
    let mut time = |name: &str, of: &dyn Fn(&Outcome) -> Option<Duration>| {
        report.time(name, of(ours), other.and_then(of));
    };
    time("one join alone to the last watcher, least", &|outcome| {
        outcome.alone.iter().min().copied()
    });
    time("one join alone to the last watcher, median", &|outcome| {
        median(&outcome.alone)
    });
    time("server CPU for one join alone", &|outcome| outcome.join_cpu);
    time("server CPU for one leave alone", &|outcome| {
        outcome.leave_cpu
    });
    let mut figure = |name: &str, unit: Unit, of: &dyn Fn(&Outcome) -> f64| {
        let value = |outcome: &Outcome| Some(of(outcome)).filter(|value| value.is_finite());
        report.figure(name, unit, value(ours), other.and_then(value));
    };
    // Each join is followed by a leave.
    let changes = |outcome: &Outcome| 2.0 * outcome.joins as f64;
    let watchers = load.watchers as f64;
    figure(
        "server CPU for a change under churn",
        Unit::Seconds,
        &|outcome| match outcome.cpu.is_zero() {
            true => f64::NAN,
            false => outcome.cpu.as_secs_f64() / changes(outcome),
        },
    );
    figure(
        "updates to a watcher for a change",
        Unit::Count,
        &|outcome| outcome.updates as f64 / watchers / changes(outcome),
    );
    figure("bytes to a watcher for a change", Unit::Bytes, &|outcome| {
        outcome.bytes as f64 / watchers / changes(outcome)
    });
    figure("joins all watchers were told of", Unit::Count, &|outcome| {
        outcome.told_of_all as f64
    });
    figure("joins a second", Unit::PerSecond, &|outcome| {
        outcome.joins as f64 / outcome.time.as_secs_f64()
    });
    if load.stuck > 0 {
        figure("stuck watchers cut, all rounds", Unit::Count, &|outcome| {
            outcome.cut as f64
        });
    }
    figure(
        "server memory, resident",
        Unit::Bytes,
        &|outcome| match outcome.resident_bytes {
            0 => f64::NAN,
            bytes => bytes as f64,
        },
    );
    if ours.gaps > 0 {
        report.notes.push(format!(
            "{} changes did not follow from what their watcher had: the server lost some",
            ours.gaps
        ));
    }
    let named = [
        ("Distributor", Some(ours)),
        (report.baseline.unwrap_or_default(), other),
    ];
    report.time_line = Some(TimeLine {
        what: "from a join to the last watcher",
        unit: Some(Unit::Seconds),
        lines: named
            .into_iter()
            .filter_map(|(name, outcome)| {
                Some(Line {
                    name: name.to_owned(),
                    points: outcome?.time_line.clone(),
                })
            })
            .collect(),
    });
}
