use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * 60 * 60 * 1000;
const END_OF_TIME: Time = Time::from_nanos(u64::MAX);

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn pop_all<T>(wheel: &mut TimerWheel<T>, now: Time) -> Vec<T> {
    std::iter::from_fn(|| wheel.pop_expired(now))
        .map(|(_, payload)| payload)
        .collect()
}

#[test]
fn returns_nothing_when_empty() {
    let mut wheel = TimerWheel::<u8>::default();
    assert_eq!(wheel.len(), 0);
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(wheel.pop_expired(END_OF_TIME), None);
}

#[test]
fn rounds_deadlines_up_to_whole_milliseconds() {
    let mut wheel = TimerWheel::default();
    wheel.arm(Time::from_nanos(4_000_001), "just after 4");
    wheel.arm(ms(4), "exactly 4");
    wheel.arm(Time::from_nanos(3_999_999), "just before 4");
    assert_eq!(pop_all(&mut wheel, Time::from_nanos(3_999_999)), [""; 0]);
    assert_eq!(
        pop_all(&mut wheel, Time::from_nanos(4_999_999)),
        ["exactly 4", "just before 4"]
    );
    assert_eq!(pop_all(&mut wheel, ms(5)), ["just after 4"]);
}

#[test]
fn expires_by_deadline_and_then_in_the_order_of_arming() {
    let mut wheel = TimerWheel::default();
    for (deadline, payload) in [(9, 'd'), (5, 'b'), (9, 'e'), (5, 'c'), (1, 'a')] {
        wheel.arm(ms(deadline), payload);
    }
    assert_eq!(pop_all(&mut wheel, ms(9)), ['a', 'b', 'c', 'd', 'e']);
}

#[test]
fn keeps_the_order_of_arming_in_cascades() {
    for deadline in [64, 4_096, 262_144, 300_000, DAY, 64_u64.pow(7) + 4_097] {
        let mut wheel = TimerWheel::default();
        let mut armed = 0;
        for distance in [262_144, 4_097, 4_096, 65, 64, 63, 2, 1] {
            wheel.arm(ms(deadline), armed);
            armed += 1;
            let before = deadline.saturating_sub(distance);
            assert!(pop_all(&mut wheel, ms(before)).is_empty());
            wheel.arm(ms(deadline), armed);
            armed += 1;
        }
        let expected: Vec<i32> = (0..armed).collect();
        assert_eq!(pop_all(&mut wheel, ms(deadline)), expected);
    }
}

#[test]
fn expires_past_deadlines_in_the_next_tick() {
    let mut wheel = TimerWheel::default();
    wheel.arm(Time::ZERO, 'a');
    assert_eq!(wheel.pop_expired(Time::ZERO), None);
    assert_eq!(pop_all(&mut wheel, ms(1)), ['a']);
    pop_all(&mut wheel, ms(10));
    wheel.arm(Time::ZERO, 'b');
    wheel.arm(ms(10), 'c');
    wheel.arm(ms(11), 'd');
    assert_eq!(wheel.next_deadline(), Some(ms(11)));
    assert_eq!(pop_all(&mut wheel, ms(10)), []);
    assert_eq!(pop_all(&mut wheel, ms(11)), ['b', 'c', 'd']);
}

#[test]
fn ends_a_batch_when_timers_are_rearmed_without_delay() {
    let mut wheel = TimerWheel::default();
    for hour in 0..24 {
        wheel.arm(ms(hour * DAY / 24), hour);
    }
    for now in [ms(DAY), ms(DAY + 1), ms(9 * DAY)] {
        let mut popped = Vec::new();
        while let Some((_, hour)) = wheel.pop_expired(now) {
            popped.push(hour);
            wheel.arm(Time::ZERO, hour);
        }
        assert_eq!(popped, (0..24).collect::<Vec<_>>());
    }
    assert_eq!(wheel.len(), 24);
}

#[test]
fn disarms_due_timers_until_they_are_popped() {
    let mut wheel = TimerWheel::default();
    let first = wheel.arm(ms(70), 'a');
    let same_tick = wheel.arm(ms(70), 'b');
    let later_tick = wheel.arm(ms(5_000), 'c');
    wheel.arm(ms(6_000), 'd');
    assert_eq!(wheel.pop_expired(ms(DAY)), Some((first, 'a')));
    assert_eq!(wheel.disarm(first), None);
    assert_eq!(wheel.disarm(same_tick), Some('b'));
    assert_eq!(wheel.disarm(later_tick), Some('c'));
    assert_eq!(pop_all(&mut wheel, ms(DAY)), ['d']);
}

#[test]
fn keeps_the_rest_of_a_slot_when_disarming() {
    for gone in 0..4 {
        let mut wheel = TimerWheel::default();
        let ids: Vec<TimerId> = (0..4).map(|timer| wheel.arm(ms(500), timer)).collect();
        assert_eq!(wheel.disarm(ids[gone]), Some(gone));
        wheel.arm(ms(500), 4);
        let expected: Vec<usize> = (0..5).filter(|&timer| timer != gone).collect();
        assert_eq!(pop_all(&mut wheel, ms(500)), expected);
    }
}

#[test]
fn ignores_stale_ids() {
    let mut wheel = TimerWheel::default();
    let disarmed = wheel.arm(ms(1), 'a');
    assert_eq!(wheel.disarm(disarmed), Some('a'));
    assert_eq!(wheel.disarm(disarmed), None);
    let popped = wheel.arm(ms(1), 'b');
    assert_eq!(popped.entry, disarmed.entry);
    assert_eq!(wheel.pop_expired(ms(1)), Some((popped, 'b')));
    wheel.arm(ms(2), 'c');
    assert_eq!(wheel.disarm(disarmed), None);
    assert_eq!(wheel.disarm(popped), None);
    assert_eq!(pop_all(&mut wheel, ms(2)), ['c']);
}

#[test]
fn wraps_generations_around() {
    let mut wheel = TimerWheel {
        next_generation: NonZeroU32::MAX,
        ..TimerWheel::default()
    };
    let last = wheel.arm(ms(1), 'a');
    let first = wheel.arm(ms(1), 'b');
    assert_eq!(first.generation, NonZeroU32::MIN);
    assert_eq!(wheel.disarm(last), Some('a'));
    assert_eq!(wheel.disarm(first), Some('b'));
}

#[test]
fn treats_a_clock_that_steps_back_as_standing_still() {
    let mut wheel = TimerWheel::default();
    assert_eq!(wheel.pop_expired(ms(100)), None);
    wheel.arm(ms(60), 'a');
    wheel.arm(ms(101), 'b');
    assert_eq!(pop_all(&mut wheel, ms(70)), []);
    assert_eq!(pop_all(&mut wheel, ms(101)), ['a', 'b']);
}

#[test]
fn pops_due_timers_even_if_the_clock_steps_back() {
    let mut wheel = TimerWheel::default();
    wheel.arm(ms(10), 'a');
    wheel.arm(ms(20), 'b');
    assert_eq!(wheel.pop_expired(ms(20)).map(|(_, timer)| timer), Some('a'));
    assert_eq!(pop_all(&mut wheel, Time::ZERO), ['b']);
}

#[test]
fn accepts_the_farthest_deadlines() {
    let last_tick = END_OF_TIME.as_millis();
    let mut wheel = TimerWheel::default();
    wheel.arm(END_OF_TIME, 'c');
    wheel.arm(ms(last_tick), 'b');
    wheel.arm(ms(last_tick - 1), 'a');
    assert_eq!(pop_all(&mut wheel, ms(last_tick - 2)), []);
    assert_eq!(pop_all(&mut wheel, ms(last_tick - 1)), ['a']);
    assert_eq!(pop_all(&mut wheel, END_OF_TIME), ['b']);
    wheel.arm(Time::ZERO, 'd');
    assert_eq!(pop_all(&mut wheel, END_OF_TIME), []);
    assert_eq!(wheel.next_deadline(), Some(END_OF_TIME));
    assert_eq!(wheel.len(), 2);
}

#[test]
fn wakes_at_most_once_per_level() {
    for deadline in (0..45).flat_map(|bit| [1 << bit, (2 << bit) - 1]) {
        let deadline = ms(deadline);
        if deadline == END_OF_TIME {
            continue;
        }
        let mut wheel = TimerWheel::default();
        wheel.arm(deadline, ());
        let mut wake_ups = 0;
        while let Some(now) = wheel.next_deadline() {
            assert!(now <= deadline);
            wake_ups += 1;
            if wheel.pop_expired(now).is_some() {
                assert_eq!(now, deadline);
            }
        }
        assert!(wake_ups <= LEVELS, "{wake_ups} wake-ups for {deadline:?}");
    }
}

#[test]
fn allocates_nothing_in_a_steady_state() {
    let mut wheel = TimerWheel::default();
    let mut ids: Vec<TimerId> = (0..100).map(|delay| wheel.arm(ms(delay), ())).collect();
    let capacity = wheel.entries.capacity();
    for now in 1..10_000 {
        while wheel.pop_expired(ms(now)).is_some() {}
        for id in &mut ids {
            wheel.disarm(*id);
            *id = wheel.arm(ms(now + now * 7 % 5_000), ());
        }
    }
    assert_eq!(wheel.entries.capacity(), capacity);
}

#[test]
fn keeps_entries_small() {
    assert_eq!(size_of::<Option<Entry<u32>>>(), 24);
    assert_eq!(size_of::<Option<Entry<u64>>>(), 32);
    assert_eq!(size_of::<Option<TimerId>>(), 8);
}

#[test]
fn prints_a_summary_for_debug() {
    let mut wheel = TimerWheel::default();
    wheel.arm(ms(1), 'a');
    let shown = format!("{wheel:?}");
    assert!(shown.starts_with("TimerWheel { len: 1, next_deadline: Some("));
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..150)) {
        let mut pair = Pair::default();
        for step in steps {
            pair.take(step);
            pair.check();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arm(Moment, Reaction),
    /// Disarms any id ever returned, stale or not.
    Disarm(prop::sample::Index),
    /// Sets the clock to this time, and pops at most this many timers.
    Advance(Moment, usize),
    /// Sets the clock to the result of `next_deadline`, until a timer expires.
    Sleep,
}

/// Reaction of the owner of a timer when it expires.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    Nothing,
    RearmZero,
    DisarmDue(prop::sample::Index),
}

/// A time, relative to the present at which it is resolved.
#[derive(Clone, Debug)]
enum Moment {
    Ago(u64),
    After(u64),
    /// This many ticks past the next start of a slot of this level. Chosen from few values, so that
    /// timers armed at different times share deadlines.
    PastBoundary(u32, u64),
    Absolute(u64),
}

impl Moment {
    fn resolve(&self, now: Time) -> Time {
        match *self {
            Self::Ago(nanos) => Time::from_nanos(now.as_nanos().saturating_sub(nanos)),
            Self::After(nanos) => now + Duration::from_nanos(nanos),
            Self::PastBoundary(level, ticks) => {
                let shift = level * DIGIT_BITS;
                ms((((now.as_millis() >> shift) + 1) << shift) + ticks)
            }
            Self::Absolute(nanos) => Time::from_nanos(nanos),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let deadline = prop_oneof![
        1 => (0..3_000_000_000_u64).prop_map(Moment::Ago),
        4 => (0..200_000_000_u64).prop_map(Moment::After),
        2 => (0..2 * DAY * NANOS_PER_TICK).prop_map(Moment::After),
        6 => (0..8_u32, 0..3_u64).prop_map(|(level, ticks)| Moment::PastBoundary(level, ticks)),
        1 => any::<u64>().prop_map(Moment::Absolute),
        1 => (0..3_000_000_u64).prop_map(|nanos| Moment::Absolute(u64::MAX - nanos)),
    ];
    let now = prop_oneof![
        40 => Just(Moment::After(0)),
        40 => (0..DAY * NANOS_PER_TICK).prop_map(Moment::Ago),
        80 => (0..3_000_000_u64).prop_map(Moment::After),
        80 => (0..200_000_000_u64).prop_map(Moment::After),
        80 => (0..5_u32, 0..3_u64).prop_map(|(level, ticks)| Moment::PastBoundary(level, ticks)),
        40 => Just(Moment::After(DAY * NANOS_PER_TICK)),
        2 => any::<u64>().prop_map(Moment::Absolute),
        1 => Just(Moment::Absolute(u64::MAX)),
    ];
    let reaction = prop_oneof![
        3 => Just(Reaction::Nothing),
        1 => Just(Reaction::RearmZero),
        2 => any::<prop::sample::Index>().prop_map(Reaction::DisarmDue),
    ];
    let pops = prop_oneof![0..4_usize, Just(usize::MAX)];
    prop_oneof![
        6 => (deadline, reaction).prop_map(|(deadline, reaction)| Step::Arm(deadline, reaction)),
        2 => any::<prop::sample::Index>().prop_map(Step::Disarm),
        3 => (now, pops).prop_map(|(now, pops)| Step::Advance(now, pops)),
        1 => Just(Step::Sleep),
    ]
}

/// The tick of a timer, and its number in the order of arming.
type Key = (u64, usize);

/// A wheel, and a sorted map as its model.
#[derive(Default)]
struct Pair {
    wheel: TimerWheel<(usize, Reaction)>,
    armed: BTreeMap<Key, TimerId>,
    given: Vec<(Key, TimerId)>,
    now: Time,
    /// True if everything due has been popped.
    settled: bool,
}

impl Pair {
    fn take(&mut self, step: Step) {
        match step {
            Step::Arm(deadline, reaction) => self.arm(deadline.resolve(self.now), reaction),
            Step::Disarm(choice) if !self.given.is_empty() => {
                let &(key, _) = choice.get(&self.given);
                self.disarm(key);
            }
            Step::Disarm(_) => {}
            Step::Advance(now, pops) => {
                let now = now.resolve(self.now);
                for _ in 0..pops {
                    if !self.pop(now) {
                        break;
                    }
                }
            }
            Step::Sleep => self.sleep(),
        }
    }

    fn arm(&mut self, deadline: Time, reaction: Reaction) {
        let number = self.given.len();
        let id = self.wheel.arm(deadline, (number, reaction));
        let whole_millis = deadline.as_nanos().div_ceil(1_000_000);
        let key = (whole_millis.max(self.now.as_millis() + 1), number);
        assert!(self.armed.values().all(|&other| other != id));
        self.armed.insert(key, id);
        self.given.push((key, id));
    }

    fn disarm(&mut self, key: Key) {
        let (_, id) = self.given[key.1];
        let number = self.wheel.disarm(id).map(|(number, _)| number);
        assert_eq!(number, self.armed.remove(&key).map(|_| key.1));
    }

    fn pop(&mut self, now: Time) -> bool {
        self.now = self.now.max(now);
        let expected = self
            .first_due()
            .and_then(|key| Some((self.armed.remove(&key)?, key.1)));
        let popped = self.wheel.pop_expired(now);
        assert_eq!(popped.map(|(id, (number, _))| (id, number)), expected);
        self.settled = popped.is_none();
        match popped {
            Some((_, (_, Reaction::RearmZero))) => self.arm(Time::ZERO, Reaction::RearmZero),
            Some((_, (_, Reaction::DisarmDue(choice)))) => {
                let due = self.armed.range(..=(self.now.as_millis(), usize::MAX));
                let due: Vec<Key> = due.map(|(&key, _)| key).collect();
                if !due.is_empty() {
                    self.disarm(*choice.get(&due));
                }
            }
            Some((_, (_, Reaction::Nothing))) | None => {}
        }
        popped.is_some()
    }

    fn sleep(&mut self) {
        let Some((&(earliest, _), _)) = self.armed.first_key_value() else {
            return;
        };
        if earliest > END_OF_TIME.as_millis() {
            return;
        }
        for _ in 0..LEVELS {
            let wake_up = self.wheel.next_deadline().unwrap();
            if self.pop(wake_up) {
                return;
            }
        }
        panic!("no timer after a wake-up per level");
    }

    fn first_due(&self) -> Option<Key> {
        let (&key, _) = self.armed.first_key_value()?;
        (key.0 <= self.now.as_millis()).then_some(key)
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.armed.len());
        let next = self.wheel.next_deadline();
        assert_eq!(next.is_some(), !self.armed.is_empty());
        if let (Some(next), Some((&(tick, _), _))) = (next, self.armed.first_key_value()) {
            assert!(next <= ms(tick));
            assert!(!self.settled || next == END_OF_TIME || next > self.now);
        }
        self.check_structure();
    }

    fn check_structure(&self) {
        let wheel = &self.wheel;
        assert!(wheel.cursor <= wheel.present);
        let mut found = 0;
        for (place, slot) in wheel.slots.iter().enumerate() {
            let occupied = wheel.occupied[place / SLOTS] & bit(place) != 0;
            assert_eq!(occupied, slot.first != NIL);
            let (mut previous, mut current) = (NIL, slot.first);
            while let Some(entry) = wheel.entries.get(index(current)) {
                assert_eq!(wheel.place_of(entry.tick), place);
                assert!(entry.tick >= wheel.cursor.max(wheel.start_of(place)));
                assert_eq!(entry.previous, previous);
                (previous, current) = (current, entry.next);
                found += 1;
            }
            assert_eq!(current, NIL);
            assert_eq!(slot.last, previous);
        }
        assert_eq!(found, wheel.len());
    }
}
