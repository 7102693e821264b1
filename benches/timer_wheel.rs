//! `timer_wheel`: arming, disarming and expiry with a million timers armed.

#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
// Not in the interface of `pilcrow`.
use pilcrow_testing::Time;
use pilcrow_testing::fuzzing::TimerWheel;
use pilcrow_testing::reactor::TimerId;

const TIMERS: u32 = 1_000_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

criterion_group!(benches, hot_pair, random_access, expiry);
criterion_main!(benches);

fn hot_pair(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/hot_pair");
    let (mut wheel, _ids) = armed_wheel(HOUR);
    group.bench_function("arm_then_disarm", |bencher| {
        bencher.iter(|| {
            let id = wheel.arm(black_box(Time::from_millis(30_000)), 0);
            wheel.disarm(black_box(id))
        });
    });
    group.finish();
}

fn random_access(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/random_access");

    // One disarm and one arm per iteration, as when a lease is renewed.
    let (mut wheel, mut ids) = armed_wheel(HOUR);
    let length = ids.len();
    let mut random = Random(2);
    group.bench_function("disarm_then_arm", |bencher| {
        bencher.iter(|| {
            let id = &mut ids[random.position(length)];
            let payload = wheel.disarm(*id).unwrap_or_default();
            *id = wheel.arm(random.deadline(HOUR), payload);
        });
    });

    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::from(TIMERS)));
    group.bench_function("arm_all", |bencher| {
        bencher.iter_batched_ref(
            || {
                // Room for every timer, in the scattered order of a wheel in use.
                let (mut wheel, mut ids) = armed_wheel(HOUR);
                Random(3).shuffle(&mut ids);
                for id in ids {
                    wheel.disarm(id);
                }
                (wheel, Random(4))
            },
            |(wheel, random)| {
                for payload in 0..TIMERS {
                    black_box(wheel.arm(random.deadline(HOUR), payload));
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("disarm_all", |bencher| {
        bencher.iter_batched_ref(
            || {
                let (wheel, mut ids) = armed_wheel(HOUR);
                Random(5).shuffle(&mut ids);
                (wheel, ids)
            },
            |(wheel, ids)| {
                for id in ids {
                    black_box(wheel.disarm(*id));
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn expiry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel/expiry");
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::from(TIMERS)));
    for (name, span) in [("within_a_minute", MINUTE), ("within_an_hour", HOUR)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || armed_wheel(span).0,
                |wheel| {
                    while let Some(now) = wheel.next_deadline() {
                        while let Some(expired) = wheel.pop_expired(now) {
                            black_box(expired);
                        }
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("after_a_leap_of_an_hour", |bencher| {
        bencher.iter_batched_ref(
            || armed_wheel(HOUR).0,
            |wheel| {
                while let Some(expired) = wheel.pop_expired(Time::from_millis(HOUR)) {
                    black_box(expired);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
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
