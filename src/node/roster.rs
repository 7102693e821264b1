//! The view of all live nodes and their routes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::value::RawValue;

use crate::protocol::{Left, ListedNode, Route, Update, UpdateSession};
use crate::time::Time;

/// One node of the view.
#[derive(Clone, Debug)]
pub struct Member {
    /// Entry as the Distributor sent it.
    pub entry: Box<str>,
    /// Parsed fields of the entry.
    pub node: ListedNode,
    /// Address, if the host is an IP address and the port valid. Nodes whose host is a name are
    /// listed here, but not called.
    pub addr: Option<SocketAddr>,
    /// The node is from an earlier view, and not confirmed since the Distributor lost that view.
    pub is_from_before: bool,
    /// The node registered without a session. With a Distributor without sessions, all nodes did.
    pub is_plain: bool,
    pub(super) id: Option<u64>,
}

impl Member {
    fn new(entry: &str, id: Option<u64>, is_plain: bool) -> Member {
        let raw = RawValue::from_string(entry.to_owned());
        let node = raw.map_or_else(|_| ListedNode::default(), |raw| ListedNode::parse(&raw));
        let host: Option<IpAddr> = node.host.parse().ok();
        Member {
            entry: entry.into(),
            // A plain Distributor lists IPv4 addresses mapped into IPv6.
            addr: host
                .map(|host| host.to_canonical())
                .zip(node.port)
                .map(SocketAddr::from),
            node,
            is_from_before: false,
            is_plain,
            id,
        }
    }

    fn listed(self, id: Option<u64>, is_plain: bool) -> Member {
        Member {
            id,
            is_plain,
            is_from_before: false,
            ..self
        }
    }
}

/// Changes of the view by an update.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) joined: Vec<Member>,
    pub(super) left: Vec<Member>,
}

type Places = HashMap<Box<str>, Vec<usize>>;

/// All live nodes as this node knows them. Lookups do not allocate.
#[derive(Debug, Default)]
pub struct Roster {
    members: Vec<Member>,
    by_name: Places,
    /// Places by method, of which there are few, and then by path.
    by_route: Vec<(Box<str>, Places)>,
    /// Maximum number of slashes in a listed path.
    most_slashes: usize,
    updated_at: Option<Time>,
    is_complete: bool,
    /// Epoch of the last update with a session; empty if there was none.
    epoch: String,
    rev: u64,
}

impl Roster {
    /// Returns all nodes, in the order of the list.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the time at which the last list or change was received; `None` before the first.
    /// Compare it with [`Net::now`](crate::reactor::Net::now).
    pub fn updated_at(&self) -> Option<Time> {
        self.updated_at
    }

    /// Returns whether the view has all nodes that the Distributor knows. `false` while the
    /// Distributor has just started and its nodes are still reconnecting.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the nodes with this name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Member> {
        self.at(self.by_name.get(name).map_or(&[], Vec::as_slice))
    }

    /// Returns the nodes that list exactly this route.
    pub fn serving<'r>(&'r self, route: &Route<'_>) -> impl Iterator<Item = &'r Member> + use<'r> {
        self.at(self.places_serving(route))
    }

    /// Returns the nodes that list the longest listed prefix of this route. Only whole segments
    /// count: `/goods` is a prefix of `/goods/17`, not of `/goodsbye`.
    pub fn serving_prefix<'r>(
        &'r self,
        route: &Route<'_>,
    ) -> impl Iterator<Item = &'r Member> + use<'r> {
        self.at(self.places_serving_prefix(route))
    }

    fn places_serving(&self, route: &Route<'_>) -> &[usize] {
        let mut methods = self.by_route.iter();
        methods
            .find(|(method, _)| **method == *route.method)
            .and_then(|(_, places)| places.get(&*route.path))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns the places of the nodes that list the longest prefix of a route.
    pub(super) fn places_serving_prefix(&self, route: &Route<'_>) -> &[usize] {
        // No node lists more slashes: a client that sends many causes no further lookups.
        let prefixes = route.prefixes(self.most_slashes);
        let mut places = prefixes.map(|prefix| self.places_serving(&prefix));
        places.find(|places| !places.is_empty()).unwrap_or_default()
    }

    fn at<'r>(&'r self, places: &'r [usize]) -> impl Iterator<Item = &'r Member> {
        places.iter().filter_map(|place| self.members.get(*place))
    }

    pub(super) fn rev(&self) -> u64 {
        self.rev
    }

    /// Returns the epoch and revision that a delta can start from.
    pub(super) fn position(&self) -> Option<(&str, u64)> {
        // A merged view may contain nodes that are gone: only a complete list removes them.
        let is_known = !self.epoch.is_empty() && self.is_complete;
        is_known.then_some((&*self.epoch, self.rev))
    }

    /// Begins a session. Its first list follows: no delta starts from another epoch, and
    /// acknowledging the old revision would acknowledge changes that were never applied.
    pub(super) fn begin_session(&mut self, epoch: &str) {
        if self.epoch != epoch {
            self.forget_position();
        }
    }

    pub(super) fn forget_position(&mut self) {
        self.epoch.clear();
        self.rev = 0;
    }

    /// Applies an update with a session. Returns the changes, and whether the epoch is new. `None`
    /// if it does not start from this position: the whole list is needed.
    pub(super) fn apply(
        &mut self,
        update: &Update<'_>,
        session: &UpdateSession<'_>,
        now: Time,
    ) -> Option<(Changes, bool)> {
        let is_new_epoch = self.epoch != session.epoch;
        let changes = match update {
            Update::List { entries, .. } => {
                let merges = session.complete == Some(false);
                self.apply_list(entries, Some(session), merges, now)
            }
            Update::Delta { joined, left, .. }
                if !is_new_epoch && session.from == Some(self.rev) =>
            {
                self.apply_delta(joined, session, left, now)
            }
            _ => return None,
        };
        if is_new_epoch {
            self.epoch.clear();
            self.epoch.push_str(&session.epoch);
        }
        self.rev = session.rev;
        Some((changes, is_new_epoch))
    }

    /// Applies a whole list; without a session it has no ids. With `merges`, nodes that are missing
    /// from it stay: of equal entries, as many as the view or the list has, whichever is more.
    pub(super) fn apply_list(
        &mut self,
        entries: &[&RawValue],
        session: Option<&UpdateSession<'_>>,
        merges: bool,
        now: Time,
    ) -> Changes {
        let mut old: HashMap<Box<str>, Vec<Member>> = HashMap::new();
        for member in self.members.drain(..) {
            old.entry(member.entry.clone()).or_default().push(member);
        }
        let mut changes = Changes::default();
        for (index, entry) in entries.iter().enumerate() {
            let id = session.and_then(|session| session.ids.get(index).copied());
            let is_plain = session.is_none_or(|session| session.is_plain(id));
            let known = old.get_mut(entry.get()).and_then(Vec::pop);
            let member = known.unwrap_or_else(|| {
                let member = Member::new(entry.get(), id, is_plain);
                changes.joined.push(member.clone());
                member
            });
            self.members.push(member.listed(id, is_plain));
        }
        let mut rest: Vec<Member> = old.into_values().flatten().collect();
        if merges {
            rest.sort_by(|a, b| a.entry.cmp(&b.entry));
            self.members.extend(rest.into_iter().map(|member| Member {
                id: None,
                is_from_before: true,
                ..member
            }));
        } else {
            changes.left = rest;
        }
        self.updated(now, !merges);
        changes
    }

    fn apply_delta(
        &mut self,
        joined: &[&RawValue],
        session: &UpdateSession<'_>,
        left: &[Left],
        now: Time,
    ) -> Changes {
        let mut changes = Changes::default();
        for gone in left {
            let mut members = self.members.iter();
            if let Some(place) = members.position(|member| member.id == Some(gone.id)) {
                changes.left.push(self.members.remove(place));
            }
        }
        for (entry, id) in joined.iter().zip(&session.ids) {
            let entry = entry.get();
            let is_plain = session.is_plain(Some(*id));
            let mut members = self.members.iter_mut();
            if let Some(known) = members.find(|member| member.id == Some(*id)) {
                known.is_plain = is_plain;
                if *known.entry != *entry {
                    let new = Member::new(entry, Some(*id), is_plain);
                    changes.joined.push(new.clone());
                    changes.left.push(std::mem::replace(known, new));
                }
                continue;
            }
            let is_it = |member: &Member| member.is_from_before && *member.entry == *entry;
            let member = match self.members.iter().position(is_it) {
                Some(place) => self.members.remove(place),
                None => {
                    let member = Member::new(entry, None, is_plain);
                    changes.joined.push(member.clone());
                    member
                }
            };
            let is_later = |other: &Member| other.id.is_none_or(|other| other > *id);
            let place = self.members.iter().position(is_later);
            let place = place.unwrap_or(self.members.len());
            (self.members).insert(place, member.listed(Some(*id), is_plain));
        }
        self.updated(now, self.is_complete);
        changes
    }

    fn updated(&mut self, now: Time, is_complete: bool) {
        self.updated_at = Some(now);
        self.is_complete = is_complete;
        self.by_name.clear();
        self.by_route.clear();
        self.most_slashes = 0;
        for (place, member) in self.members.iter().enumerate() {
            self.by_name
                .entry(member.node.name.as_str().into())
                .or_default()
                .push(place);
            for url in &member.node.urls {
                let route = Route::parse(url);
                if route.path.is_empty() {
                    continue;
                }
                self.most_slashes = self.most_slashes.max(route.slashes());
                let mut methods = self.by_route.iter();
                let of_method = match methods.position(|(method, _)| **method == *route.method) {
                    Some(index) => index,
                    None => {
                        self.by_route.push((route.method.into(), Places::new()));
                        self.by_route.len() - 1
                    }
                };
                if let Some((_, places)) = self.by_route.get_mut(of_method) {
                    let places = places.entry(route.path.into()).or_default();
                    if places.last() != Some(&place) {
                        places.push(place);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(port: u16, name: &str, urls: &[&str]) -> Box<RawValue> {
        let entry =
            serde_json::json!({"port": port, "name": name, "urls": urls, "host": "10.0.0.1"});
        RawValue::from_string(entry.to_string()).unwrap()
    }

    fn apply(
        roster: &mut Roster,
        entries: &[Box<RawValue>],
        ids: &[u64],
        merges: bool,
    ) -> (usize, usize) {
        let entries: Vec<&RawValue> = entries.iter().map(AsRef::as_ref).collect();
        let changes = roster.apply_list(&entries, Some(&session(ids)), merges, Time::ZERO);
        (changes.joined.len(), changes.left.len())
    }

    fn session(ids: &[u64]) -> UpdateSession<'static> {
        let mut session = UpdateSession::default();
        session.ids.extend_from_slice(ids);
        session
    }

    fn ports(roster: &Roster) -> Vec<u16> {
        roster
            .members()
            .iter()
            .filter_map(|member| member.node.port)
            .collect()
    }

    #[test]
    fn finds_nodes_by_name_by_route_and_by_the_longest_prefix() {
        let mut roster = Roster::default();
        let nodes = [
            raw(1, "goods", &["GET/goods", "POST/goods"]),
            raw(2, "goods", &["GET/goods"]),
            raw(3, "root", &["GET/"]),
            raw(4, "deep", &["GET/goods/old", "noslash"]),
        ];
        apply(&mut roster, &nodes, &[1, 2, 3, 4], false);
        let found = |members: Vec<&Member>| -> Vec<u16> {
            members
                .iter()
                .filter_map(|member| member.node.port)
                .collect()
        };
        assert_eq!(found(roster.named("goods").collect()), [1, 2]);
        assert_eq!(
            found(roster.serving(&Route::get("/goods")).collect()),
            [1, 2]
        );
        assert_eq!(found(roster.serving(&Route::post("/goods")).collect()), [1]);
        assert_eq!(
            found(roster.serving(&Route::get("/goods/17")).collect()),
            [0_u16; 0]
        );
        assert_eq!(
            found(roster.serving_prefix(&Route::get("/goods/17")).collect()),
            [1, 2]
        );
        assert_eq!(
            found(roster.serving_prefix(&Route::get("/goods/old/x")).collect()),
            [4]
        );
        assert_eq!(
            found(roster.serving_prefix(&Route::get("/goodsbye")).collect()),
            [3]
        );
        assert_eq!(
            found(
                roster
                    .serving_prefix(&Route::new("PUT", "/goods"))
                    .collect()
            ),
            [0_u16; 0]
        );
        assert_eq!(
            found(roster.serving_prefix(&Route::get("")).collect()),
            [0_u16; 0]
        );
        assert_eq!(roster.members()[0].addr, "10.0.0.1:1".parse().ok());
    }

    #[test]
    fn finds_the_longest_prefix_of_a_path_with_many_segments() {
        let mut roster = Roster::default();
        let entries = [
            raw(1, "a", &["GET/a/b", "GET/a", "POST/"]),
            raw(2, "b", &["GET/a//", "GET/x/y/z/"]),
        ];
        apply(&mut roster, &entries, &[1, 2], false);
        for method in ["GET", "POST", "PUT"] {
            for path in [
                "/",
                "/a",
                "/a/",
                "/a/b",
                "/a/b/",
                "/a/b/c/d/e/f",
                "/a//",
                "/a///b",
                "/ab/c",
                "/x/y/z",
                "/x/y/z/",
                "/x/y/z/w/v",
                "//",
                "/b/c/d/e",
                "a",
                "",
                "*",
            ] {
                let mut naive = path;
                let expected = loop {
                    let found = roster.places_serving(&Route::new(method, naive));
                    if !found.is_empty() || naive == "/" {
                        break found;
                    }
                    naive = match naive.rfind('/') {
                        None => break &[],
                        Some(0) => "/",
                        Some(at) => &naive[..at],
                    };
                };
                let found = roster.places_serving_prefix(&Route::new(method, path));
                assert_eq!(found, expected, "{method}{path}");
            }
        }
        let long = "/".repeat(1 << 20);
        assert_eq!(roster.places_serving_prefix(&Route::post(&long)), [0]);
    }

    #[test]
    fn reads_a_mapped_address_as_ipv4() {
        let member = Member::new(r#"{"port":"9","host":"::ffff:10.0.0.1"}"#, None, false);
        assert_eq!(member.addr, "10.0.0.1:9".parse().ok());
        assert_eq!(
            Member::new(r#"{"port":9,"host":"a.b"}"#, None, false).addr,
            None
        );
    }

    #[test]
    fn keeps_the_larger_count_of_each_entry_when_merging() {
        let mut roster = Roster::default();
        let twin = || raw(1, "twin", &[]);
        assert_eq!(
            apply(&mut roster, &[twin(), twin(), raw(2, "b", &[])], &[], false),
            (3, 0)
        );
        assert_eq!(
            apply(&mut roster, &[twin(), raw(3, "c", &[])], &[7, 8], true),
            (1, 0)
        );
        assert_eq!(ports(&roster), [1, 3, 2, 1]);
        assert!(!roster.is_complete());
        assert_eq!(
            roster
                .members()
                .iter()
                .filter(|member| member.is_from_before)
                .count(),
            2
        );
        // The first complete list decides about nodes that are only in the earlier view.
        assert_eq!(
            apply(&mut roster, &[twin(), raw(3, "c", &[])], &[7, 8], false),
            (0, 2)
        );
        assert_eq!(ports(&roster), [1, 3]);
        assert!(roster.is_complete());
    }

    #[test]
    fn replaces_entries_in_place_with_a_delta() {
        let mut roster = Roster::default();
        apply(
            &mut roster,
            &[raw(1, "a", &[]), raw(2, "b", &[])],
            &[1, 2],
            false,
        );
        apply(&mut roster, &[raw(1, "a", &[])], &[5], true);
        let (b, a_anew) = (raw(2, "b", &[]), raw(11, "a", &[]));
        let changes = roster.apply_delta(&[&b, &a_anew], &session(&[6, 5]), &[], Time::ZERO);
        assert_eq!((changes.joined.len(), changes.left.len()), (1, 1));
        assert_eq!(ports(&roster), [11, 2]);
        assert!(roster.members().iter().all(|member| !member.is_from_before));
        let gone = [Left { id: 5 }, Left { id: 99 }];
        assert_eq!(
            roster
                .apply_delta(&[], &session(&[]), &gone, Time::ZERO)
                .left
                .len(),
            1
        );
        assert_eq!(ports(&roster), [2]);
        assert_eq!(roster.named("a").count(), 0);
    }
}
