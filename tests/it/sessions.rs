//! Sessions: what they receive beyond plain peers, and that plain peers do not notice them.

mod subscriptions;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use pilcrow_test_client::{Message, View, heartbeat, list_request, registration, session};

use crate::support::{Client, DEADLINE, Distributor, wait_until};

/// Starts a Distributor whose warm-up is over.
fn start(flags: &[&str]) -> Distributor {
    let mut flags = [flags, &["--warm-up", "1ms"]].concat();
    if !flags.contains(&"--silence-timeout") {
        // On a slow machine, no session becomes silent by accident.
        flags.extend(["--silence-timeout", "10m"]);
    }
    let distributor = Distributor::start(&flags);
    // Without a port it is not listed, and it watches nothing.
    let mut probe = Node::connect(&distributor);
    probe.register(json!({"name": "probe"}), json!({"watch": "none"}));
    wait_until("a complete list", || {
        probe.request("GET", Value::Null)["session"]["complete"] == true
    });
    distributor
}

fn params(name: &str) -> Value {
    json!({"port": 9010, "name": name, "urls": [format!("GET/{name}")]})
}

/// `params` of about this many bytes, so that few of them fill the buffers of the kernel.
fn long_params(name: &str, bytes: usize) -> Value {
    json!({"port": 9010, "name": name, "note": "x".repeat(bytes)})
}

/// A peer with a session, and its view of the list. All that it reads is checked.
struct Node {
    client: Client,
    id: u64,
    view: View,
    /// The ids and causes of all departures.
    left: Vec<(u64, String)>,
    /// Lists with a session, and deltas.
    news: Vec<Value>,
    /// It has registered: the next list may have the same revision.
    is_owed: bool,
    /// True if it acknowledges at once.
    acks: bool,
    texts: Vec<String>,
    last_key: u64,
}

impl Node {
    fn connect(distributor: &Distributor) -> Node {
        Node::on(distributor.connect())
    }

    fn on(client: Client) -> Node {
        Node {
            client,
            id: 0,
            view: View::default(),
            left: Vec::new(),
            news: Vec::new(),
            is_owed: false,
            acks: true,
            texts: Vec::new(),
            last_key: 100,
        }
    }

    /// Registers a node and, if it watches, waits for its first list.
    fn join(distributor: &Distributor, name: &str, session: Value) -> Node {
        let mut node = Node::connect(distributor);
        let watches = session["watch"] != "none";
        node.register(params(name), session);
        if watches {
            node.wait_for(name, |node| node.names().iter().any(|it| it == name));
        }
        node
    }

    /// Registers, and returns the results. No list of the session comes before them.
    #[track_caller]
    fn register(&mut self, params: Value, session: Value) -> Value {
        let news = self.news.len();
        let reply = self.try_register(params, session);
        assert_eq!(reply["errorcode"], 0, "{reply}");
        assert_eq!(self.news.len(), news, "the reply comes first");
        self.is_owed = true;
        let results = reply["results"].clone();
        self.id = results["id"].as_u64().unwrap();
        self.view.epoch = results["epoch"].as_str().unwrap().to_owned();
        results
    }

    #[track_caller]
    fn try_register(&mut self, params: Value, session: Value) -> Value {
        let key = self.next_key();
        self.view.is_subscribed = session.get("only").is_some();
        self.client.send_raw(registration(key, params, &session));
        self.answer(key)
    }

    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// Sends a packet of `/distributes`, and returns its reply.
    #[track_caller]
    fn request(&mut self, method: &str, params: Value) -> Value {
        let key = self.next_key();
        self.client
            .send(&json!({"uri": "/distributes", "method": method, "key": key, "params": params}));
        self.answer(key)
    }

    /// Sends a heartbeat, and returns its reply.
    #[track_caller]
    fn beat(&mut self) -> Value {
        let key = self.next_key();
        self.client.send_raw(heartbeat(key, self.view.revision));
        self.answer(key)
    }

    /// Reads up to the packet with this key.
    #[track_caller]
    fn answer(&mut self, key: u64) -> Value {
        let until = Instant::now() + DEADLINE;
        loop {
            let frame = self.next();
            if frame["key"] == key {
                return frame;
            }
            assert!(Instant::now() < until, "no reply");
        }
    }

    /// Starts a drain, and returns the key of its reply.
    fn begin_drain(&mut self, wait_ms: u64) -> u64 {
        let key = self.next_key();
        let params = json!({"wait_ms": wait_ms});
        self.client.send(
            &json!({"uri": "/distributes", "method": "DELETE", "key": key, "params": params}),
        );
        key
    }

    /// Sends a heartbeat, and another after its reply. Returns the frames before the second reply,
    /// which include those from the end of the turn of the first.
    #[track_caller]
    fn sync(&mut self) -> Vec<Value> {
        let mut before = Vec::new();
        for _ in 0..2 {
            let key = self.next_key();
            self.client.send_raw(heartbeat(key, self.view.revision));
            loop {
                let frame = self.next();
                if frame["key"] == key {
                    assert_eq!(frame["errorcode"], 0, "{frame}");
                    break;
                }
                before.push(frame);
            }
        }
        before
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let text = self.client.next_text().expect("the connection is open");
        let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
        let acknowledge = match Message::read(&text).expect(&text) {
            Message::List {
                entries,
                session: Some(session),
                is_reply,
            } => {
                assert!(session.complete.is_some(), "{text}");
                let before = self.view.revision;
                // A reply is sent even if nothing has changed.
                let may_repeat = std::mem::take(&mut self.is_owed) || is_reply;
                assert!(session.rev > before || may_repeat, "{before} {text}");
                assert_eq!(session.epoch, self.view.epoch, "{text}");
                self.view.replace(entries, &session).expect(&text);
                self.news.push(frame.clone());
                session.ack
            }
            Message::Changes {
                joined,
                left,
                session,
            } => {
                self.view.apply(joined, &left, &session).expect(&text);
                let left = left.into_iter();
                self.left.extend(left.map(|left| (left.id, left.cause)));
                self.news.push(frame.clone());
                session.ack
            }
            _ => false,
        };
        self.texts.push(text);
        if self.acks && acknowledge {
            self.ack();
        }
        frame
    }

    fn ack(&mut self) {
        self.client
            .send_raw(heartbeat(Value::Null, self.view.revision));
    }

    fn list(&self) -> Vec<Value> {
        let entries = self.view.entries.values();
        entries
            .map(|entry| serde_json::from_str(entry).unwrap())
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let list = self.list();
        let names = list.iter().map(|entry| entry["name"].as_str());
        names.map(|name| name.unwrap_or_default().into()).collect()
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str, wanted: impl Fn(&Node) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !wanted(self) {
            assert!(
                Instant::now() < until,
                "no {what}; there is {:?}",
                self.names()
            );
            self.next();
        }
    }

    #[track_caller]
    fn wait_for_names(&mut self, names: &[&str]) {
        self.wait_for(&format!("{names:?}"), |node| node.names() == names);
    }

    #[track_caller]
    fn wait_for_rev(&mut self, rev: u64) {
        self.wait_for(&format!("revision {rev}"), |node| node.view.revision >= rev);
    }

    /// Waits until the Distributor closes the connection.
    #[track_caller]
    fn assert_closed(&mut self) {
        while self.client.next_text().is_some() {}
    }
}

fn delta() -> Value {
    session("delta", None, None)
}

fn of_instance(instance: &str) -> Value {
    session("delta", Some(instance), None)
}

/// A node that changes the list, and watches nothing.
struct Churner {
    node: Node,
    changes: u64,
}

impl Churner {
    fn join(distributor: &Distributor) -> Churner {
        let node = Node::join(distributor, "churner", json!({"watch": "none"}));
        Churner { node, changes: 0 }
    }

    /// Makes this many changes, and returns the revision after them.
    fn change(&mut self, times: usize, bytes: usize) -> u64 {
        for _ in 0..times {
            self.changes += 1;
            let mut params = long_params("churner", bytes);
            params["change"] = self.changes.into();
            self.node.client.post(&params);
        }
        self.node.beat()["results"]["rev"].as_u64().unwrap()
    }
}

/// Connects nodes with long entries, which read nothing.
fn crowd(distributor: &Distributor, count: usize) -> Vec<Client> {
    let mut watcher = distributor.connect();
    let connect = |index| {
        let mut client = Client::connect(distributor.addr);
        client.post(&long_params(&format!("long{index}"), 16_000));
        client
    };
    let crowd = (0..count).map(connect).collect();
    wait_until("the crowd", || {
        watcher.send_raw(list_request(1));
        watcher.next_list().len() == count
    });
    crowd
}

#[test]
fn sends_a_session_what_it_watches() {
    let distributor = start(&["--heartbeat", "700ms"]);
    for (watch, news_of_others) in [
        (json!("delta"), Some("PATCH")),
        (json!("list"), Some("GET")),
        (json!("none"), None),
    ] {
        let mut node = Node::connect(&distributor);
        let results = node.register(params("node"), json!({"version": 1, "watch": watch}));
        let fields: Vec<&String> = results.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["epoch", "heartbeat_ms", "id", "rev"]);
        assert_eq!(results["heartbeat_ms"], 700);
        assert_ne!(results["epoch"], "");
        if news_of_others.is_some() {
            node.next();
            assert_eq!(node.news[0]["method"], "GET", "a whole list comes first");
            assert_eq!(node.news[0]["session"]["complete"], true);
            assert_eq!(results["rev"], node.view.revision);
            assert_eq!(node.view.entries.keys().last(), Some(&node.id));
        }
        assert_eq!(node.sync(), [] as [Value; 0]);

        let before = node.view.revision;
        let other = distributor.join("other", 9020);
        match news_of_others {
            Some(method) => {
                let news = node.next();
                assert_eq!(news["method"], method);
                assert_eq!(news["key"], 0);
                assert_eq!(node.view.revision, before + 1);
                assert_eq!(node.names(), ["node", "other"]);
            }
            None => assert_eq!(node.sync(), [] as [Value; 0]),
        }
        drop(other);
        if news_of_others.is_some() {
            node.wait_for_names(&["node"]);
        }

        // A request for the list is answered, whatever the session watches.
        let answer = node.request("GET", Value::Null);
        assert_eq!(answer["method"], "GET");
        node.client
            .stream
            .shutdown(std::net::Shutdown::Both)
            .unwrap();
        let mut watcher = distributor.connect();
        wait_until("its departure", || {
            watcher.send_raw(list_request(1));
            watcher.next_list().is_empty()
        });
    }
}

#[test]
fn each_change_is_one_revision_with_joins_and_departures() {
    let distributor = start(&[]);
    let mut watcher = Node::join(&distributor, "watcher", delta());
    let mut lists = Node::join(&distributor, "lists", json!({"watch": "list"}));
    watcher.wait_for_names(&["watcher", "lists"]);
    let mut first = Client::connect(distributor.addr);
    let second = Client::connect(distributor.addr);
    let mut step = |change: &mut dyn FnMut(), names: &[&str], joined: usize, left: Value| {
        let rev = watcher.view.revision;
        change();
        let news = watcher.next();
        assert_eq!(watcher.view.revision, rev + 1, "{news}");
        assert_eq!(watcher.names(), names);
        assert_eq!(news["params"]["joined"].as_array().unwrap().len(), joined);
        let causes: Vec<&Value> = news["params"]["left"]
            .as_array()
            .unwrap()
            .iter()
            .map(|left| &left["cause"])
            .collect();
        assert_eq!(json!(causes), left);
        lists.wait_for_rev(watcher.view.revision);
        assert_eq!(lists.view.entries, watcher.view.entries);
        let ids = watcher.view.entries.keys().skip(2);
        ids.copied().collect::<Vec<u64>>()
    };
    let base = ["watcher", "lists"];
    let with = |more: &[&'static str]| [&base[..], more].concat();

    let one = step(&mut || first.register("a", 1), &with(&["a"]), 1, json!([]));
    let mut second = Some(second);
    let two = step(
        &mut || second.as_mut().unwrap().register("b", 2),
        &with(&["a", "b"]),
        1,
        json!([]),
    );
    assert!(one[0] == two[0] && two[0] < two[1], "{one:?} {two:?}");
    // A changed entry keeps its place; registering again without a change is no revision.
    let again = step(
        &mut || first.register("A", 1),
        &with(&["A", "b"]),
        1,
        json!([]),
    );
    assert_eq!(again, two);
    first.register("A", 1);
    first.next();
    let unlisted = step(
        &mut || first.post(&json!({"name": "A"})),
        &with(&["b"]),
        0,
        json!(["closed"]),
    );
    assert_eq!(unlisted, [two[1]]);
    first.post(&json!({"name": "still not listed"}));
    step(&mut || second = None, &base, 0, json!(["closed"]));
}

#[test]
fn hides_sessions_and_instances_from_other_peers() {
    let distributor = start(&[]);
    let instance = "00c0ffee00c0ffee00c0ffee00c0ffee";
    let mut watcher = Node::join(&distributor, "watcher", delta());
    let mut plain = distributor.join("plain", 1);
    let _node = Node::join(&distributor, "node", of_instance(instance));
    watcher.wait_for_names(&["watcher", "plain", "node"]);
    let text = plain.next_text().unwrap();
    let entry = r#"{"name":"node","port":9010,"urls":["GET/node"],"host":"127.0.0.1"}"#;
    assert!(text.contains(entry), "{text}");
    for text in watcher.texts.iter().chain([&text]) {
        assert!(!text.contains(instance), "{text}");
    }
    assert!(!text.contains("session"), "{text}");
}

#[test]
fn folds_changes_for_a_slow_reader() {
    let distributor = start(&["--send-buffer-bytes", "4096"]);
    for watch in ["delta", "list"] {
        let mut slow = Node::on(Client::connect_narrow(distributor.addr));
        slow.acks = false;
        slow.register(params("slow"), json!({"watch": watch}));
        slow.wait_for("itself", |node| !node.view.entries.is_empty());
        let mut churner = Churner::join(&distributor);
        let rev = churner.change(100, 16_000);
        let read_before = slow.news.len();
        slow.wait_for_rev(rev);
        assert_eq!(slow.view.revision, rev);
        assert_eq!(slow.list()[1]["change"], 100, "{watch}");
        let news = slow.news.len() - read_before;
        assert!(news < 75, "changes are folded: {news} for {watch}");
    }
}

#[test]
fn resumes_a_session_from_its_revision() {
    let distributor = start(&[]);
    let mut watcher = Node::join(&distributor, "watcher", delta());
    let mut churner = Churner::join(&distributor);
    let old = churner.change(3, 0);
    let epoch = churner.node.view.epoch.clone();
    let register = |watch: &str, epoch: &str, rev: u64| {
        let mut node = Node::connect(&distributor);
        // Without a port it changes nothing: only missed changes can follow.
        node.view.revision = rev;
        let session = json!({"watch": watch, "epoch": epoch, "rev": rev});
        node.register(json!({"name": "back"}), session);
        node
    };
    let now = churner.change(3, 0);
    // After this push, lists are sent only because of the registrations below.
    watcher.wait_for_rev(now);
    for (watch, epoch, rev, method) in [
        ("delta", &*epoch, old, Some("PATCH")),
        ("list", &epoch, old, Some("GET")),
        ("none", &epoch, old, None),
        ("delta", "another", old, Some("GET")),
        ("delta", "", old, Some("GET")),
        ("delta", &epoch, now, None),
        ("list", &epoch, now, None),
    ] {
        let mut node = register(watch, epoch, rev);
        let news: Vec<Value> = node.sync().iter().map(|f| f["method"].clone()).collect();
        assert_eq!(
            json!(news),
            json!(Vec::from_iter(method)),
            "{watch} {epoch} {rev}"
        );
        if method.is_some() {
            assert_eq!(node.view.revision, now);
            let entry = &node.view.entries[&churner.node.id];
            assert!(entry.contains("\"change\":6"), "{entry}");
        }
    }
    // A revision of the future does not belong to this list, whatever the epoch.
    let mut ahead = Node::connect(&distributor);
    let session = json!({"watch": "delta", "epoch": epoch, "rev": now + 1});
    ahead.register(json!({"name": "ahead"}), session);
    assert_eq!(ahead.sync()[0]["method"], "GET");
    assert_eq!(ahead.view.revision, now);

    // On the same connection, with or without a session, only changes are sent.
    let mut node = register("delta", &epoch, now);
    let same = json!({"watch": "delta", "epoch": epoch, "rev": old});
    node.view.revision = old;
    node.register(json!({"name": "back"}), same);
    assert_eq!(node.sync().len(), 1);
    assert_eq!(
        (node.view.revision, &node.news[0]["method"]),
        (now, &json!("PATCH"))
    );
    node.client.post(&json!({"name": "back"}));
    assert_eq!(node.sync(), [] as [Value; 0]);

    // A revision so old that the changes since are forgotten.
    let new = churner.change(4200, 0);
    watcher.wait_for_rev(new);
    let mut late = Node::connect(&distributor);
    let session = json!({"watch": "delta", "epoch": epoch, "rev": now});
    late.register(json!({"name": "late"}), session);
    assert_eq!(late.sync()[0]["method"], "GET");
}

#[test]
fn sends_the_end_of_the_warm_up_to_sessions_only() {
    let distributor = Distributor::start(&["--warm-up", "10s", "--silence-timeout", "10m"]);
    let mut delta = Node::join(&distributor, "delta", delta());
    let mut list = Node::join(&distributor, "list", json!({"watch": "list"}));
    let mut none = Node::join(&distributor, "none", json!({"watch": "none"}));
    let mut plain = distributor.join("plain", 1);
    let all = ["delta", "list", "none", "plain"];
    // A list that it knows from before, and that was not complete, does not count as complete.
    let rev = delta.view.revision;
    let mut back = Node::connect(&distributor);
    let session = json!({"watch": "delta", "epoch": delta.view.epoch, "rev": rev});
    back.register(json!({"name": "back"}), session);
    for node in [&mut delta, &mut list, &mut back] {
        node.wait_for_names(&all);
        assert_eq!(node.news[0]["session"]["complete"], false);
        let rev = node.view.revision;
        let news = node.next();
        assert_eq!(news["method"], "GET");
        assert_eq!(news["session"]["complete"], true);
        assert_eq!(node.view.revision, rev + 1);
        assert_eq!(node.names(), all);
    }
    assert_eq!(none.sync(), [] as [Value; 0]);
    let _late = Node::join(&distributor, "late", json!({}));
    assert_eq!(plain.next_list(), [&all[..], &["late"]].concat());
    delta.next();
    assert_eq!(delta.news.last().unwrap()["method"], "PATCH");
    // A session that resumes from an incomplete list receives the complete one.
    let mut later = Node::connect(&distributor);
    let session = json!({"watch": "delta", "epoch": delta.view.epoch, "rev": rev});
    later.register(json!({"name": "later"}), session);
    let news = later.next();
    assert_eq!(
        (&news["method"], &news["session"]["complete"]),
        (&json!("GET"), &json!(true))
    );
}

#[test]
fn answers_heartbeats_with_a_key() {
    let distributor = start(&[]);
    let mut node = Node::join(&distributor, "node", delta());
    let uri = "/distributes/heartbeat";
    let beat = |rest: Value| {
        let mut packet = json!({"uri": uri, "method": "POST"});
        for (name, value) in rest.as_object().unwrap() {
            packet[name] = value.clone();
        }
        packet
    };
    for (rest, answer) in [
        (
            json!({"key": 7, "session": {"rev": 1}}),
            Some((json!(7), 0)),
        ),
        (json!({"key": "k", "session": {}}), Some((json!("k"), 0))),
        (json!({"key": null, "session": {"rev": 1}}), None),
        (json!({"session": {"rev": 1}}), None),
        (json!({"key": 8}), Some((json!(8), 1))),
        (json!({"key": 9, "session": [1]}), Some((json!(9), 1))),
        (
            json!({"key": 9, "session": {"rev": -1}}),
            Some((json!(9), 1)),
        ),
    ] {
        node.client.send(&beat(rest));
        let before = node.sync();
        let answers: Vec<Value> = before
            .iter()
            .map(|f| json!([f["key"], f["errorcode"]]))
            .collect();
        let wanted = answer.map(|(key, code)| json!([key, code]));
        assert_eq!(answers, Vec::from_iter(wanted));
    }
    let mut plain = distributor.join("plain", 1);
    plain.send_raw(heartbeat(1, 1));
    assert_eq!(plain.next_errorcode(), 1);
}

#[test]
fn requests_acknowledgements_once_per_second_and_always_during_a_drain() {
    let distributor = start(&[]);
    let mut churner = Churner::join(&distributor);
    let begun = Instant::now();
    let mut watcher = Node::join(&distributor, "watcher", delta());
    for _ in 0..40 {
        let rev = churner.change(1, 0);
        watcher.wait_for_rev(rev);
    }
    let ack_requests = |news: &[Value]| news.iter().filter(|n| n["session"]["ack"] == true).count();
    // One per second at most, and one of the second before.
    let most = begun.elapsed().as_secs() + 2;
    let acks = ack_requests(&watcher.news) as u64;
    assert!(acks <= most, "{acks} of {} in {most} s", watcher.news.len());

    let mut drainer = Node::join(&distributor, "drainer", json!({"watch": "none"}));
    watcher.wait_for_names(&["churner", "watcher", "drainer"]);
    watcher.acks = false;
    let key = drainer.begin_drain(60_000);
    drainer.sync();
    let before = watcher.news.len();
    for _ in 0..5 {
        let rev = churner.change(1, 0);
        watcher.wait_for_rev(rev);
    }
    let news = &watcher.news[before..];
    assert_eq!(ack_requests(news), news.len());
    watcher.ack();
    assert_eq!(drainer.answer(key)["results"]["acked"], 1);
}

#[test]
fn a_reconnected_node_takes_its_entry_over() {
    let distributor = start(&[]);
    let mut watcher = Node::join(&distributor, "watcher", delta());
    let mut nodes = vec![Node::join(&distributor, "node", of_instance("ab12"))];
    let id = nodes[0].id;
    watcher.wait_for_names(&["watcher", "node"]);
    let rev = watcher.view.revision;

    // Unchanged: no revision, neither now nor when the old connection is closed.
    let mut back = Node::connect(&distributor);
    let results = back.register(params("node"), of_instance("ab12"));
    assert_eq!(
        (results["id"].as_u64(), results["rev"].as_u64()),
        (Some(id), Some(rev))
    );
    nodes[0].assert_closed();
    nodes.push(back);
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    distributor.program.wait_for_log(&["superseded"]);

    // Changed: one revision, in its old place.
    let after = Node::join(&distributor, "after", delta());
    watcher.wait_for_names(&["watcher", "node", "after"]);
    let mut back = Node::connect(&distributor);
    assert_eq!(
        back.register(params("changed"), of_instance("ab12"))["id"],
        id
    );
    nodes[1].assert_closed();
    nodes.push(back);
    watcher.wait_for_rev(rev + 2);
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    assert_eq!(watcher.view.revision, rev + 2);
    assert_eq!(watcher.names(), ["watcher", "changed", "after"]);

    // The fourth take-over is rejected: two nodes have the same instance.
    let mut back = Node::connect(&distributor);
    back.register(params("changed"), of_instance("ab12"));
    let mut too_often = Node::connect(&distributor);
    let reply = too_often.try_register(params("changed"), of_instance("ab12"));
    assert_eq!(reply["errorcode"], 6, "{reply}");
    back.sync();
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    drop(back);
    watcher.wait_for_names(&["watcher", "after"]);
    assert_eq!(watcher.left, [(id, "closed".to_owned())]);
    drop(after);
}

#[cfg(target_os = "linux")]
#[test]
fn an_instance_stays_on_its_host() {
    let distributor = start(&[]);
    let mut node = Node::join(&distributor, "node", of_instance("ab12"));
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut other = Node::on(Client::connect_from(distributor.addr, elsewhere));
    let reply = other.try_register(params("other"), of_instance("ab12"));
    assert_eq!(reply["errorcode"], 5, "{reply}");
    assert_eq!(node.sync(), [] as [Value; 0]);
    // An entry of its own does not help.
    other.register(params("other"), delta());
    let reply = other.try_register(params("other"), of_instance("ab12"));
    assert_eq!(reply["errorcode"], 5, "{reply}");
    node.wait_for_names(&["node", "other"]);
    let mut back = Node::connect(&distributor);
    let results = back.register(params("node"), of_instance("ab12"));
    assert_eq!(results["id"], node.id);
}

#[test]
fn rejects_take_overs_that_break_a_limit_or_lose_an_entry() {
    let distributor = start(&["--max-list-bytes", "1000"]);
    let mut node = Node::join(&distributor, "node", of_instance("ab12"));
    // A connection with an entry of its own cannot take another: it would lose one.
    let mut other = Node::join(&distributor, "other", delta());
    let reply = other.try_register(params("other"), of_instance("ab12"));
    assert_eq!(reply["errorcode"], 5, "{reply}");
    // An entry that is over a limit is rejected.
    let mut long = Node::connect(&distributor);
    let reply = long.try_register(long_params("long", 2000), of_instance("ab12"));
    assert_eq!(reply["errorcode"], 4, "{reply}");
    long.assert_closed();
    node.wait_for_names(&["node", "other"]);
    assert_eq!(node.sync(), [] as [Value; 0]);
    let mut back = Node::connect(&distributor);
    let results = back.register(params("back"), of_instance("ab12"));
    assert_eq!(results["id"], node.id);
    back.wait_for_names(&["back", "other"]);
    node.assert_closed();
}

#[test]
fn frees_an_instance_that_a_session_no_longer_names() {
    let distributor = start(&[]);
    for later in [of_instance("cd34"), delta()] {
        let mut node = Node::join(&distributor, "node", of_instance("ab12"));
        let same = node.register(params("node"), later);
        let mut other = Node::join(&distributor, "other", of_instance("ab12"));
        assert_ne!(same["id"], other.id);
        other.wait_for_names(&["node", "other"]);
        node.wait_for_names(&["node", "other"]);
        drop(other);
        node.wait_for_names(&["node"]);
        drop(node);
        let mut gone = Node::join(&distributor, "gone", delta());
        gone.wait_for_names(&["gone"]);
    }
}

#[test]
fn answers_a_drain_when_all_watchers_have_acknowledged_it() {
    let distributor = start(&[]);
    let mut watcher = Node::join(&distributor, "watcher", delta());
    let mut late = Node::join(&distributor, "late", json!({"watch": "list"}));
    let _untracked = distributor.join("untracked", 1);
    let _none = Node::join(&distributor, "none", json!({"watch": "none"}));
    let mut node = Node::join(&distributor, "node", delta());
    let stay = ["watcher", "late", "untracked", "none"];
    late.acks = false;
    for member in [&mut watcher, &mut late] {
        member.wait_for_names(&["watcher", "late", "untracked", "none", "node"]);
    }

    let key = node.begin_drain(60_000);
    let drain_answers = |frames: &[Value]| frames.iter().filter(|f| f["key"] == key).count();
    assert_eq!(drain_answers(&node.sync()), 0);
    watcher.wait_for_names(&stay);
    assert_eq!(watcher.left, [(node.id, "drained".to_owned())]);
    assert_eq!(watcher.news.last().unwrap()["session"]["ack"], true);
    watcher.sync();
    assert_eq!(drain_answers(&node.sync()), 0, "one has not acknowledged");
    late.wait_for_names(&stay);
    late.client
        .send_raw(heartbeat(Value::Null, late.view.revision - 1));
    late.view.revision -= 1;
    late.sync();
    assert_eq!(
        drain_answers(&node.sync()),
        0,
        "it acknowledged an older revision"
    );
    late.view.revision += 1;
    late.ack();
    let wanted = json!({"rev": watcher.view.revision, "acked": 2, "of": 2, "late": [], "blind": 1});
    assert_eq!(node.answer(key)["results"], wanted);

    // It still receives changes, and may register again.
    let more = distributor.join("more", 1);
    node.wait_for_names(&[&stay[..], &["more"]].concat());
    assert_eq!(node.request("DELETE", json!({}))["errorcode"], 1);
    drop(more);
    node.wait_for_names(&stay);
    node.register(params("node"), delta());
    let results = node.request("DELETE", json!({"wait_ms": 100}))["results"].clone();
    let mut ids: Vec<u64> = serde_json::from_value(results["late"].clone()).unwrap();
    ids.sort_unstable();
    assert_eq!(ids, [watcher.id, late.id]);
    assert_eq!(results["of"], 2);
    assert_eq!(results["acked"], 0);
    distributor
        .program
        .wait_for_log(&["left", "name=\"node\"", "cause=drained"]);
}

#[test]
fn rejects_a_drain_without_a_registration_or_with_a_bad_wait() {
    let distributor = start(&[]);
    let mut unregistered = Node::connect(&distributor);
    assert_eq!(
        unregistered.request("DELETE", json!({"wait_ms": 1}))["errorcode"],
        1
    );
    let mut node = Node::join(&distributor, "node", delta());
    for wrong in [
        json!(7),
        json!([5]),
        json!({"wait_ms": -1}),
        json!({"wait_ms": "1"}),
    ] {
        assert_eq!(node.request("DELETE", wrong)["errorcode"], 1);
    }
    assert_eq!(node.sync(), [] as [Value; 0], "it is still there");
    // Without other watchers there is nothing to wait for.
    assert_eq!(node.request("DELETE", Value::Null)["results"]["of"], 0);
    let mut plain = distributor.join("plain", 1);
    plain.send(&json!({"uri": "/distributes", "method": "DELETE", "key": 1}));
    assert_eq!(plain.next_errorcode(), 0);
}

#[test]
fn a_watcher_lost_during_a_drain_is_late_until_it_reconnects() {
    let distributor = start(&[]);
    for knows in [false, true] {
        let mut node = Node::join(&distributor, "node", delta());
        let mut watcher = Node::join(&distributor, "watcher", of_instance("ab12"));
        watcher.acks = false;
        node.wait_for_names(&["node", "watcher"]);
        let key = node.begin_drain(60_000);
        watcher.wait_for_names(&["watcher"]);
        let (rev, epoch) = (watcher.view.revision, watcher.view.epoch.clone());
        drop(watcher);
        node.wait_for_names(&[]);
        let mut other = Node::join(&distributor, "other", of_instance("cd34"));
        other.sync();
        assert!(
            node.sync().iter().all(|frame| frame["key"] != key),
            "another instance does not count"
        );

        let mut back = Node::connect(&distributor);
        back.acks = false;
        let mut session = of_instance("ab12");
        if knows {
            // It had applied the change, and its acknowledgement was lost.
            session["epoch"] = epoch.into();
            session["rev"] = rev.into();
            back.view.revision = rev;
            back.register(params("watcher"), session);
        } else {
            back.register(params("watcher"), session);
            back.wait_for_names(&["other", "watcher"]);
            assert!(
                node.sync().iter().all(|frame| frame["key"] != key),
                "it is late"
            );
            back.ack();
        }
        let results = node.answer(key)["results"].clone();
        assert_eq!(
            json!([results["acked"], results["of"], results["late"]]),
            json!([1, 1, []])
        );
        drop((other, back));
        node.wait_for_names(&[]);
    }
    let mut node = Node::join(&distributor, "node", delta());
    let mut watcher = Node::join(&distributor, "watcher", delta());
    watcher.acks = false;
    node.wait_for_names(&["node", "watcher"]);
    let key = node.begin_drain(500);
    let id = watcher.id;
    drop(watcher);
    assert_eq!(node.answer(key)["results"]["late"], json!([id]));
}

#[test]
fn ignores_acknowledgements_of_revisions_that_were_not_sent() {
    let distributor = start(&["--send-buffer-bytes", "4096"]);
    let _crowd = crowd(&distributor, 16);
    let mut node = Node::join(&distributor, "node", json!({"watch": "none"}));
    let mut stuck = Node::on(Client::connect_narrow(distributor.addr));
    stuck.next();
    stuck.register(params("stuck"), delta());
    // Its list does not fit into the buffers: later changes are not sent to it.
    assert!(stuck.client.stream.peek(&mut [0; 1]).unwrap() > 0);
    let key = node.begin_drain(60_000);
    node.sync();
    stuck.client.send_raw(heartbeat(Value::Null, 1 << 40));
    let answers = |frames: &[Value]| frames.iter().filter(|f| f["key"] == key).count();
    assert_eq!(answers(&node.sync()), 0, "that revision was not sent");
    stuck.wait_for("the list without it", |stuck| {
        stuck.view.revision > 0 && !stuck.view.entries.contains_key(&node.id)
    });
    assert_eq!(node.answer(key)["results"]["acked"], 1);
}

#[test]
fn announces_a_planned_stop_to_sessions_and_empties_no_list() {
    let mut distributor = start(&[]);
    let watches = ["delta", "list", "none", "delta", "list"];
    let mut nodes: Vec<Node> = watches
        .iter()
        .map(|watch| Node::join(&distributor, "node", json!({"watch": watch})))
        .collect();
    let mut plain = distributor.join("plain", 1);
    for node in &mut nodes {
        node.sync();
    }
    distributor.program.signal(Signal::TERM);
    let mut retries: Vec<u64> = nodes
        .iter_mut()
        .map(|node| {
            let frames = node.client.read_to_end();
            assert_eq!(frames.len(), 1, "{frames:?}");
            assert_eq!(frames[0]["method"], "PATCH");
            assert_eq!(frames[0]["session"]["draining"], true);
            frames[0]["session"]["retry_after_ms"].as_u64().unwrap()
        })
        .collect();
    retries.sort_unstable();
    retries.dedup();
    assert_eq!(
        retries.len(),
        watches.len(),
        "they reconnect one after another"
    );
    assert_eq!(plain.read_to_end(), [] as [Value; 0]);
    assert!(distributor.program.wait().success());
}

#[test]
fn rejects_registrations_with_a_bad_session() {
    let distributor = start(&[]);
    let mut client = distributor.connect();
    let long = format!(r#"{{"instance":"{}"}}"#, "a".repeat(65));
    for session in [
        "[]",
        r#"[1,"delta"]"#,
        "7",
        "true",
        r#""delta""#,
        r#"{"watch":"all"}"#,
        r#"{"watch":7}"#,
        r#"{"watch":null}"#,
        r#"{"version":-1}"#,
        r#"{"rev":-1}"#,
        r#"{"rev":1.5}"#,
        r#"{"rev":"1"}"#,
        r#"{"epoch":7}"#,
        r#"{"instance":7}"#,
        r#"{"instance":""}"#,
        r#"{"instance":"a b"}"#,
        r#"{"instance":"\u00b6"}"#,
        r#"{"instance":"a","instance":"b"}"#,
        &long,
    ] {
        let text = format!(
            r#"{{"uri":"/distributes","method":"POST","key":5,"params":{{"port":1,"name":"x"}},"session":{session}}}"#
        );
        client.send_raw(format!("{text}¶"));
        let reply = client.next();
        assert_eq!(
            json!([reply["key"], reply["errorcode"]]),
            json!([5, 1]),
            "{session}"
        );
    }
    client.send_raw(list_request(1));
    assert_eq!(client.next_list(), [] as [String; 0]);
    // Null is a plain registration, and unknown fields are ignored.
    let text = r#"{"uri":"/distributes","method":"POST","key":5,"params":{"port":1,"name":"x"},"session":null}"#;
    client.send_raw(format!("{text}¶"));
    assert!(client.next()["session"].is_null());
    let mut node = Node::connect(&distributor);
    node.register(
        params("node"),
        json!({"more": [1], "token": "t", "watch": "list"}),
    );
}

/// Plain peers in a mixed fleet receive one list per change, byte for byte as without sessions.
#[test]
fn sends_plain_peers_the_same_bytes_as_without_sessions() {
    let distributor = start(&[]);
    let mut plain = Client::connect(distributor.addr);
    let stream = plain.stream.try_clone().unwrap();
    let entry = |name: &str, port: u16| {
        let urls = format!(r#""urls":["GET/{name}"]"#);
        format!(r#"{{"name":"{name}","port":{port},{urls},"host":"127.0.0.1"}}"#)
    };
    let mut expect = |entries: &[String]| {
        let list = entries.join(",");
        let text = format!(r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{list}]}}"#);
        assert_eq!(plain.next_text().unwrap(), text);
    };
    let (a, b, c, d) = (
        entry("a", 1),
        entry("b", 9010),
        entry("c", 9010),
        entry("d", 2),
    );
    let mut speaker = Client::on(stream);
    expect(&[]);
    speaker.register("a", 1);
    expect(std::slice::from_ref(&a));
    let mut watcher = Node::join(&distributor, "b", delta());
    expect(&[a.clone(), b.clone()]);
    let mut node = Node::join(&distributor, "c", of_instance("ab12"));
    expect(&[a.clone(), b.clone(), c.clone()]);
    watcher.wait_for_names(&["a", "b", "c"]);

    // Registering again, heartbeats, requests, a take-over and a resumption are no changes for
    // others.
    node.register(params("c"), of_instance("ab12"));
    node.sync();
    node.request("GET", Value::Null);
    let mut node = Node::connect(&distributor);
    node.register(params("c"), of_instance("ab12"));
    node.sync();
    watcher.sync();
    let other = distributor.join("d", 2);
    expect(&[a.clone(), b.clone(), c.clone(), d.clone()]);
    watcher.wait_for_names(&["a", "b", "c", "d"]);

    let key = node.begin_drain(60_000);
    watcher.wait_for_names(&["a", "b", "d"]);
    node.answer(key);
    expect(&[a.clone(), b.clone(), d.clone()]);
    drop(node);
    watcher.sync();
    drop(other);
    expect(&[a.clone(), b.clone()]);
    drop(watcher);
    expect(&[a]);
}

#[test]
fn rejects_a_second_drain_on_a_connection() {
    let distributor = start(&[]);
    let mut late = Node::join(&distributor, "late", delta());
    late.acks = false;
    let mut node = Node::join(&distributor, "node", json!({"watch": "none"}));
    late.wait_for_names(&["late", "node"]);
    let key = node.begin_drain(60_000);
    for _ in 0..3 {
        node.register(params("node"), json!({"watch": "none"}));
        assert_eq!(
            node.request("DELETE", json!({"wait_ms": 60_000}))["errorcode"],
            6
        );
    }
    late.wait_for("its news", |late| {
        late.left.len() == 1 && late.view.entries.len() == 2
    });
    late.ack();
    assert_eq!(node.answer(key)["errorcode"], 0);
    late.acks = true;
    let key = node.begin_drain(60_000);
    late.wait_for_names(&["late"]);
    assert_eq!(node.answer(key)["errorcode"], 0);
}

#[cfg(target_os = "linux")]
fn resident_bytes(distributor: &Distributor) -> usize {
    let status = format!("/proc/{}/status", distributor.program.pid());
    let status = std::fs::read_to_string(status).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn one_hostile_session_does_not_grow_memory() {
    type Packets<'a> = &'a dyn Fn(u64) -> Vec<Value>;
    let distributor = start(&["--log-level", "error"]);
    let mut node = Node::join(&distributor, "node", json!({"watch": "none"}));
    let mut number = 0u64;
    let mut batch = |rounds: usize, packets: Packets<'_>| {
        for _ in 0..rounds {
            for _ in 0..100 {
                number += 1;
                for packet in packets(number) {
                    node.client.send(&packet);
                }
            }
            node.sync();
            node.texts.clear();
        }
    };
    let post = |session: Value| json!({"uri": "/distributes", "method": "POST", "key": 1, "params": {"port": 1}, "session": session});
    let drains = |_| {
        let drain = json!({"uri": "/distributes", "method": "DELETE", "key": 1, "params": {"wait_ms": 60_000}});
        vec![post(json!({"watch": "none"})), drain]
    };
    let instances = |n| {
        vec![post(
            json!({"watch": "none", "instance": format!("{n:032x}")}),
        )]
    };
    let beats = |_| {
        vec![
            json!({"uri": "/distributes/heartbeat", "method": "POST", "key": 1, "session": {"rev": 1}}),
        ]
    };
    let kinds: [(&str, Packets<'_>); 3] = [
        ("drains", &drains),
        ("instances", &instances),
        ("heartbeats", &beats),
    ];
    for (what, packets) in kinds {
        batch(50, packets);
        let before = resident_bytes(&distributor);
        batch(800, packets);
        let more = resident_bytes(&distributor).saturating_sub(before);
        assert!(more < 1 << 20, "{more} bytes for {what}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn sessions_at_many_revisions_do_not_grow_memory() {
    let distributor = start(&["--log-level", "error"]);
    // Each resumes from another revision, before all the long entries.
    let none = json!({"watch": "none"});
    let mut nodes: Vec<Node> = (0..100)
        .map(|index| Node::join(&distributor, &format!("node{index}"), none.clone()))
        .collect();
    let rev = nodes[0].beat()["results"]["rev"].clone();
    let rev = rev.as_u64().unwrap();
    let _long: Vec<Node> = (0..64)
        .map(|index| {
            let mut node = Node::on(Client::connect(distributor.addr));
            node.register(long_params(&format!("long{index}"), 16_000), none.clone());
            node
        })
        .collect();
    let before = resident_bytes(&distributor);
    for (index, node) in nodes.iter_mut().enumerate() {
        let session =
            json!({"watch": "delta", "epoch": node.view.epoch, "rev": rev - index as u64});
        node.register(params(&format!("node{index}")), session);
    }
    // The turn of the last one has ended when another connection is served.
    distributor.connect();
    let more = resident_bytes(&distributor).saturating_sub(before);
    assert!(more < 48 << 20, "{more} bytes");
}
