//! Tests of the roster.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn raw(port: u16, name: &str, urls: &[&str]) -> Box<RawValue> {
    let entry = serde_json::json!({"port": port, "name": name, "urls": urls, "host": "10.0.0.1"});
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
    assert_eq!(
        roster.members().next().unwrap().addr,
        "10.0.0.1:1".parse().ok()
    );
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
            let ports = |members: Members<'_>| -> Vec<Option<u16>> {
                members.map(|member| member.node.port).collect()
            };
            let mut naive = path;
            let expected = loop {
                let found = ports(roster.serving(&Route::new(method, naive)));
                if !found.is_empty() || naive == "/" {
                    break found;
                }
                naive = match naive.rfind('/') {
                    None => break vec![],
                    Some(0) => "/",
                    Some(at) => &naive[..at],
                };
            };
            let found = ports(roster.serving_prefix(&Route::new(method, path)));
            assert_eq!(found, expected, "{method}{path}");
        }
    }
    let long = "/".repeat(1 << 20);
    assert_eq!(roster.serving_prefix(&Route::post(&long)).count(), 1);
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

/// The list as the protocol describes it, searched from its beginning for each question.
#[derive(Debug, Default)]
struct Model {
    members: Vec<(Option<u64>, String, bool)>,
}

impl Model {
    fn apply_list(&mut self, entries: &[Box<RawValue>], ids: &[u64], merges: bool) {
        let mut rest = std::mem::take(&mut self.members);
        for (index, entry) in entries.iter().enumerate() {
            let entry = entry.get().to_owned();
            if let Some(known) = rest.iter().position(|(_, other, _)| *other == entry) {
                rest.remove(known);
            }
            self.members.push((ids.get(index).copied(), entry, false));
        }
        if merges {
            rest.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
            let before = rest.into_iter().map(|(_, entry, _)| (None, entry, true));
            self.members.extend(before);
        }
    }

    fn apply_delta(&mut self, joined: &[Box<RawValue>], ids: &[u64], left: &[Left]) {
        for gone in left {
            self.members.retain(|(id, ..)| *id != Some(gone.id));
        }
        for (entry, new) in joined.iter().zip(ids) {
            let entry = entry.get().to_owned();
            if let Some(known) = self.members.iter_mut().find(|(id, ..)| *id == Some(*new)) {
                known.1 = entry;
                continue;
            }
            let is_it = |(_, other, is_before): &(_, String, bool)| *is_before && *other == entry;
            if let Some(before) = self.members.iter().position(is_it) {
                self.members.remove(before);
            }
            let is_later = |(id, ..): &(Option<u64>, _, _)| id.is_none_or(|id| id > *new);
            let place = self.members.iter().position(is_later);
            let place = place.unwrap_or(self.members.len());
            self.members.insert(place, (Some(*new), entry, false));
        }
    }
}

/// Returns an entry of one of few names, routes and addresses, so that members share them.
fn some_entry(kind: u8) -> Box<RawValue> {
    let urls = [
        "GET/a",
        "GET/a/b",
        "POST/a",
        "GET/a",
        "no path",
        "GET/a/b/c",
    ];
    let urls: Vec<&str> = urls.iter().skip(kind.into()).step_by(2).copied().collect();
    raw(
        u16::from(kind % 3) + 1,
        &format!("name {}", kind % 2),
        &urls,
    )
}

fn check(roster: &Roster, model: &Model) {
    let seen: Vec<(Option<u64>, &str, bool)> = roster
        .members()
        .map(|member| (member.id, &*member.entry, member.is_from_before))
        .collect();
    let expected: Vec<(Option<u64>, &str, bool)> = model
        .members
        .iter()
        .map(|(id, entry, is_before)| (*id, entry.as_str(), *is_before))
        .collect();
    assert_eq!(seen, expected);
    let those = |is_one: &dyn Fn(&&Member) -> bool| -> Vec<u64> {
        let members = roster.members().filter(is_one);
        members.map(|member| member.number).collect()
    };
    let found = |members: Members<'_>| -> Vec<u64> {
        for (place, member) in members.iter().enumerate() {
            assert_eq!(members.at(place).unwrap().number, member.number);
        }
        members.map(|member| member.number).collect()
    };
    for name in ["name 0", "name 1", "other"] {
        let expected = those(&|member| member.node.name == name);
        assert_eq!(found(roster.named(name)), expected);
    }
    for url in ["GET/a", "GET/a/b", "POST/a", "GET/a/b/c", "PUT/a"] {
        let expected = those(&|member| member.node.urls.iter().any(|own| own == url));
        assert_eq!(found(roster.serving(&Route::parse(url))), expected);
    }
    let routes = roster.members().flat_map(routes_of);
    let slashes = routes.map(|route| route.slashes()).max();
    assert_eq!(roster.slashes.most(), slashes.unwrap_or(0));
    for url in [
        "GET/a/b/x",
        "GET/a/b/c/d",
        "GET/a/bc",
        "GET/ab",
        "POST/a/b/c",
        "PUT/a",
    ] {
        let is_listed =
            |path: &str| those(&|member| member.node.urls.iter().any(|own| own == path));
        let mut prefix = url;
        let expected = loop {
            let found = is_listed(prefix);
            match prefix.rfind('/') {
                Some(at) if found.is_empty() => prefix = &prefix[..at],
                _ => break found,
            }
        };
        assert_eq!(found(roster.serving_prefix(&Route::parse(url))), expected);
    }
    for id in 0..=roster
        .members()
        .filter_map(|member| member.id)
        .max()
        .unwrap_or(0)
        + 1
    {
        let place = roster.place_of_id(id);
        let number = place.map(|place| roster.members[place].number);
        let expected = those(&|member| member.id == Some(id));
        assert_eq!(number.into_iter().collect::<Vec<u64>>(), expected);
    }
    for port in 1..=3 {
        let addr = SocketAddr::from(([10, 0, 0, 1], port));
        let here = roster.members().filter(|member| member.addr == Some(addr));
        let ids: BTreeSet<u64> = here.clone().filter_map(|member| member.id).collect();
        let expected = (here.clone().count() > 0).then(|| Listing {
            ids: ids.first().copied().zip(ids.last().copied()),
            is_plain: here.clone().any(|member| member.is_plain),
        });
        assert_eq!(roster.listing(addr), expected);
    }
}

/// Compares all lookups with those of a roster to which the same members were only added.
fn check_rebuilt(roster: &Roster) {
    let mut rebuilt = Roster::default();
    roster
        .members()
        .for_each(|member| rebuilt.add(member.clone()));
    let list = |members: Members<'_>| -> Vec<(Option<u64>, String)> {
        members
            .map(|member| (member.id, member.entry.to_string()))
            .collect()
    };
    let lookups = |roster: &Roster| {
        let mut lists = vec![list(roster.members())];
        for member in roster.members() {
            lists.push(list(roster.named(&member.node.name)));
            for route in routes_of(member) {
                lists.push(list(roster.serving(&route)));
                let longer = format!("{}/x/y", route.path);
                let longer = Route::new(&*route.method, longer.as_str());
                lists.push(list(roster.serving_prefix(&longer)));
            }
        }
        lists
    };
    assert_eq!(lookups(roster), lookups(&rebuilt));
    for member in roster.members() {
        let addr = member.addr.unwrap();
        assert_eq!(roster.listing(addr), rebuilt.listing(addr));
        let is_found = |roster: &Roster| {
            let place = member.id.and_then(|id| roster.place_of_id(id));
            place.map(|place| roster.members[place].entry.clone())
        };
        assert_eq!(is_found(roster), is_found(&rebuilt));
    }
    // No index keeps a member that has left.
    let sizes = |roster: &Roster| {
        [
            roster.members.len(),
            roster.lists.len(),
            roster.by_name.len(),
            roster.by_route.len(),
            roster.by_addr.len(),
            roster.plain_by_addr.len(),
            roster.from_before.len(),
            roster.slashes.most(),
        ]
    };
    assert_eq!(sizes(roster), sizes(&rebuilt));
}

proptest! {
    #[test]
    fn agrees_with_a_list_that_is_searched(
        steps in prop::collection::vec((0..8u8, prop::collection::vec((0..6u8, any::<bool>()), 0..6)), 1..30),
    ) {
        let (mut roster, mut model) = (Roster::default(), Model::default());
        let mut next_id = 0;
        for (step, entries) in steps {
            let texts: Vec<Box<RawValue>> = entries.iter().map(|(kind, _)| some_entry(*kind)).collect();
            let raws: Vec<&RawValue> = texts.iter().map(AsRef::as_ref).collect();
            let new = |known: &[u64], next_id: &mut u64| -> Vec<u64> {
                let pick = |index: usize| known.get(index * 7 % known.len().max(1)).copied();
                let ids = entries.iter().enumerate();
                ids.map(|(index, (_, is_new))| match pick(index) {
                    Some(known) if !is_new => known,
                    _ => { *next_id += 1; *next_id }
                }).collect()
            };
            let known: Vec<u64> = model.members.iter().filter_map(|(id, ..)| *id).collect();
            match step {
                0 => {
                    let ids: Vec<u64> = new(&[], &mut next_id);
                    let merges = entries.len() % 2 == 0;
                    let mut session = session(&ids);
                    session.plain = ids.iter().copied().filter(|id| id % 3 == 0).collect();
                    roster.apply_list(&raws, Some(&session), merges, Time::ZERO);
                    model.apply_list(&texts, &ids, merges);
                }
                1 => {
                    let merges = entries.len() % 2 == 0;
                    roster.apply_list(&raws, None, merges, Time::ZERO);
                    model.apply_list(&texts, &[], merges);
                }
                _ => {
                    let left: Vec<Left> = known.iter().step_by(3).map(|id| Left { id: *id }).collect();
                    let left = if step < 4 { left } else { Vec::new() };
                    let ids = new(&known, &mut next_id);
                    let mut session = session(&ids);
                    session.plain = ids.iter().copied().filter(|id| id % 3 == 0).collect();
                    session.plain.sort_unstable();
                    roster.apply_delta(&raws, &session, &left, Time::ZERO);
                    model.apply_delta(&texts, &ids, &left);
                }
            }
            check(&roster, &model);
            check_rebuilt(&roster);
        }
    }
}
