//! A state file is restored as it was written, or rejected.

use sha2::{Digest, Sha256};

use crate::script::Script;
use pilcrow::distributor::{Config, Distributor, Restored};
use pilcrow::protocol::RegistrationLimits;
use pilcrow::reactor::{Limits, Reactor};
use pilcrow::testing::sim::{Faults, Random, World};

fn decode(file: &[u8]) -> Option<Restored> {
    Restored::decode(file, &RegistrationLimits::default()).ok()
}

/// Returns a file with this body and a valid header.
fn sealed(body: &[u8]) -> Vec<u8> {
    let digits = Sha256::digest(body);
    let hash: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = format!(
        "{{\"format\":\"pilcrow distributor state\",\"version\":1,\"bytes\":{},\"sha256\":\"{hash}\"}}\n",
        body.len()
    );
    [header.as_bytes(), body].concat()
}

/// Returns the file that a Distributor writes after restoring this.
fn encode(restored: Restored) -> Vec<u8> {
    let world = World::new(Random::new(0), Faults::none()).expect("a world begins");
    let host = world.add_host([10, 0, 0, 1].into());
    let mut reactor = Reactor::simulated(world.start(host), Limits::default());
    let mut distributor = Distributor::new(Config::default());
    let left_out = restored.left_out();
    let not_listed = distributor.restore(reactor.net(), restored);
    assert_eq!(not_listed, left_out, "there is room for it");
    distributor.snapshot().into_bytes()
}

/// The input is a place, a bit, and a file, or a body that gets a valid header.
///
/// Returns whether the body was restored.
pub fn state_file(input: &[u8]) -> bool {
    let mut script = Script::new(input);
    let (place, bit) = ((script.byte(), script.byte()), script.pick(8));
    let input = script.rest();
    let _ = decode(input);
    let file = sealed(input);
    let Some(state) = decode(&file) else {
        return false;
    };
    let written = encode(state.clone());
    let again = decode(&written).expect("what was written can be read");
    assert_eq!((again.len(), again.left_out()), (state.len(), 0));
    assert_eq!(
        encode(again),
        written,
        "read and written again, it is the same"
    );
    if state.left_out() == 0 {
        assert_eq!(decode(&written), Some(state));
    }

    for file in [file, written] {
        let at = usize::from(u16::from_be_bytes([place.0, place.1])) % file.len();
        assert_eq!(decode(&file[..at]), None, "cut at {at}");
        let mut flipped = file;
        flipped[at] ^= 1 << bit;
        assert_eq!(decode(&flipped), None, "bit {bit} of byte {at} flipped");
    }
    true
}
