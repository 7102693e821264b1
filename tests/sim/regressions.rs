//! Defects that seeds found, reproduced without them: adding a draw changes the meaning of a seed.

use std::time::Duration;

use pilcrow::testing::sim::{Faults, Random};
use pilcrow_simulation::fleet::{ActorKind, Fleet};
use pilcrow_simulation::raw::Kind;

const SECOND: Duration = Duration::from_secs(1);

fn assert_kept(fleet: &Fleet) {
    let broken = fleet.shared.model.borrow().broken.clone();
    assert!(broken.is_none(), "{broken:?}");
}

/// A session has not read the last list when the Distributor stands still.
#[test]
fn sends_no_revision_twice_after_a_standstill() {
    let mut faults = Faults::none();
    (faults.send_buffer_bytes, faults.receive_buffer_bytes) = (64, 64);
    let mut fleet = Fleet::new(Random::new(1), faults, Default::default());
    fleet.start_distributor();
    let session = fleet.add(ActorKind::Raw(Kind::Twin, Some("only1".to_owned())), None);
    fleet.run_for(12 * SECOND);
    let process = fleet.process_of(session).expect("it runs");
    let link = fleet.world().links(process)[0];
    fleet.world().set_window(&link, 0);
    fleet.add(ActorKind::Raw(Kind::Plain, None), None);
    fleet.run_for(SECOND / 2);
    let distributor = fleet.distributor.as_mut().expect("it runs");
    let conns: Vec<_> = distributor.conns().map(|(conn, _)| conn).collect();
    let id = distributor.id;
    let net = distributor.reactor.net();
    assert!(conns.iter().any(|conn| net.is_backlogged(*conn)));
    fleet.world().jump(id, 8 * SECOND, SECOND);
    fleet.run_for(SECOND / 2);
    fleet.world().set_window(&link, 64);
    fleet.run_for(3 * SECOND);
    assert_kept(&fleet);
    assert_eq!(fleet.unsettled(), None);
}
