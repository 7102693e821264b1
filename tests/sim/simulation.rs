//! One seed: a fleet, its troubles, and the checks after them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pilcrow::Time;
use pilcrow::testing::sim::{Fault, Faults, Random};

use crate::finale::finish;
use crate::fleet::{ActorKind, Fleet};
use crate::model::Broken;
use crate::raw::Kind;
use crate::troubles::{Trouble, Weights, limits};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Result of a seed.
pub struct Outcome {
    pub broken: Option<Broken>,
    pub trace_hash: u64,
    pub turns: u64,
    pub virtual_time: Duration,
    pub replies: u64,
    /// Number of faults and troubles of each kind, and of pushes that waited for each reason.
    pub faults: BTreeMap<String, u64>,
    pub trace: Vec<String>,
}

/// Runs one seed for this many steps.
pub fn simulate(seed: u64, steps: u64, notes_kept: usize) -> Outcome {
    simulate_from(Random::new(seed), steps, notes_kept)
}

/// Runs the seed of these numbers for this many steps.
pub fn simulate_from(mut random: Random, steps: u64, notes_kept: usize) -> Outcome {
    let faults = Faults::drawn(&mut random);
    let limits = limits(&mut random);
    let mut fleet = Fleet::new(random, faults, limits);
    fleet.world().keep_trace(notes_kept);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        live(&mut fleet, steps);
        if !fleet.is_broken() {
            finish(&mut fleet);
        }
    }));
    if let Err(panic) = ran {
        let message = panic.downcast_ref::<String>().cloned();
        let message =
            message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        fleet.broken(7, format!("panicked: {}", message.unwrap_or_default()));
    }
    let world = fleet.world().clone();
    let broken = fleet.shared.model.borrow().broken.clone();
    let replies = fleet.shared.calls.borrow().replies;
    Outcome {
        broken,
        trace_hash: world.trace_hash(),
        turns: fleet.turns,
        virtual_time: world.now().saturating_since(Time::ZERO),
        replies,
        faults: counts(&fleet),
        trace: world.trace(),
    }
}

fn counts(fleet: &Fleet) -> BTreeMap<String, u64> {
    let count = |fault| fleet.world().change_faults(|faults, _| faults.count(fault));
    let faults = Fault::ALL
        .iter()
        .map(|fault| (format!("{fault:?}"), count(*fault)));
    let troubles = Trouble::ALL.iter().map(|trouble| {
        let made = fleet.troubles.get(trouble).copied().unwrap_or(0);
        (format!("{trouble:?}"), made)
    });
    let folds = fleet.shared.model.borrow().folds;
    let folds = [
        ("FoldByBudget", folds.by_budget),
        ("FoldByDebt", folds.by_debt),
        ("FoldByPlainPause", folds.by_plain_pause),
    ];
    let folds = folds.map(|(reason, count)| (reason.to_owned(), count));
    faults.chain(troubles).chain(folds).collect()
}

fn live(fleet: &mut Fleet, steps: u64) {
    let weights = Weights::drawn(&mut fleet.random);
    let longest_step = [200 * MILLI, 2 * SECOND, 12 * SECOND][fleet.random.index(3)];
    fleet.keeps_state = fleet.random.chance(6_000);
    fleet.start_distributor();
    for _ in 0..fleet.random.between(1, 4) {
        fleet.add(ActorKind::Node, None);
    }
    for _ in 0..fleet.random.between(0, 2) {
        fleet.add(ActorKind::Raw(Kind::Plain, None), None);
    }
    for _ in 0..fleet.random.between(0, 1) {
        fleet.add(ActorKind::Raw(Kind::Watcher, None), None);
    }
    for _ in 0..fleet.random.between(0, 2) {
        fleet.add(ActorKind::Raw(Kind::Subscriber, None), None);
    }
    fleet.run_for(SECOND);
    for _ in 0..steps {
        fleet.check();
        let trouble = weights.draw(&mut fleet.random);
        fleet.make(trouble);
        fleet.check();
        let time = fleet.random.duration(MILLI / 10, longest_step);
        fleet.run_for(time);
        if fleet.is_broken() {
            return;
        }
    }
    fleet.check();
}
