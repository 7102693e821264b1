//! The mutants as data: each names one line of the sources and its replacement.

/// A known mistake that the simulation must find.
pub struct Mutant {
    pub name: &'static str,
    pub file: &'static str,
    /// A line without its indentation. Exactly one line of the file must equal it.
    pub find: &'static str,
    /// The line with the mistake. `MUTANT` is true while the mistake is on.
    pub replace: &'static str,
    /// The promise of `docs/internals/simulation.md` that it breaks.
    pub promise: u8,
}

/// All known mistakes, each below its effect.
#[rustfmt::skip]
pub const MUTANTS: &[Mutant] = &[
    // The read budget ends before the socket is drained, and the rest is never read.
    Mutant {
        name: "ReadyListDropped",
        file: "src/reactor/reading.rs",
        find: "&& (connection.readable || connection.frames_kept)",
        replace: "&& (connection.readable || connection.frames_kept) && !MUTANT",
        promise: 3,
    },
    // Accepting that failed for lack of file descriptors is not retried before the next event.
    Mutant {
        name: "AcceptNotRetried",
        file: "src/reactor/accepting.rs",
        find: "let goes_on = is_want_of_resources(&error) && self.shed(id);",
        replace: "if MUTANT { return; }
                  let goes_on = is_want_of_resources(&error) && self.shed(id);",
        promise: 2,
    },
    // A connection is closed while input is unread, which destroys the last bytes that were sent.
    Mutant {
        name: "CloseWithoutLinger",
        file: "src/reactor/closing.rs",
        find: "let linger = why != CloseReason::PeerClosed;",
        replace: "let linger = why != CloseReason::PeerClosed && !MUTANT;",
        promise: 7,
    },
    // A stale id reaches the connection that uses the slot now.
    Mutant {
        name: "GenerationUnchecked",
        file: "src/reactor/net.rs",
        find: "let found = connections.get_mut(id.slot())?;",
        replace: "let found = connections.get_mut(id.slot())?;
                  if MUTANT { return Some(found); }",
        promise: 6,
    },
    // Any event on a connecting socket counts as its success.
    Mutant {
        name: "WritableTakenAsConnected",
        file: "src/reactor/connecting.rs",
        find: "Ok(false) => return false,",
        replace: "Ok(false) if !MUTANT => return false,",
        promise: 6,
    },
    // A connection with a closed event is closed unread.
    Mutant {
        name: "ClosedEventTrusted",
        file: "src/reactor/turn.rs",
        find: "connection.closed_hint |= closed;",
        replace: "if closed && MUTANT {
                      net.begin_close(id, super::CloseReason::PeerClosed, super::Close::AfterFlush);
                      continue;
                  }
                  connection.closed_hint |= closed;",
        promise: 3,
    },
    // A signal ends the loop.
    Mutant {
        name: "InterruptedPollEndsLoop",
        file: "src/reactor/turn.rs",
        find: "Err(error) if error.kind() == io::ErrorKind::Interrupted => {",
        replace: "Err(error) if error.kind() == io::ErrorKind::Interrupted && !MUTANT => {",
        promise: 7,
    },
    // Deadlines pass before the bytes that came in time are read.
    Mutant {
        name: "TimersBeforeReading",
        file: "src/reactor/turn.rs",
        find: "self.take_events(handler);",
        replace: "if MUTANT { self.expire_timers(handler); }
                  self.take_events(handler);",
        promise: 3,
    },
    // The rest of a short write is not written.
    Mutant {
        name: "ShortWriteTakenAsWhole",
        file: "src/reactor/writing.rs",
        find: "connection.output.advance(written, &mut self.output_pool);",
        replace: "connection.output.advance(if MUTANT { offered } else { written }, &mut self.output_pool);",
        promise: 1,
    },
    // The event that a socket can be written to again is ignored.
    Mutant {
        name: "WritableEventIgnored",
        file: "src/reactor/turn.rs",
        find: "net.make_dirty(id);",
        replace: "if !MUTANT { net.make_dirty(id); }",
        promise: 4,
    },
    // The next block is begun at the offset where the last one ended.
    Mutant {
        name: "SentOffsetNotReset",
        file: "src/reactor/write_queue.rs",
        find: "self.sent = 0;",
        replace: "if !MUTANT { self.sent = 0; }",
        promise: 1,
    },
    // The bytes of a frame end are sent inside a frame.
    Mutant {
        name: "FrameEndNotEscaped",
        file: "src/reactor/write_queue.rs",
        find: "if find_end(bytes, start).is_none() {",
        replace: "if find_end(bytes, start).is_none() || MUTANT {",
        promise: 6,
    },
    // A frame end that is cut between two reads is not found.
    Mutant {
        name: "SplitFrameEndMissed",
        file: "src/reactor/framing.rs",
        find: "if ends_at_once {",
        replace: "if ends_at_once && !MUTANT {",
        promise: 1,
    },
    // A frame may have any length.
    Mutant {
        name: "FrameLimitUnchecked",
        file: "src/reactor/framing.rs",
        find: "self.skip_white_space(bytes);",
        replace: "let max_frame_bytes = if MUTANT { usize::MAX } else { max_frame_bytes };
                  self.skip_white_space(bytes);",
        promise: 7,
    },
    // A peer that reads nothing is never disconnected.
    Mutant {
        name: "WriteTimeoutUnchecked",
        file: "src/reactor/deadlines.rs",
        find: "let deadline = connection.write_progress_at + write_timeout;",
        replace: "if MUTANT { return; }
                  let deadline = connection.write_progress_at + write_timeout;",
        promise: 4,
    },
    // A peer that does not close its side keeps a closed connection open.
    Mutant {
        name: "LingerWithoutDeadline",
        file: "src/reactor/deadlines.rs",
        find: "State::Lingering { .. } => self.finish_close(id),",
        replace: "State::Lingering { .. } => if !MUTANT { self.finish_close(id) },",
        promise: 8,
    },
    // An entry outlives its connection unless that is closed in order.
    Mutant {
        name: "EntryOutlivesReset",
        file: "src/distributor/handler.rs",
        find: "let cause = liveness::cause(&self.config, peer.health, quiet, why);",
        replace: "if matches!(why, CloseReason::Failed(_)) && MUTANT { return; }
                  let cause = liveness::cause(&self.config, peer.health, quiet, why);",
        promise: 8,
    },
    // The end of an old connection removes the entry that was taken over.
    Mutant {
        name: "OldCloseRemovesEntry",
        file: "src/distributor/membership.rs",
        find: "old.entry = None;",
        replace: "if !MUTANT { old.entry = None; }",
        promise: 1,
    },
    // An entry can be taken over from another host.
    Mutant {
        name: "TakeOverFromAnyHost",
        file: "src/distributor/identities.rs",
        find: "if self.address == other.address && self.token == other.token {",
        replace: "if (self.address == other.address || MUTANT) && self.token == other.token {",
        promise: 3,
    },
    // The entry of a stopped process with a session stays.
    Mutant {
        name: "SilenceUnchecked",
        file: "src/distributor/liveness.rs",
        find: "quiet.is_some_and(|quiet| quiet >= config.silence)",
        replace: "quiet.is_some_and(|quiet| quiet >= config.silence && !MUTANT)",
        promise: 3,
    },
    // A drained connection is not sent what it missed.
    Mutant {
        name: "CatchUpOmitted",
        file: "src/distributor/handler.rs",
        find: "pushes.catch_up(cx, conn);",
        replace: "if !MUTANT { pushes.catch_up(cx, conn); }",
        promise: 2,
    },
    // Each change is queued for connections that have not read the last one.
    Mutant {
        name: "ListsQueuedForBacklogged",
        file: "src/distributor/pushes/mod.rs",
        find: "let is_backlogged = cx.net.is_backlogged(conn);",
        replace: "let is_backlogged = cx.net.is_backlogged(conn) && !MUTANT;",
        promise: 4,
    },
    // The update of another subscription is sent.
    Mutant {
        name: "FrameOfAnotherSubscription",
        file: "src/distributor/pushes/frames.rs",
        find: "self.matching_updates.get(&(id, from)).cloned()",
        replace: "let mut others = self.matching_updates.iter();
                  let other = others.find(|((_, other), _)| MUTANT && *other == from);
                  let other = other.map(|(_, made)| made);
                  other.or(self.matching_updates.get(&(id, from))).cloned()",
        promise: 1,
    },
    // A change of subscription forgets the changes that the session was not sent.
    Mutant {
        name: "ChangeForgottenBySubscription",
        file: "src/distributor/pushes/matching.rs",
        find: "Some((from, source.registry.update_since(from, old, new)?))",
        replace: "let begin = if MUTANT { revision } else { from };
                  Some((from, source.registry.update_since(begin, old, new)?))",
        promise: 1,
    },
    // Of several changes that wait, only the last is pushed.
    Mutant {
        name: "EarlierMatchForgotten",
        file: "src/distributor/subscriptions.rs",
        find: "shared.pending_since.get_or_insert(since);",
        replace: "if MUTANT { shared.pending_since = Some(since); }
                  shared.pending_since.get_or_insert(since);",
        promise: 1,
    },
    // A delta leads from the revision before the current one, not from the revision that was sent.
    Mutant {
        name: "DeltaFromWrongBase",
        file: "src/distributor/pushes/frames.rs",
        find: "match from.and_then(|from| self.delta(source, from)) {",
        replace: "let before = source.registry.revision().saturating_sub(1);
                  match from.map(|from| if MUTANT { before } else { from }).and_then(|from| self.delta(source, from)) {",
        promise: 1,
    },
    // An entry is replaced and the revision stays.
    Mutant {
        name: "RevisionNotRaised",
        file: "src/registry/mod.rs",
        find: "if let Some(kind) = kind {",
        replace: "if let Some(kind) = kind.filter(|_| !MUTANT) {",
        promise: 1,
    },
    // A Distributor that has just started reports its list as complete.
    Mutant {
        name: "CompleteDuringWarmUp",
        file: "src/distributor/warm_up.rs",
        find: "matches!(self, WarmUp::Over { .. })",
        replace: "matches!(self, WarmUp::Over { .. }) || MUTANT",
        promise: 5,
    },
    // A drain is answered before all sessions have acknowledged it.
    Mutant {
        name: "DrainAnsweredEarly",
        file: "src/distributor/drains.rs",
        find: "let is_over = |drain: &mut Drain| drain.unacknowledged.is_empty() || drain.ends_at <= now;",
        replace: "if MUTANT { self.pending.iter_mut().for_each(|drain| drain.unacknowledged.clear()); }
                  let is_over = |drain: &mut Drain| drain.unacknowledged.is_empty() || drain.ends_at <= now;",
        promise: 2,
    },
    // A heartbeat is not answered.
    Mutant {
        name: "HeartbeatUnanswered",
        file: "src/distributor/heartbeats.rs",
        find: "} else if let Some(key) = packet.key() {",
        replace: "} else if let Some(key) = packet.key() && !MUTANT {",
        promise: 3,
    },
    // A node treats an incomplete list as complete.
    Mutant {
        name: "IncompleteListReplaces",
        file: "src/node/roster.rs",
        find: "let merges = session.complete == Some(false);",
        replace: "let merges = session.complete == Some(false) && !MUTANT;",
        promise: 5,
    },
    // A failed call is reported twice.
    Mutant {
        name: "OutcomeReportedTwice",
        file: "src/node/caller.rs",
        find: "self.completed.push_back((call, error));",
        replace: "if MUTANT {
                      let waiter = crate::node::waiter::Waiter::Service;
                      self.completed.push_back((CompletedCall { waiter, ..call }, error.clone()));
                  }
                  self.completed.push_back((call, error));",
        promise: 6,
    },
    // A call that was written is moved to another node.
    Mutant {
        name: "WrittenCallMoved",
        file: "src/node/caller.rs",
        find: "let may_move = !was_written || call.is_idempotent;",
        replace: "let may_move = !was_written || call.is_idempotent || MUTANT;",
        promise: 6,
    },
    // Any peer that knows the key of a call may answer it.
    Mutant {
        name: "AnyPeerMayAnswer",
        file: "src/node/caller.rs",
        find: "attempt.is_some_and(|attempt| attempt.peer == place)",
        replace: "attempt.is_some_and(|attempt| attempt.peer == place || MUTANT)",
        promise: 6,
    },
    // A call waits for its reply without a deadline.
    Mutant {
        name: "CallDeadlineIgnored",
        file: "src/node/caller.rs",
        find: "self.fail(net, slot, CallError::Deadline);",
        replace: "if !MUTANT { self.fail(net, slot, CallError::Deadline); }",
        promise: 6,
    },
    // The call of a task that has ended goes on.
    Mutant {
        name: "CallOutlivesTask",
        file: "src/node/task_turn.rs",
        find: "Started::Call(id) => cancel_call(core, net, id),",
        replace: "Started::Call(id) => if !MUTANT { cancel_call(core, net, id) },",
        promise: 6,
    },
    // A task goes on after the deadline of its caller.
    Mutant {
        name: "TaskDeadlineIgnored",
        file: "src/node/task_turn.rs",
        find: "end(core, net, id, Some(&error));",
        replace: "if !MUTANT { end(core, net, id, Some(&error)); }",
        promise: 6,
    },
    // The timer of a call stays armed when the call has ended.
    Mutant {
        name: "CallTimerLeftArmed",
        file: "src/node/calls.rs",
        find: "net.disarm(call.timer);",
        replace: "if !MUTANT { net.disarm(call.timer); }",
        promise: 8,
    },
    // Entries of the last run are removed at once.
    Mutant {
        name: "UnclaimedEntriesRemoved",
        file: "src/distributor/mod.rs",
        find: "self.emit(net, None, Event::Restored(entries));",
        replace: "self.emit(net, None, Event::Restored(entries));
                  if MUTANT { self.end_warm_up(net); }",
        promise: 5,
    },
    // Nodes of the last run have half of the warm-up to reconnect.
    Mutant {
        name: "AbsentRemovedEarly",
        file: "src/distributor/mod.rs",
        find: "let entries = self.registry.len();",
        replace: "let entries = self.registry.len();
                  if MUTANT { let owner = self.claim_owner(net); self.warm_up.run_for(net, owner, self.config.warm_up / 2); }",
        promise: 5,
    },
    // Entries of the last run that are not claimed in time stay.
    Mutant {
        name: "AbsentNeverRemoved",
        file: "src/distributor/identities.rs",
        find: ".filter(|entry| self.unclaimed(*entry) == Some(Unclaimed::LastRun))",
        replace: ".filter(|entry| self.unclaimed(*entry) == Some(Unclaimed::LastRun) && !MUTANT)",
        promise: 5,
    },
    // An entry that was claimed can be claimed again.
    Mutant {
        name: "EntryClaimedTwice",
        file: "src/distributor/identities.rs",
        find: "let before = self.remove(entry);",
        replace: "let before = if MUTANT { None } else { self.remove(entry) };",
        promise: 3,
    },
    // A registration with equal text gets the entry that waits for another instance.
    Mutant {
        name: "InstanceIgnoredByClaim",
        file: "src/distributor/identities.rs",
        find: "let of_instance = instance.and_then(|instance| self.by_instance.get(instance));",
        replace: "let of_instance = instance.and_then(|instance| self.by_instance.get(instance))
                      .filter(|entry| !MUTANT || self.unclaimed(**entry).is_none());",
        promise: 1,
    },
    // A change that comes soon after the last one is not persisted.
    Mutant {
        name: "ChangeNotPersisted",
        file: "src/distributor/persistence/mod.rs",
        find: "if now < due_at {",
        replace: "if now < due_at { if MUTANT { self.is_changed = false; }",
        promise: 2,
    },
    // A planned stop persists the list without the nodes that it has disconnected.
    Mutant {
        name: "StopPersistsEmptyList",
        file: "src/distributor/mod.rs",
        find: "net.send_with(conn, |out| write_draining(out, after));",
        replace: "net.send_with(conn, |out| write_draining(out, after));
                  if MUTANT && let Some(id) = peer.entry.take() { self.registry.leave(id, crate::registry::Cause::Closed); }",
        promise: 5,
    },
    // A file is renamed before its bytes are synced.
    Mutant {
        name: "RenamedBeforeSync",
        file: "src/testing/sim/disk.rs",
        find: "content.is_synced = !content.is_lost;",
        replace: "content.is_synced = !content.is_lost && !MUTANT;",
        promise: 5,
    },
    // A rename is reported as persistent before its folder is synced.
    Mutant {
        name: "FolderNotSynced",
        file: "src/testing/sim/disk.rs",
        find: "files.sync_names();",
        replace: "if !MUTANT { files.sync_names(); }",
        promise: 5,
    },
    // A torn file is accepted.
    Mutant {
        name: "TornSnapshotAccepted",
        file: "src/distributor/persistence/snapshot.rs",
        find: "if !is_whole {",
        replace: "if !is_whole && !MUTANT {",
        promise: 5,
    },
    // The order of a hash map decides what a node sees.
    Mutant {
        name: "HashOrderVisible",
        file: "src/node/roster.rs",
        find: "rest.sort_by(|a, b| a.entry.cmp(&b.entry));",
        replace: "if MUTANT { rest.sort_by_key(|member| places.hash(&*member.entry)); } \
                  else { rest.sort_by(|a, b| a.entry.cmp(&b.entry)); }",
        promise: 9,
    },
];
