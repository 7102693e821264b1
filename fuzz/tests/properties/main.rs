//! The properties of the fuzz targets, with inputs drawn by proptest.

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
    // Inputs that fail are added to the seeds by hand.
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
    fn registrations_are_harmless_or_rejected(input in inputs::registration()) {
        fuzzing::registration(&input);
    }

    #[test]
    fn written_packets_can_be_read(input in inputs::decisions(300)) {
        fuzzing::packets(&input);
    }

    #[test]
    fn urls_stay_in_their_path(input in inputs::url()) {
        fuzzing::url(&input);
    }

    #[test]
    fn log_text_is_harmless(input in inputs::log_text()) {
        fuzzing::log_escape(&input);
    }

    #[test]
    fn state_files_are_restored_or_rejected(input in inputs::state_file()) {
        fuzzing::state_file(&input);
    }

    #[test]
    fn a_node_has_the_view_of_the_registry(input in inputs::decisions(300)) {
        fuzzing::list_and_delta(&input);
    }

    #[test]
    fn a_node_survives_its_distributor(input in inputs::decisions(150)) {
        fuzzing::node_link(&input);
    }

    #[test]
    fn a_fleet_keeps_its_promises(input in inputs::decisions(250)) {
        fuzzing::simulation(&input);
    }
}

/// The files in `fuzz/seeds`: first inputs of the fuzzer, and inputs that it found.
#[test]
fn properties_hold_for_every_seed() {
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

/// A property that only sees rejected inputs would show nothing.
#[test]
fn some_inputs_are_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    type IsAccepted = fn(&[u8]) -> bool;
    let properties: [(BoxedStrategy<Vec<u8>>, IsAccepted); 3] = [
        (inputs::http_stream().boxed(), fuzzing::http_requests),
        (inputs::registration().boxed(), fuzzing::registration),
        (inputs::state_file().boxed(), fuzzing::state_file),
    ];
    for (inputs, property) in properties {
        let draw = |_| inputs.new_tree(&mut runner).unwrap().current();
        let accepted = (0..200).map(draw).filter(|input| property(input)).count();
        println!("{accepted} of 200");
        assert!((10..190).contains(&accepted), "{accepted} of 200");
    }
}
