//! `timer_wheel`: arming, disarming and expiry with a million timers armed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout
)]

mod side_by_side;

use std::hint::black_box;

// Not in the interface of `pilcrow`.
use pilcrow_testing::Time;
use pilcrow_testing::fuzzing::TimerWheel;
use pilcrow_testing::reactor::TimerId;
use side_by_side::{cpu_of, cpu_of_all, is_selected, measure, print_head};

const TIMERS: u32 = 1_000_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

const ROUNDS: usize = 10;

fn main() {
    print_head();
    hot_pair();
    random_access();
    expiry();
}

fn hot_pair() {
    let row = "timer_wheel/hot_pair/arm_then_disarm";
    if !is_selected(row) {
        return;
    }
    let (mut wheel, _ids) = armed_wheel(HOUR);
    measure(row, ROUNDS, TIMERS, || {
        cpu_of_all(TIMERS, || {
            let id = wheel.arm(black_box(Time::from_millis(30_000)), 0);
            wheel.disarm(black_box(id))
        })
    });
}

fn random_access() {
    // One disarm and one arm each, as when a lease is renewed.
    let row = "timer_wheel/random_access/disarm_then_arm";
    if is_selected(row) {
        let (mut wheel, mut ids) = armed_wheel(HOUR);
        let length = ids.len();
        let mut random = Random(2);
        measure(row, ROUNDS, TIMERS, || {
            cpu_of_all(TIMERS, || {
                let id = &mut ids[random.position(length)];
                let payload = wheel.disarm(*id).unwrap_or_default();
                *id = wheel.arm(random.deadline(HOUR), payload);
            })
        });
    }
    let row = "timer_wheel/random_access/arm_all";
    if is_selected(row) {
        measure(row, ROUNDS, TIMERS, || {
            // Room for every timer, in the scattered order of a wheel in use.
            let (mut wheel, mut ids) = armed_wheel(HOUR);
            Random(3).shuffle(&mut ids);
            for id in ids {
                wheel.disarm(id);
            }
            let mut random = Random(4);
            cpu_of(|| {
                for payload in 0..TIMERS {
                    black_box(wheel.arm(random.deadline(HOUR), payload));
                }
            })
        });
    }
    let row = "timer_wheel/random_access/disarm_all";
    if is_selected(row) {
        measure(row, ROUNDS, TIMERS, || {
            let (mut wheel, mut ids) = armed_wheel(HOUR);
            Random(5).shuffle(&mut ids);
            cpu_of(|| {
                for id in &ids {
                    black_box(wheel.disarm(*id));
                }
            })
        });
    }
}

fn expiry() {
    for (name, span) in [("within_a_minute", MINUTE), ("within_an_hour", HOUR)] {
        let row = format!("timer_wheel/expiry/{name}");
        if !is_selected(&row) {
            continue;
        }
        measure(&row, ROUNDS, TIMERS, || {
            let mut wheel = armed_wheel(span).0;
            cpu_of(|| {
                while let Some(now) = wheel.next_deadline() {
                    while let Some(expired) = wheel.pop_expired(now) {
                        black_box(expired);
                    }
                }
            })
        });
    }
    let row = "timer_wheel/expiry/after_a_leap_of_an_hour";
    if is_selected(row) {
        measure(row, ROUNDS, TIMERS, || {
            let mut wheel = armed_wheel(HOUR).0;
            cpu_of(|| {
                while let Some(expired) = wheel.pop_expired(Time::from_millis(HOUR)) {
                    black_box(expired);
                }
            })
        });
    }
}

/// Returns a wheel with deadlines spread evenly over `span` milliseconds.
fn armed_wheel(span: u64) -> (TimerWheel<u32>, Vec<TimerId>) {
    let mut random = Random(1);
    let mut wheel = TimerWheel::default();
    let ids = (0..TIMERS)
        .map(|payload| wheel.arm(random.deadline(span), payload))
        .collect();
    (wheel, ids)
}

/// Splitmix64: the same numbers in every run, at the cost of a few cycles each.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn deadline(&mut self, span: u64) -> Time {
        Time::from_millis(self.below(span))
    }

    fn position(&mut self, length: usize) -> usize {
        // Both ways lossless: the lengths here are about a million.
        self.below(length as u64) as usize
    }

    fn shuffle<E>(&mut self, elements: &mut [E]) {
        for end in (1..elements.len()).rev() {
            elements.swap(end, self.position(end + 1));
        }
    }
}
