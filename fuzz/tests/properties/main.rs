//! What holds for every input, with inputs drawn by proptest. The fuzz targets run the same
//! properties with inputs that find new paths.

#![allow(unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

mod inputs;

use std::fs;
use std::path::Path;

use pilcrow_fuzz as fuzzing;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

proptest! {
    // What is found is kept as a seed.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_frames(input in inputs::stream()) {
        fuzzing::framing(&input);
    }

    #[test]
    fn any_cut_gives_the_same_requests(input in inputs::http_stream()) {
        fuzzing::http_requests(&input);
    }

    #[test]
    fn a_registration_is_harmless_or_refused(input in inputs::registration()) {
        fuzzing::registration(&input);
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant(input in inputs::decisions(300)) {
        fuzzing::packets(&input);
    }

    #[test]
    fn no_url_leads_out_of_its_path(input in inputs::url()) {
        fuzzing::url(&input);
    }

    #[test]
    fn no_bytes_act_on_who_reads_the_log(input in inputs::log_text()) {
        fuzzing::log_escape(&input);
    }

    #[test]
    fn a_state_file_is_read_as_it_was_written_or_not_at_all(input in inputs::state_file()) {
        fuzzing::state_file(&input);
    }

    #[test]
    fn a_node_sees_what_the_registry_has(input in inputs::decisions(300)) {
        fuzzing::list_and_delta(&input);
    }

    #[test]
    fn a_node_outlives_what_its_distributor_says(input in inputs::decisions(150)) {
        fuzzing::node_link(&input);
    }

    #[test]
    fn a_fleet_keeps_its_promises(input in inputs::decisions(250)) {
        fuzzing::simulation(&input);
    }
}

/// The files in `fuzz/seeds`: what the fuzzer begins with, and what it has found.
#[test]
fn every_seed_holds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, property) in fuzzing::PROPERTIES {
        let mut seen = 0;
        for entry in fs::read_dir(seeds.join(name)).expect("each property has seeds") {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            property(&fs::read(&path).unwrap());
            seen += 1;
        }
        assert!(seen > 0, "{name} has no seeds");
    }
}

/// A property that holds for everything would be none.
#[test]
fn the_inputs_reach_what_is_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..200 {
        let tree = inputs::registration().new_tree(&mut runner).unwrap();
        let params = String::from_utf8(tree.current()).unwrap();
        let Ok(params) = serde_json::value::RawValue::from_string(params) else {
            continue;
        };
        let limits = pilcrow::protocol::RegistrationLimits::default();
        let checked = pilcrow::protocol::Registration::check(Some(&params), &limits);
        accepted += usize::from(checked.is_ok());
    }
    assert!((20..180).contains(&accepted), "{accepted} of 200");
}
