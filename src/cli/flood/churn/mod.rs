//! Nodes join and leave while others watch: how long it takes until each watcher hears of it.

mod load;

use super::args::{ChurnArgs, HttpArgs, LoadArgs, SlowArgs};
use super::bare::Task;
use super::child::Role;
use super::driver::{self, Description, Scenario};
use super::format::{Unit, name_of};
use super::frames::text_of;
use super::nodes::{Names, Node, Profile};
use super::pool::Pool;
use super::record::Record;
use super::report::Report;
use super::round::{Round, Subject};
use super::stop::Halt;
use super::target::Target;
use load::{Load, Schedule};

/// Connections for joiners that have not left yet.
const SPARE: usize = 256;

pub(crate) fn run(args: &ChurnArgs) -> Result<Report, Halt> {
    run_with(&args.load, Some(&args.http), None)
}

pub(crate) fn run_slow(args: &SlowArgs) -> Result<Report, Halt> {
    run_with(&args.load, None, Some(args.stuck))
}

fn run_with(
    args: &LoadArgs,
    http: Option<&HttpArgs>,
    stuck: Option<usize>,
) -> Result<Report, Halt> {
    let all = args.nodes + stuck.unwrap_or(0);
    let target = Target::reach(Role::Distributor, &args.server, http, all, SPARE)?;
    let connections = target.plan.connections;
    let is_slow = stuck.is_some();
    let stuck = stuck.unwrap_or(0).min(connections - 1);
    let churn = Churn {
        args,
        load: Load {
            is_slow,
            watchers: connections - stuck,
            stuck,
            unlisted: args.unlisted,
            schedule: Schedule {
                joins_per_second: args.rate,
                duration: args.duration / args.rounds,
            },
        },
        task: None,
        gaps: 0,
    };
    driver::run(churn, target, connections + SPARE, args.rounds)
}

struct Churn<'a> {
    args: &'a LoadArgs,
    load: Load,
    /// What the baseline does, once it is known what the server sent.
    task: Option<Task>,
    /// Deltas of the server that did not follow from what their receiver had.
    gaps: u64,
}

impl Scenario for Churn<'_> {
    fn describe(&self) -> Description {
        let duration = humantime::format_duration(self.args.duration);
        let mut settings = vec![("watchers", self.load.watchers.to_string())];
        settings.extend(
            self.load
                .is_slow
                .then(|| ("stuck", self.load.stuck.to_string())),
        );
        settings.extend([
            ("watch", name_of(self.args.watch)),
            ("joins a second", self.args.rate.to_string()),
            ("for", duration.to_string()),
            ("rounds", self.args.rounds.to_string()),
        ]);
        Description {
            name: if self.load.is_slow { "slow" } else { "churn" },
            bare: "bare send loop",
            relieved: self.load.is_slow.then_some("none stuck"),
            time_line: ("from a join to the last watcher", Unit::Seconds),
            settings,
        }
    }

    fn run(&mut self, round: &mut Round, record: &mut Record) -> Result<(), Halt> {
        let profile = Profile {
            watch: Some(self.args.watch),
            unlisted: self.args.unlisted,
        };
        let pool = &mut Pool::new(round, profile);
        let mut load = self.load;
        if round.subject == Subject::Relieved {
            load.stuck = 0;
        }
        load.run(pool, round, record)?;
        if round.subject == Subject::Server {
            self.gaps += pool.seen.gaps;
        }
        if self.task.is_none() {
            self.task = self.task_after(pool, &round.names);
        }
        Ok(())
    }

    fn bare_task(&self) -> Result<Task, Halt> {
        self.task.clone().ok_or_else(|| {
            let what = "no change came alone, so the baseline has nothing to send";
            Halt::failed(format!("{what}: try a lower --rate"))
        })
    }

    fn notes(&self) -> Vec<String> {
        let lost = "changes did not follow from what their watcher had: the server lost some";
        Vec::from_iter((self.gaps > 0).then(|| format!("{} {lost}", self.gaps)))
    }
}

impl Churn<'_> {
    /// Returns a task with what the pool received, or `None` if that is not enough.
    fn task_after(&self, pool: &Pool, names: &Names) -> Option<Task> {
        let (joined, number) = pool.joins.joined_frame.as_ref()?;
        let list = pool.seen.last_list.as_ref()?;
        let left = pool.joins.left_frame.as_ref().unwrap_or(list);
        let reply = pool.seen.reply.as_deref().map(text_of);
        Some(Task::FanOut {
            count: self.load.watchers + self.load.stuck,
            reply: reply.unwrap_or_default() + &text_of(&list.bytes),
            joined: text_of(&joined.bytes),
            joiner: names.of(Node::Joiner(*number)),
            left: text_of(&left.bytes),
        })
    }
}
