//! Promises about time: checked between the steps, and when all trouble has ended.

use std::time::Duration;

use pilcrow::node::LinkState;
use pilcrow::testing::sim::ProcessId;

use crate::fleet::{Fleet, Running};
use crate::subscriptions::matches;
use crate::views::is_called;

/// Maximum time that an entry outlives its host, with the interval of the checks.
const GONE: Duration = Duration::from_millis(21_500);
/// Maximum time that the entry of a stopped process with a session is listed.
const SILENT: Duration = Duration::from_millis(17_500);
/// Maximum time that a backlogged peer reads nothing.
const STUCK: Duration = Duration::from_millis(11_500);
/// Maximum delay with which a running node reports an outcome.
const LATE: Duration = Duration::from_millis(2_500);

impl Fleet {
    /// Checks everything that must hold now.
    pub fn check(&mut self) {
        if !self.is_broken() {
            self.check_connections();
            self.check_calls();
        }
    }

    fn check_connections(&mut self) {
        let now = self.now();
        let world = self.shared.world.clone();
        let mut model = self.shared.model.borrow_mut();
        let longest_list = model.longest_list_bytes;
        let Some(distributor) = &mut self.distributor else {
            return;
        };
        if self.paused.contains_key(&distributor.id)
            || self.dark.contains(&self.distributor_host)
            || distributor.is_stopping
        {
            return;
        }
        let undisturbed = now.saturating_since(distributor.undisturbed_since);
        let run = model.run_of(distributor.id);
        if run.waits_too_long(now + world.ahead(distributor.id), undisturbed) {
            let unclaimed: Vec<_> = run
                .unclaimed()
                .map(|entry| entry.text.to_string())
                .collect();
            return model.break_promise(3, format!("{unclaimed:?} are unclaimed and still listed"));
        }
        let paused: Vec<(ProcessId, _)> = self.paused.iter().map(|(id, at)| (*id, *at)).collect();
        let conns: Vec<_> = distributor.conns().collect();
        let net = distributor.reactor.net();
        let mut wrong = None;
        let held = Duration::from_secs(conns.len() as u64);
        for (conn, peer) in conns {
            let Some(facts) = world.facts(distributor.id, peer) else {
                continue;
            };
            let is_liar = model.is_liar(peer);
            let actor = model.actor_of.get(&peer).copied();
            let Some(known) = model.run_of(distributor.id).conns.get_mut(&peer) else {
                continue;
            };
            let is_cut = !facts.is_connected || !facts.has_far_end;
            known.cut_since = if is_cut {
                known.cut_since.or(Some(now))
            } else {
                None
            };
            let cut = known
                .cut_since
                .map_or(Duration::ZERO, |since| now.saturating_since(since));
            if known.has_entry() && cut.min(undisturbed) > GONE {
                wrong = Some((3, format!("{peer} is gone for {cut:?} and still listed")));
            }

            let paused_at = actor.and_then(|actor| match &self.actors[actor].running {
                Running::Node(node) => paused.iter().find(|(id, _)| *id == node.id),
                _ => None,
            });
            if let Some((_, at)) = paused_at
                && known.has_entry()
                && known.has_session
            {
                let local = now + world.ahead(distributor.id);
                let silent = now.saturating_since(*at);
                let silent = silent.min(local.saturating_since(known.last_frame_at));
                // Where many fall silent, one is removed per second.
                if silent.min(undisturbed) > SILENT + held {
                    wrong = Some((
                        3,
                        format!("{peer} is stopped for {silent:?} and still listed"),
                    ));
                }
            }

            let is_stuck = net.is_backlogged(conn);
            known.stuck_since = if is_stuck {
                known.stuck_since.or(Some(now))
            } else {
                None
            };
            if let Some(since) = known.stuck_since {
                let stuck = now.saturating_since(since.max(facts.wrote_at));
                if stuck.min(undisturbed) > STUCK {
                    wrong = Some((
                        4,
                        format!("{peer} reads nothing for {stuck:?} and is not closed"),
                    ));
                }
            }
            let pending = net.pending_bytes(conn);
            if !is_liar && pending > longest_list + 4096 {
                wrong = Some((
                    4,
                    format!("{pending} bytes wait for {peer}: more than a list"),
                ));
            }
        }
        if let Some((promise, what)) = wrong {
            model.break_promise(promise, what);
        }
    }

    fn check_calls(&mut self) {
        let now = self.now();
        let world = self.shared.world.clone();
        let (paused, dark) = (&self.paused, &self.dark);
        let calls = self.shared.calls.borrow();
        let mut wrong = None;
        for actor in &mut self.actors {
            let Running::Node(node) = &mut actor.running else {
                continue;
            };
            let (open, (_, in_flight)) = (calls.open_of(node.actor), node.in_progress());
            if in_flight > open {
                wrong = Some(format!(
                    "node {} has {in_flight} calls in flight, of which {open} are waited for",
                    node.actor
                ));
            }
            if paused.contains_key(&node.id) || dark.contains(&actor.host) {
                continue;
            }
            let undisturbed = now.saturating_since(node.undisturbed_since);
            let local = now + world.ahead(node.id);
            if undisturbed > LATE
                && let Some(nonce) = calls.overdue(node.actor, local, LATE)
            {
                wrong = Some(format!(
                    "node {} still waits for request {nonce}",
                    node.actor
                ));
            }
            if undisturbed > LATE
                && let Some(nonce) = calls.overdue_task(node.actor, local, LATE)
            {
                wrong = Some(format!(
                    "the task of node {} for request {nonce} has outlived its deadline",
                    node.actor
                ));
            }
        }
        drop(calls);
        if let Some(what) = wrong {
            self.broken(6, what);
        }
    }

    /// Returns what keeps the fleet from being settled: all peers connected, with the last list.
    pub fn unsettled(&mut self) -> Option<String> {
        let Some(distributor) = &self.distributor else {
            return Some("there is no Distributor".to_owned());
        };
        let id = distributor.id;
        let world = self.shared.world.clone();
        if world.waiting(id) > 0 {
            return Some("a connection is not accepted yet".to_owned());
        }
        let model = std::rc::Rc::clone(&self.shared.model);
        let mut model = model.borrow_mut();
        let kept = model.shelf.confirmed().cloned();
        let run = model.run_of(id);
        let list = run.list();
        if self.keeps_state && !kept.is_some_and(|kept| run.is_all_of(&kept)) {
            return Some("the last list is not on the disk".to_owned());
        }
        for node in self.nodes() {
            if node.is_draining {
                continue;
            }
            let link = node.state().link;
            if link != LinkState::Registered {
                return Some(format!("node {} is {link:?}", node.actor));
            }
            let own = format!("\"name\":\"node {}\"", node.actor);
            let count = list.iter().filter(|entry| entry.contains(&own)).count();
            if count != 1 {
                return Some(format!("node {} is listed {count} times", node.actor));
            }
            let view: Vec<_> = node.view().into_iter().map(std::rc::Rc::from).collect();
            let knows_last = if node.follows_calls() {
                run.is_last_matching(&view, is_called)
            } else {
                run.is_last(&view)
            };
            if !knows_last {
                return Some(format!(
                    "node {} sees {view:?} and not {list:?}",
                    node.actor
                ));
            }
        }
        for raw in self.raws().filter(|raw| raw.reads()) {
            let Some(local) = raw.local else {
                // Twins reject each other, and a plain peer does not notice a lost connection.
                continue;
            };
            let conn = model.run_of(id).conns.get(&local);
            let is_live = world
                .facts(id, local)
                .is_some_and(|facts| facts.has_far_end);
            if !is_live || !conn.is_some_and(|conn| conn.is_registered) {
                continue;
            }
            let view = model.views.get(&raw.actor);
            // A session that resumes may have been sent a plain list since.
            let seen = match raw.only {
                Some(_) => view.map(|view| view.session_list()),
                None => view.and_then(|view| view.list.clone()),
            };
            let run = model.run_of(id);
            let knows_last = seen.as_ref().is_some_and(|seen| {
                run.is_last_matching(seen, |text| matches(text, raw.only.as_deref()))
            });
            if !knows_last {
                let actor = raw.actor;
                return Some(format!("actor {actor} sees {seen:?} and not {list:?}"));
            }
        }
        None
    }
}
