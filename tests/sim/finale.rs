//! Checks after all trouble: every peer knows the last list, quiet times are quiet, and peers that
//! have left leave no trace.

use std::rc::Rc;
use std::time::Duration;

use crate::fleet::{ActorKind, Fleet, Later, Running};
use crate::model::{ActorId, Model};
use crate::raw::Kind;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Maximum time of a healed fleet until every peer knows the last list: a connect that fails, the
/// longest pause before the next, the warm-up, and a peer that is closed for not reading.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

/// Ends all trouble, waits until the fleet is settled, and runs one of the checks.
pub fn finish(fleet: &mut Fleet) {
    fleet.end_all_trouble();
    settle(fleet);
    if fleet.is_broken() {
        return;
    }
    match fleet.random.index(9) {
        0 => restart_unnoticed(fleet, false),
        1 => restart_unnoticed(fleet, true),
        2 => call_all(fleet),
        3 => rest(fleet),
        4 => drain_one(fleet),
        5 => receive_reason(fleet),
        6 => pause_one(fleet),
        7 => reply_late(fleet),
        _ => pause_distributor(fleet),
    }
    if !fleet.is_broken() {
        unload(fleet);
    }
}

fn settle(fleet: &mut Fleet) {
    let until = fleet.now() + SETTLES_WITHIN;
    loop {
        fleet.run_for(SECOND / 2);
        fleet.check();
        if fleet.is_broken() {
            return;
        }
        let Some(what) = fleet.unsettled() else {
            return;
        };
        if fleet.now() >= until {
            return fleet.broken(2, what);
        }
    }
}

/// Restarts the Distributor in a quiet time: no node leaves any view.
fn restart_unnoticed(fleet: &mut Fleet, is_planned: bool) {
    fleet.run_for(12 * SECOND);
    for node in fleet.nodes() {
        node.state().losses.clear();
    }
    // Plain peers leave in a restart: they reconnect later than nodes do.
    let names = |fleet: &mut Fleet| -> Vec<String> {
        let nodes = fleet.nodes().filter(|node| !node.is_draining);
        nodes
            .map(|node| format!("\"name\":\"node {}\"", node.actor))
            .collect()
    };
    let names = names(fleet);
    // With a short accept queue some have not reconnected when the warm-up ends.
    let peers = u32::try_from(fleet.actors.len()).expect("few actors");
    let is_spoiled = fleet.shared.model.borrow().shelf.is_spoiled;
    if fleet.keeps_state && !is_spoiled && fleet.limits.listen_backlog > peers {
        keep_all(fleet);
    }
    fleet.log("a restart in a quiet time");
    if is_planned {
        if let Some(distributor) = &mut fleet.distributor {
            distributor.stop();
        }
        fleet.run_for(3 * SECOND);
    }
    fleet.distributor = None;
    let pause = fleet.random.duration(MILLI, 8 * SECOND);
    fleet.run_for(pause);
    fleet.start_distributor();
    fleet.run_for(25 * SECOND);
    settle(fleet);
    fleet.shared.model.borrow_mut().kept.clear();
    let mut lost = None;
    for node in fleet.nodes() {
        let actor = node.actor;
        let state = node.state();
        let losses = state.losses.iter();
        if let Some(loss) = losses
            .into_iter()
            .find(|loss| names.iter().any(|name| loss.contains(name)))
        {
            lost = Some(format!(
                "node {actor} lost {loss} because the Distributor restarted"
            ));
        }
    }
    if let Some(what) = lost {
        fleet.broken(5, what);
    }
}

/// Requires the entries of all peers that reconnect by themselves in each list from now on.
fn keep_all(fleet: &mut Fleet) {
    let Some(id) = fleet.distributor.as_ref().map(|known| known.id) else {
        return;
    };
    let nodes = fleet.nodes().filter(|node| !node.is_draining);
    let mut back: Vec<ActorId> = nodes.map(|node| node.actor).collect();
    // Twins reject each other.
    let raws = fleet
        .raws()
        .filter(|raw| raw.reads() && raw.kind != Kind::Twin);
    back.extend(raws.map(|raw| raw.actor));
    let mut model = fleet.shared.model.borrow_mut();
    let Model {
        runs,
        actor_of,
        kept,
        ..
    } = &mut *model;
    let run = runs.iter().rev().find(|run| run.process == id);
    let run = run.expect("the Distributor is known");
    for (peer, conn) in &run.conns {
        let is_back = actor_of.get(peer).is_some_and(|actor| back.contains(actor));
        let mut entries = run.entries.iter();
        let entry = entries.find(|entry| Some(entry.number) == conn.entry && entry.is_listed);
        if is_back {
            kept.extend(entry.map(|entry| (id, Rc::clone(&entry.text))));
        }
    }
}

/// Makes calls in a quiet time: each gets its reply, and none leaves state.
fn call_all(fleet: &mut Fleet) {
    fleet.run_for(10 * SECOND);
    fleet.shared.calls.borrow_mut().is_quiet = true;
    let minute = 60 * SECOND;
    let before: Vec<usize> = fleet
        .nodes()
        .map(|node| node.reactor.net().timers())
        .collect();
    for _ in 0..5 {
        for node in fleet.nodes() {
            node.call(None, minute, false);
        }
    }
    // Longer than any reply is delayed, and the deadline of a frame after it.
    fleet.run_for(20 * SECOND);
    let calls = Rc::clone(&fleet.shared.calls);
    let mut wrong = None;
    for (node, before) in fleet.nodes().zip(before) {
        let timers = node.reactor.net().timers();
        let open = calls.borrow().open_of(node.actor);
        if open > 0 {
            wrong = Some((
                6,
                format!("{open} calls of node {} have no reply", node.actor),
            ));
        }
        let (tasks, in_flight) = node.in_progress();
        if open == 0 && (tasks > 0 || in_flight > 0) {
            let what = format!(
                "node {} has {tasks} tasks and {in_flight} calls that nothing waits for",
                node.actor
            );
            wrong = Some((6, what));
        }
        // Those of the link, and of connections that were opened for the calls.
        if open == 0 && timers > before + 4 {
            let what = format!("node {} had {before} timers and has {timers}", node.actor);
            wrong = Some((8, what));
        }
    }
    calls.borrow_mut().is_quiet = false;
    if let Some((promise, what)) = wrong {
        fleet.broken(promise, what);
    }
}

/// Waits in a quiet time: no peer joins or leaves, and every connection is known to the handler.
fn rest(fleet: &mut Fleet) {
    let changes = |fleet: &mut Fleet| -> Vec<usize> {
        let nodes = fleet.nodes();
        nodes.map(|node| node.state().link_changes).collect()
    };
    fleet.run_for(14 * SECOND);
    let before = changes(fleet);
    // Some peers reconnect every three seconds, and their last frames are on the way for a moment.
    let mut kept = None;
    for _ in 0..8 {
        kept = fleet.distributor.as_mut().and_then(|distributor| {
            let known = distributor.conns().count();
            let connections = distributor.reactor.net().connections();
            (connections > known + 1).then_some((connections, known))
        });
        if kept.is_none() {
            break;
        }
        fleet.run_for(SECOND / 3);
    }
    if let Some((connections, known)) = kept {
        let what = format!("there are {connections} connections, and {known} are known");
        return fleet.broken(8, what);
    }
    fleet.run_for(22 * SECOND);
    if changes(fleet) != before {
        fleet.broken(3, "a node lost its Distributor although nothing happened");
    }
}

/// Drains a node: after a reply that all have acknowledged it, it is in no view.
fn drain_one(fleet: &mut Fleet) {
    fleet.run_for(12 * SECOND);
    let Some(id) = fleet
        .nodes()
        .find(|node| !node.is_draining)
        .map(|node| node.actor)
    else {
        return;
    };
    // Some acknowledge late.
    for raw in 0..2 {
        let others: Vec<_> = fleet.nodes().filter(|node| node.actor != id).collect();
        let process = others.get(raw).map(|node| node.id);
        if let Some(process) = process {
            let now = fleet.now();
            fleet.paused.insert(process, now);
            fleet.later(SECOND, Later::Resume(process));
        }
    }
    for node in fleet.nodes().filter(|node| node.actor == id) {
        node.is_draining = true;
        node.state().drained = None;
        let net = node.reactor.net();
        node.node.context(net).drain(3 * SECOND);
    }
    let own = format!("\"name\":\"node {id}\"");
    for _ in 0..300 {
        fleet.run_for(10 * MILLI);
        let mut nodes = fleet.nodes();
        let drained = nodes.find_map(|node| {
            if node.actor == id {
                node.state().drained
            } else {
                None
            }
        });
        drop(nodes);
        let mut sees = None;
        // Drained nodes receive no lists.
        for node in fleet.nodes().filter(|node| !node.is_draining) {
            if node.view().iter().any(|entry| entry.contains(&own)) {
                sees = Some(node.actor);
            }
        }
        if let (Some(true), Some(other)) = (drained, sees) {
            let what =
                format!("all have acknowledged the drain of node {id}, and node {other} sees it");
            return fleet.broken(2, what);
        }
        if drained.is_some() {
            return;
        }
    }
}

/// Pauses the process of a node, whose kernel answers for it: its session becomes silent.
fn pause_one(fleet: &mut Fleet) {
    let Some((process, actor)) = fleet.nodes().map(|node| (node.id, node.actor)).next() else {
        return;
    };
    let now = fleet.now();
    fleet.paused.insert(process, now);
    let conns = fleet
        .distributor
        .as_ref()
        .map_or(0, |known| known.conns().count());
    for _ in 0..10 + conns {
        fleet.run_for(2 * SECOND);
        fleet.check();
    }
    fleet.paused.remove(&process);
    fleet.log(&format!("node {actor} resumes"));
    settle(fleet);
}

/// Pauses the Distributor: it reads everything that arrived before it closes a peer for silence.
fn pause_distributor(fleet: &mut Fleet) {
    fleet.add(ActorKind::Raw(Kind::Watcher, None), None);
    fleet.run_for(8 * SECOND);
    let Some(process) = fleet.distributor.as_ref().map(|known| known.id) else {
        return;
    };
    let now = fleet.now();
    fleet.paused.insert(process, now);
    fleet.disturb(process);
    let pause = fleet.random.between(10, 20);
    fleet.run_for(u32::try_from(pause).expect("some seconds") * SECOND);
    fleet.paused.remove(&process);
    fleet.disturb(process);
    fleet.log("the Distributor resumes");
    settle(fleet);
}

/// Delays replies: each reaches its caller or none, and not the process that replaced the caller.
fn reply_late(fleet: &mut Fleet) {
    let ids: Vec<_> = fleet
        .nodes()
        .filter(|node| !node.is_draining)
        .map(|node| node.actor)
        .collect();
    let [called, callers @ ..] = &ids[..] else {
        return;
    };
    for node in fleet.nodes().filter(|node| node.actor == *called) {
        node.state().delays_one_in = 1;
    }
    for _ in 0..2 {
        for id in callers {
            for node in fleet.nodes().filter(|node| node.actor == *id) {
                node.call(Some(*called), 5 * SECOND, false);
            }
        }
        fleet.run_for(SECOND / 4);
        for id in callers {
            fleet.kill(*id);
        }
        fleet.run_for(SECOND / 4);
        for id in callers {
            fleet.start(*id);
        }
        fleet.run_for(SECOND);
    }
    settle(fleet);
}

/// Sends too large a frame: the reason of the close arrives although the peer keeps sending.
fn receive_reason(fleet: &mut Fleet) {
    let addr: std::net::SocketAddr = ([10, 0, 0, 250], 0).into();
    let host = fleet.world().add_host(addr.ip());
    let mut process = fleet.world().start(host);
    // Over the limit, by less than what is still read of it.
    let text = vec![b'x'; fleet.limits.max_frame_bytes + 700];
    // With so little latency that what is still read of it arrives in time.
    fleet.world().change_faults(|faults, _| {
        (faults.latency, faults.jitter) = (MILLI / 10, MILLI / 10);
    });
    let Ok(socket) = process.connect(fleet.addr) else {
        return;
    };
    fleet.run_for(SECOND);
    let (mut sent, mut received) = (0, Vec::new());
    let until = fleet.now() + 12 * SECOND;
    let mut is_over = false;
    while !is_over && fleet.now() < until {
        if let Ok(count) = process.write(socket, &text[sent..]) {
            sent += count;
        }
        let mut into = [0; 4096];
        match process.read(socket, &mut into) {
            Ok(0) => is_over = true,
            Ok(count) => received.extend_from_slice(&into[..count]),
            Err(error) => {
                use std::io::ErrorKind::{NotConnected, WouldBlock};
                is_over = ![NotConnected, WouldBlock].contains(&error.kind());
            }
        }
        fleet.run_for(MILLI / 2);
    }
    let received = String::from_utf8_lossy(&received).into_owned();
    // With all connections in use, that is the reason.
    if !received.contains("\"errorcode\":4") && !received.contains("\"errorcode\":6") {
        return fleet.broken(
            7,
            format!("a peer over the limit did not receive the reason: {received}"),
        );
    }
    // A peer that keeps its side open does not keep the connection.
    fleet.run_for(3 * SECOND);
    let is_kept = fleet.distributor.as_ref().is_some_and(|distributor| {
        let mut links = fleet.world().links(distributor.id).into_iter();
        links.any(|link| link.remote.ip() == addr.ip())
    });
    if is_kept {
        fleet.broken(
            8,
            "a connection that was closed is kept by a peer that does not close it",
        );
    }
}

/// Kills all peers: nothing is left of them.
fn unload(fleet: &mut Fleet) {
    fleet.log("all peers leave");
    for id in 0..fleet.actors.len() {
        if !matches!(fleet.actors[id].running, Running::Not) {
            fleet.kill(id);
        }
    }
    fleet.run_for(40 * SECOND);
    let world = fleet.world().clone();
    let Some(distributor) = &mut fleet.distributor else {
        return;
    };
    let id = distributor.id;
    let net = distributor.reactor.net();
    let (connections, timers) = (net.connections(), net.timers());
    let entries = distributor.distributor.registry().len();
    let sockets = world.sockets(id);
    if connections > 0 || timers > 3 || entries > 0 || sockets > 1 {
        let what = format!(
            "all peers have left, and there are {connections} connections, {timers} timers, \
             {entries} entries, {sockets} sockets"
        );
        fleet.broken(8, what);
    }
}
