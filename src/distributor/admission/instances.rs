//! Which running node holds which entry, so that a node that reconnects finds its own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::token_mark::TokenMark;
use crate::reactor::ConnId;
use crate::registry::EntryId;
use crate::time::Time;

/// The nodes with an entry that named an instance.
#[derive(Debug, Default)]
pub(crate) struct Instances(HashMap<Box<str>, Holder>);

#[derive(Clone, Debug)]
struct Holder {
    conn: ConnId,
    entry: EntryId,
    host: IpAddr,
    token: Option<TokenMark>,
    window_began_at: Time,
    take_overs: u32,
}

/// What becomes of a registration that names an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// No other connection holds it.
    Free,
    /// This connection holds it, and the claimant may take it over.
    Held { by: ConnId, entry: EntryId },
    /// It is held from another host, or with another token.
    NotAllowed,
    /// It went from one connection to another too often: two nodes have the same instance.
    TooOften,
}

const WINDOW: Duration = Duration::from_secs(60);
const MAX_TAKE_OVERS_PER_WINDOW: u32 = 3;

impl Instances {
    /// A connection claims the entry of `instance`. It has it when it says so by
    /// [`hold`](Instances::hold).
    pub(crate) fn claim(
        &mut self,
        instance: &str,
        conn: ConnId,
        host: IpAddr,
        token: Option<TokenMark>,
        now: Time,
    ) -> Claim {
        let holder = self.0.get_mut(instance);
        let Some(holder) = holder.filter(|holder| holder.conn != conn) else {
            return Claim::Free;
        };
        let is_elsewhere = holder.host != host;
        if is_elsewhere || holder.token != token {
            return Claim::NotAllowed;
        }
        if now.saturating_since(holder.window_began_at) >= WINDOW {
            holder.window_began_at = now;
            holder.take_overs = 0;
        }
        if holder.take_overs >= MAX_TAKE_OVERS_PER_WINDOW {
            return Claim::TooOften;
        }
        holder.take_overs += 1;
        Claim::Held {
            by: holder.conn,
            entry: holder.entry,
        }
    }

    /// The entry of `conn` is that of `instance` from now on.
    pub(crate) fn hold(
        &mut self,
        instance: &str,
        conn: ConnId,
        entry: EntryId,
        host: IpAddr,
        token: Option<TokenMark>,
        now: Time,
    ) {
        let (window_began_at, take_overs) = match self.0.get(instance) {
            Some(holder) => (holder.window_began_at, holder.take_overs),
            None => (now, 0),
        };
        let holder = Holder {
            conn,
            entry,
            host,
            token,
            window_began_at,
            take_overs,
        };
        self.0.insert(instance.into(), holder);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `conn` is gone, or has no entry any more.
    pub(crate) fn release(&mut self, instance: &str, conn: ConnId) {
        if self
            .0
            .get(instance)
            .is_some_and(|holder| holder.conn == conn)
        {
            self.0.remove(instance);
        }
    }
}
