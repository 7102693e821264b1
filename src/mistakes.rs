//! Mistakes that this code could make, and that the simulation must find: a museum of known bugs.
//!
//! Each is one condition where it would be made. Without the feature `sim` none can be, and nothing of
//! them is compiled.

macro_rules! mistakes {
    ($($(#[$words:meta])* $name:ident,)*) => {
        /// A mistake that a mio server, or a registry on one, is easily made with.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Mistake {
            $($(#[$words])* $name,)*
        }

        #[cfg(feature = "sim")]
        impl Mistake {
            /// All of them.
            pub const ALL: &[Mistake] = &[$(Mistake::$name,)*];
        }
    };
}

mistakes! {
    /// The budget ends before a socket is drained, and nobody goes on with it.
    ReadyListForgotten,
    /// Accepting fails for want of fds, and the next event is waited for.
    AcceptNotRetried,
    /// A connection is closed while input is unread: what was said last is destroyed.
    CloseWithoutLinger,
    /// An id reaches whoever has the slot now.
    GenerationUnchecked,
    /// An event on a socket that connects is taken for its success.
    WritableTakenForConnected,
    /// A connection that is said to be closed is given up unread.
    ClosedFlagBelieved,
    /// A signal ends the loop.
    InterruptedPollEnds,
    /// Deadlines pass before what came in time is read.
    TimersBeforeReading,
    /// What a short write left is taken for written.
    ShortWriteForgotten,
    /// The event that there is room again is not acted on.
    RoomForgotten,
    /// The next block is begun where the last one ended.
    SentOffsetKept,
    /// The end of a frame stands inside one.
    EndEscapedNowhere,
    /// An end of a frame that is cut between two reads is not found.
    HalfEndSkipped,
    /// A frame may have any length.
    FrameLimitUnchecked,
    /// Who takes nothing is never cut.
    WriteTimeoutUnchecked,
    /// Who does not close its side of a closed connection keeps it.
    LingerWithoutEnd,
    /// Only an orderly end takes an entry out.
    EntryOutlivesReset,
    /// The end of an old connection removes the entry that was taken over.
    OldCloseRemovesEntry,
    /// An entry can be taken over from another host.
    InstanceOfAnyHost,
    /// A stopped process that has a session stays.
    SilenceUnchecked,
    /// Who was behind is not told what it missed.
    DrainedForgotten,
    /// Each change is queued for those who have not taken the last.
    ListsPileUp,
    /// A change leads from the revision before, not from what was sent.
    DeltaFromWrongBase,
    /// An entry is replaced and the revision stays.
    RevisionNotRaised,
    /// A Distributor that has just started says that it knows everybody.
    CompleteAtOnce,
    /// A drain is answered before all know.
    DrainAnsweredEarly,
    /// A heartbeat is not answered.
    HeartbeatUnanswered,
    /// A node takes a list that is not complete for all there is.
    IncompleteListReplaces,
    /// A call that ends by itself is told twice.
    OutcomeToldTwice,
    /// A call that was written goes to another node.
    WrittenCallMoved,
    /// Whoever knows a call's key may answer it.
    AnyPeerMayAnswer,
    /// A call waits for its answer for ever.
    DeadlineForgotten,
    /// The timer of a call stays when it has ended.
    DeadlineLeftArmed,
    /// The entries of the last run are not waited for.
    OrphansForgotten,
    /// Those of the last run have half of the time to come back.
    AbsentTooEarly,
    /// Those of the last run who are not back stay.
    AbsentNever,
    /// An orphan that was claimed can be claimed again.
    OrphanClaimedTwice,
    /// The first that is the same gets the entry that another instance is to come back for.
    InstanceIgnoredByClaim,
    /// A change that comes soon after the last is not kept.
    ChangeNotKept,
    /// What a planned stop keeps is what is left when all have been sent away.
    StopEmptiesState,
    /// A file takes its name before its bytes are on the disk.
    RenamedBeforeSync,
    /// A name is said to outlast a crash, and was not synced.
    FolderNotSynced,
    /// A file is taken as it is, torn or not.
    TornStateTaken,
    /// The order of a hash map is seen outside.
    HashOrderDecides,
}

#[cfg(feature = "sim")]
mod made {
    use std::cell::Cell;

    use super::Mistake;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// Has this thread make `mistake` from now on, or none.
    pub fn make(mistake: Option<Mistake>) {
        MADE.set(mistake);
    }

    #[inline]
    pub(crate) fn is_made(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }
}

#[cfg(feature = "sim")]
pub(crate) use made::is_made;
#[cfg(feature = "sim")]
pub use made::make;

/// No mistake is made on purpose.
#[cfg(not(feature = "sim"))]
#[inline]
pub(crate) const fn is_made(_: Mistake) -> bool {
    false
}
