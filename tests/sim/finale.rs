//! What must hold when all trouble is over: everybody knows the last list, quiet times are quiet, and
//! nothing is left of those who have left.

use std::rc::Rc;
use std::time::Duration;

use crate::fleet::{ActorKind, Fleet, Later, Running};
use crate::model::{ActorId, Model};
use crate::raw::Kind;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How long a healed fleet may take until everybody knows the last list: a connect that is given up,
/// the longest pause before another, the end of warming up, and a peer that is cut for not reading.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

/// All trouble ends; then everything must come to be as it should.
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
        5 => hear_why(fleet),
        6 => stop_one(fleet),
        7 => answer_late(fleet),
        _ => stand_still(fleet),
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

/// A Distributor that goes and comes back while all else is well takes nobody out of any view.
fn restart_unnoticed(fleet: &mut Fleet, is_planned: bool) {
    fleet.run_for(12 * SECOND);
    for node in fleet.nodes() {
        node.node.service().losses.clear();
    }
    // Plain peers are lost by a restart: they reconnect later than nodes do.
    let names = |fleet: &mut Fleet| -> Vec<String> {
        let nodes = fleet.nodes().filter(|node| !node.is_draining);
        nodes
            .map(|node| format!("\"name\":\"node {}\"", node.actor))
            .collect()
    };
    let names = names(fleet);
    // Where few can wait to be accepted some are not back when the warm-up ends.
    let peers = u32::try_from(fleet.actors.len()).expect("few actors");
    let is_spoiled = fleet.shared.model.borrow().shelf.is_spoiled;
    if fleet.keeps_state && !is_spoiled && fleet.limits.listen_backlog > peers {
        keep_all(fleet);
    }
    fleet.say("a restart in a quiet time");
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
        let losses = node.node.service().losses.iter();
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

/// From now on no list may lack any of those who come back by themselves, whoever is sent it.
fn keep_all(fleet: &mut Fleet) {
    let Some(id) = fleet.distributor.as_ref().map(|known| known.id) else {
        return;
    };
    let nodes = fleet.nodes().filter(|node| !node.is_draining);
    let mut back: Vec<ActorId> = nodes.map(|node| node.actor).collect();
    // Twins turn each other away.
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
        let text = entry.filter(|_| is_back);
        kept.extend(text.map(|entry| (id, Rc::clone(&entry.text))));
    }
}

/// In a quiet time every call to a node that is there comes back, and leaves nothing behind.
fn call_all(fleet: &mut Fleet) {
    fleet.run_for(10 * SECOND);
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
    // Longer than any answer is delayed, and a frame's deadline behind it: those ring for nothing.
    fleet.run_for(20 * SECOND);
    let calls = Rc::clone(&fleet.shared.calls);
    let mut wrong = None;
    for (node, before) in fleet.nodes().zip(before) {
        let timers = node.reactor.net().timers();
        let open = calls.borrow().open_of(node.actor);
        if open > 0 {
            wrong = Some((
                6,
                format!("{open} calls of node {} are not answered", node.actor),
            ));
        }
        // The link's, and those of connections that were opened for the calls.
        if open == 0 && timers > before + 4 {
            let what = format!("node {} had {before} timers and has {timers}", node.actor);
            wrong = Some((8, what));
        }
    }
    if let Some((promise, what)) = wrong {
        fleet.broken(promise, what);
    }
}

/// In a quiet time nobody comes or goes, and no connection is kept that nobody knows of.
fn rest(fleet: &mut Fleet) {
    let changes = |fleet: &mut Fleet| -> Vec<usize> {
        let nodes = fleet.nodes();
        nodes.map(|node| node.node.service().link_changes).collect()
    };
    fleet.run_for(14 * SECOND);
    let before = changes(fleet);
    // Some come back every three seconds, and what was said to them is on its way for a moment.
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

/// Who is told that everybody knows that it has left is in nobody's view.
fn drain_one(fleet: &mut Fleet) {
    fleet.run_for(12 * SECOND);
    let Some(id) = fleet
        .nodes()
        .find(|node| !node.is_draining)
        .map(|node| node.actor)
    else {
        return;
    };
    // Some take their time.
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
        node.node.service().drained = None;
        let net = node.reactor.net();
        node.node.context(net).drain(3 * SECOND);
    }
    let own = format!("\"name\":\"node {id}\"");
    for _ in 0..300 {
        fleet.run_for(10 * MILLI);
        let mut nodes = fleet.nodes();
        let drained = nodes.find_map(|node| match node.actor == id {
            true => node.node.service().drained,
            false => None,
        });
        drop(nodes);
        let mut who_sees = None;
        // Who has left before is told no more.
        for node in fleet.nodes().filter(|node| !node.is_draining) {
            if node.view().iter().any(|entry| entry.contains(&own)) {
                who_sees = Some(node.actor);
            }
        }
        if let (Some(true), Some(who)) = (drained, who_sees) {
            let what = format!("node {id} was told that all know it left; node {who} does not");
            return fleet.broken(2, what);
        }
        if drained.is_some() {
            return;
        }
    }
}

/// A process that stands still, and has a session, is taken for gone: its kernel answers for it.
fn stop_one(fleet: &mut Fleet) {
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
    fleet.say(&format!("node {actor} goes on"));
    settle(fleet);
}

/// A Distributor that is stopped for a while reads what came meanwhile before it disconnects a peer
/// for its silence.
fn stand_still(fleet: &mut Fleet) {
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
    fleet.say("the Distributor goes on");
    settle(fleet);
}

/// An answer that comes late goes to who asked, or to nobody: not to who is in its place now.
fn answer_late(fleet: &mut Fleet) {
    let ids: Vec<_> = fleet
        .nodes()
        .filter(|node| !node.is_draining)
        .map(|node| node.actor)
        .collect();
    let [asked, asking @ ..] = &ids[..] else {
        return;
    };
    for node in fleet.nodes().filter(|node| node.actor == *asked) {
        node.node.service().delays_one_in = 1;
    }
    for _ in 0..2 {
        for id in asking {
            for node in fleet.nodes().filter(|node| node.actor == *id) {
                node.call(Some(*asked), 5 * SECOND, false);
            }
        }
        fleet.run_for(SECOND / 4);
        for id in asking {
            fleet.kill(*id);
        }
        fleet.run_for(SECOND / 4);
        for id in asking {
            fleet.start(*id);
        }
        fleet.run_for(SECOND);
    }
    settle(fleet);
}

/// Who is closed for what it sends can read why, though it sends on.
fn hear_why(fleet: &mut Fleet) {
    let addr: std::net::SocketAddr = ([10, 0, 0, 250], 0).into();
    let host = fleet.world().add_host(addr.ip());
    let mut stranger = fleet.world().start(host);
    // Longer than a frame may be, by less than what is still read of it.
    let text = vec![b'x'; fleet.limits.max_frame_bytes + 700];
    // So near that what is still read of it has the time to come.
    fleet.world().change_faults(|faults, _| {
        (faults.latency, faults.jitter) = (MILLI / 10, MILLI / 10);
    });
    let Ok(socket) = stranger.connect(fleet.addr) else {
        return;
    };
    fleet.run_for(SECOND);
    let (mut sent, mut heard) = (0, Vec::new());
    let until = fleet.now() + 12 * SECOND;
    let mut is_over = false;
    while !is_over && fleet.now() < until {
        if let Ok(count) = stranger.write(socket, &text[sent..]) {
            sent += count;
        }
        let mut into = [0; 4096];
        match stranger.read(socket, &mut into) {
            Ok(0) => is_over = true,
            Ok(count) => heard.extend_from_slice(&into[..count]),
            Err(error) => {
                use std::io::ErrorKind::{NotConnected, WouldBlock};
                is_over = ![NotConnected, WouldBlock].contains(&error.kind());
            }
        }
        fleet.run_for(MILLI / 2);
    }
    let heard = String::from_utf8_lossy(&heard).into_owned();
    // Where connections are full it hears that instead.
    if !heard.contains("\"errorcode\":4") && !heard.contains("\"errorcode\":6") {
        return fleet.broken(7, format!("who sent too much was not told so: {heard}"));
    }
    // It keeps its side open, and that is no reason to keep the other.
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

/// When all peers are gone, nothing is left of them.
fn unload(fleet: &mut Fleet) {
    fleet.say("everybody leaves");
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
            "all are gone, and there are {connections} connections, {timers} timers, \
             {entries} entries, {sockets} sockets"
        );
        fleet.broken(8, what);
    }
}
