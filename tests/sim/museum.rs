//! The museum: known mistakes, made on purpose, one at a time. A simulation that overlooks one of
//! them proves nothing of the others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use pilcrow::mistakes::{Mistake, make};

use crate::simulation::simulate;
use crate::{THREADS, number, steps};

/// Within so many seeds each must be found.
const SEEDS: u64 = 10_000;

/// The first seed that finds `mistake`, and the promise that it breaks.
fn find(mistake: Mistake) -> Option<(u64, u8, String)> {
    for seed in 0..number("SEEDS").unwrap_or(SEEDS) {
        make(Some(mistake));
        let outcome = simulate(seed, steps(), 1);
        let again = (mistake == Mistake::HashOrderDecides && outcome.broken.is_none())
            .then(|| simulate(seed, steps(), 1).trace_hash);
        make(None);
        if let Some(broken) = outcome.broken {
            return Some((seed, broken.promise, broken.what));
        }
        if again.is_some_and(|hash| hash != outcome.trace_hash) {
            return Some((seed, 9, "another trace".to_owned()));
        }
    }
    None
}

/// Takes a minute, and is run by itself: `cargo test --release --test sim -- --ignored museum`.
#[test]
#[ignore = "a command of its own: --ignored museum"]
fn museum() {
    // Mistakes that panic are found, too, and need not be printed.
    std::panic::set_hook(Box::new(|_| {}));
    let wanted = std::env::var("MISTAKE").ok();
    let all: Vec<Mistake> = Mistake::ALL
        .iter()
        .copied()
        .filter(|mistake| {
            wanted
                .as_ref()
                .is_none_or(|name| *name == format!("{mistake:?}"))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Option<String>>> = Mutex::new(vec![None; all.len()]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(mistake) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let name = format!("{mistake:?}");
                    let line = match find(*mistake) {
                        Some((seed, promise, what)) => {
                            let what: String = what.chars().take(90).collect();
                            let seconds = began.elapsed().as_secs_f64();
                            let words = format!(
                                "{name:28} seed {seed:5}  promise {promise}  {seconds:6.2} s  {what}"
                            );
                            eprintln!("{words}");
                            Some(words)
                        }
                        None => {
                            eprintln!("{name:28} OVERLOOKED");
                            None
                        }
                    };
                    let place = all.iter().position(|other| other == mistake).expect("its own");
                    found.lock().unwrap_or_else(|held| held.into_inner())[place] = line;
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let found = found.into_inner().unwrap_or_else(|held| held.into_inner());
    let overlooked: Vec<_> = all
        .iter()
        .zip(&found)
        .filter(|(_, line)| line.is_none())
        .collect();
    assert!(!all.is_empty(), "there is no such mistake");
    assert!(
        overlooked.is_empty(),
        "the simulation overlooks {overlooked:?}"
    );
    eprintln!("all {} mistakes are found", all.len());
}
