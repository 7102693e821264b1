//! Sessions that receive only what they subscribe to.

use serde_json::{Value, json};

use super::{Node, start};
use crate::support::{Client, Distributor};

fn only(only: Value) -> Value {
    json!({"version": 1, "watch": "delta", "only": only})
}

fn params(name: &str, port: u16, urls: &[&str]) -> Value {
    json!({"port": port, "name": name, "urls": urls})
}

/// Joins with a session that watches nothing.
fn join(distributor: &Distributor, name: &str, urls: &[&str]) -> Node {
    let mut node = Node::connect(distributor);
    node.register(params(name, 9100, urls), json!({"watch": "none"}));
    node
}

/// Registers a watcher, and waits for its first list.
fn watch(distributor: &Distributor, session: Value) -> Node {
    let mut node = Node::connect(distributor);
    node.register(params("watcher", 9000, &["GET/watch"]), session);
    node.wait_for("a list", |node| !node.news.is_empty());
    node
}

/// Changes the subscription, and returns the update and the reply.
fn change(node: &mut Node, only: Value) -> (Value, Value) {
    let key = node.next_key();
    let news = node.news.len();
    node.client.send(&json!({
        "uri": "/distributes/heartbeat", "method": "POST", "key": key,
        "session": {"rev": node.view.revision, "only": only},
    }));
    let reply = node.answer(key);
    assert_eq!(node.news.len(), news + 1, "one update precedes the reply");
    (node.news[news].clone(), reply)
}

fn left(update: &Value) -> Vec<(u64, String)> {
    let left = update["params"]["left"].as_array().unwrap().iter();
    let left = left.map(|left| {
        (
            left["id"].as_u64().unwrap(),
            left["cause"].as_str().unwrap().to_owned(),
        )
    });
    left.collect()
}

#[test]
fn receives_what_matches_and_nothing_else() {
    let distributor = start(&[]);
    let goods = join(&distributor, "goods", &["GET/goods"]);
    let mut watcher = Node::connect(&distributor);
    let wanted = json!({"names": ["goods"], "urls": ["GET/stock"], "prefixes": ["POST/orders/"]});
    let results = watcher.register(params("watcher", 9000, &[]), only(wanted));
    assert_eq!(results["features"], json!(["only"]));
    assert!(results.get("only").is_none());
    watcher.wait_for_names(&["goods"]);
    assert_eq!(watcher.view.revision, results["rev"].as_u64().unwrap());

    // What does not match is not sent, and counts as acknowledged.
    let other = join(
        &distributor,
        "other",
        &["GET/stock/7", "POST/order", "POST/orders"],
    );
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    let mut drained = join(&distributor, "drained", &[]);
    let results = drained.request("DELETE", json!({"wait_ms": 60_000}))["results"].clone();
    assert_eq!(
        (&results["of"], &results["acked"]),
        (&json!(0), &json!(0)),
        "{results}"
    );

    let _stock = join(&distributor, "other", &["GET/x", "GET/stock"]);
    watcher.wait_for_names(&["goods", "other"]);
    let update = watcher.news.last().unwrap();
    assert!(
        update["session"]["from"].as_u64().unwrap() < update["session"]["rev"].as_u64().unwrap()
    );
    let _orders = join(&distributor, "orders", &["POST/orders/new"]);
    watcher.wait_for_names(&["goods", "other", "orders"]);
    let id = goods.id;
    drop(goods);
    watcher.wait_for_names(&["other", "orders"]);
    assert_eq!(
        left(watcher.news.last().unwrap()),
        [(id, "closed".to_owned())]
    );
    drop(other);
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    let (_, list) = watcher.client.request_list();
    assert_eq!(pilcrow_test_client::names(&list), ["other", "orders"]);
}

#[test]
fn an_empty_subscription_matches_nothing() {
    let distributor = start(&[]);
    let mut watcher = watch(&distributor, only(json!({})));
    assert_eq!(watcher.names(), [""; 0]);
    let _goods = join(&distributor, "goods", &["GET/goods"]);
    assert_eq!(watcher.sync(), [] as [Value; 0]);
}

#[test]
fn changes_on_the_live_connection() {
    let distributor = start(&[]);
    let [a, b] = ["a", "b"].map(|name| join(&distributor, name, &[]));
    let mut watcher = watch(&distributor, only(json!({"names": ["a"]})));
    watcher.wait_for_names(&["a"]);

    let (update, reply) = change(&mut watcher, json!({"names": ["b", "c"]}));
    assert_eq!(update["method"], "PATCH");
    assert_eq!(left(&update), [(a.id, "unsubscribed".to_owned())]);
    assert_eq!(update["session"]["ids"], json!([b.id]));
    assert_eq!(update["session"]["ack"], true);
    assert_eq!(
        (&reply["errorcode"], &reply["results"]["rev"]),
        (&json!(0), &update["session"]["rev"])
    );
    assert_eq!(watcher.names(), ["b"]);

    // The update is sent even if it is empty.
    let (update, _) = change(&mut watcher, json!({"names": ["c", "b"]}));
    assert_eq!(
        (&update["params"]["joined"], &update["params"]["left"]),
        (&json!([]), &json!([]))
    );
    // Heartbeats without it change nothing.
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    let _c = join(&distributor, "c", &[]);
    watcher.wait_for_names(&["b", "c"]);
    let _a = join(&distributor, "a", &[]);
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    // A registration states the whole subscription.
    watcher.register(
        params("watcher", 9000, &[]),
        json!({"version": 1, "watch": "delta"}),
    );
    watcher.wait_for_names(&["a", "b", "watcher", "c", "a"]);
    let (update, _) = change(&mut watcher, json!({"urls": ["GET/none"]}));
    assert_eq!(left(&update).len(), 5);
}

#[test]
fn lists_of_sessions_that_watch_lists_match_too() {
    let distributor = start(&[]);
    let _goods = join(&distributor, "goods", &[]);
    let session = json!({"watch": "list", "only": {"names": ["goods"]}});
    let mut watcher = watch(&distributor, session);
    assert_eq!(watcher.names(), ["goods"]);
    let _other = join(&distributor, "other", &[]);
    assert_eq!(watcher.sync(), [] as [Value; 0]);
    let (update, _) = change(&mut watcher, json!({"names": ["other"]}));
    assert_eq!(update["method"], "GET");
    assert_eq!(watcher.names(), ["other"]);
}

#[test]
fn follows_entries_that_begin_and_cease_to_match() {
    let distributor = start(&[]);
    let mut watcher = watch(&distributor, only(json!({"urls": ["GET/a"]})));
    let mut node = join(&distributor, "node", &["GET/b"]);
    node.register(params("node", 9100, &["GET/a"]), json!({"watch": "none"}));
    watcher.wait_for_names(&["node"]);
    node.register(params("node", 9100, &["GET/c"]), json!({"watch": "none"}));
    watcher.wait_for_names(&[]);
    assert_eq!(
        left(watcher.news.last().unwrap()),
        [(node.id, "changed".to_owned())]
    );
}

#[test]
fn bad_subscriptions_are_refused_and_change_nothing() {
    let distributor = start(&[]);
    let _a = join(&distributor, "a", &[]);
    let mut watcher = watch(&distributor, only(json!({"names": ["a"]})));
    let many: Vec<String> = (0..257).map(|number| number.to_string()).collect();
    for (bad, code) in [
        (json!(null), 1),
        (json!(["a"]), 1),
        (json!({"names": "b"}), 1),
        (json!({"names": [1]}), 1),
        (json!({"paths": ["b"]}), 1),
        (json!({ "urls": many }), 4),
        (json!({"names": ["x".repeat(9000)]}), 4),
    ] {
        let key = watcher.next_key();
        watcher.client.send(&json!({
            "uri": "/distributes/heartbeat", "method": "POST", "key": key,
            "session": {"rev": watcher.view.revision, "only": bad},
        }));
        assert_eq!(watcher.answer(key)["errorcode"], code, "{bad}");
        let mut node = Node::connect(&distributor);
        let reply = node.try_register(params("node", 1, &[]), only(bad.clone()));
        assert_eq!(reply["errorcode"], code, "{bad}");
    }
    let mut none = join(&distributor, "none", &[]);
    let session = json!({"watch": "none", "only": {"names": ["a"]}});
    assert_eq!(
        none.try_register(params("none", 1, &[]), session)["errorcode"],
        1
    );
    let key = none.next_key();
    none.client.send(&json!({
        "uri": "/distributes/heartbeat", "method": "POST", "key": key,
        "session": {"rev": 0, "only": {"names": ["a"]}},
    }));
    assert_eq!(none.answer(key)["errorcode"], 1);
    let _second = join(&distributor, "a", &[]);
    watcher.wait_for_names(&["a", "a"]);
}

#[test]
fn resumes_a_view_of_the_same_subscription() {
    let distributor = start(&[]);
    let _a = join(&distributor, "a", &[]);
    let mut watcher = watch(&distributor, only(json!({"names": ["a", "b"]})));
    let known = |watcher: &Node, extra: Value| {
        let mut session = only(json!({"names": ["b", "a"]}));
        session["epoch"] = watcher.view.epoch.clone().into();
        session["rev"] = watcher.view.revision.into();
        session["instance"] = extra;
        session
    };
    let _other = join(&distributor, "other", &[]);
    let session = known(&watcher, "ab12".into());
    let (view, news) = (watcher.view.clone(), watcher.news.len());
    watcher = Node::connect(&distributor);
    watcher.view = view;
    watcher.view.is_subscribed = true;
    let results = watcher.register(params("watcher", 9000, &[]), session);
    assert!(results["rev"].as_u64().unwrap() > watcher.view.revision);
    assert_eq!(
        watcher.sync(),
        [] as [Value; 0],
        "nothing that matches has changed"
    );
    assert_eq!(news, 1);
    let b = join(&distributor, "b", &[]);
    watcher.wait_for_names(&["a", "b"]);

    let session = known(&watcher, "ab12".into());
    drop(b);
    let mut view = watcher.view.clone();
    drop(watcher);
    let mut again = Node::connect(&distributor);
    again.view = std::mem::take(&mut view);
    again.register(params("watcher", 9000, &[]), session);
    again.wait_for_names(&["a"]);
    assert_eq!(again.news[0]["method"], "PATCH");
}

#[test]
fn equal_subscriptions_share_a_frame() {
    let distributor = start(&[]);
    let mut first = watch(&distributor, only(json!({"names": ["a", "b"]})));
    let mut second = watch(&distributor, only(json!({"names": ["b", "a", "b"]})));
    let _a = join(&distributor, "a", &[]);
    let frames = [&mut first, &mut second].map(|watcher| {
        watcher.wait_for_names(&["a"]);
        watcher.texts.last().unwrap().clone()
    });
    assert_eq!(frames[0], frames[1]);
}

#[test]
fn drains_wait_for_those_whom_they_concern() {
    let distributor = start(&[]);
    let mut a = join(&distributor, "a", &[]);
    let mut concerned = watch(&distributor, only(json!({"names": ["a"]})));
    let mut other = watch(&distributor, only(json!({"names": ["b"]})));
    let mut former = watch(&distributor, only(json!({"names": ["a"]})));
    for watcher in [&mut concerned, &mut former] {
        watcher.wait_for_names(&["a"]);
    }
    // It has not acknowledged that it does not receive the node any more.
    former.acks = false;
    let before = former.view.revision;
    let (update, _) = change(&mut former, json!({"names": ["b"]}));
    assert!(update["session"]["rev"].as_u64().unwrap() > before);

    let key = a.begin_drain(60_000);
    concerned.wait_for_names(&[]);
    concerned.sync();
    other.sync();
    let answered = a.sync().iter().any(|frame| frame["key"] == key);
    assert!(!answered, "one has not acknowledged");
    former
        .client
        .send_raw(super::heartbeat(Value::Null, before));
    let answered = a.sync().iter().any(|frame| frame["key"] == key);
    assert!(!answered, "an earlier revision");
    former.ack();
    let results = a.answer(key)["results"].clone();
    assert_eq!(
        (&results["acked"], &results["of"]),
        (&json!(2), &json!(2)),
        "{results}"
    );
}

#[test]
fn drains_wait_for_what_a_session_received_before_it_registered_again() {
    let distributor = start(&[]);
    let mut a = join(&distributor, "a", &[]);
    let mut watcher = watch(&distributor, only(json!({"names": ["a"]})));
    watcher.wait_for_names(&["a"]);
    watcher.acks = false;
    watcher.register(params("watcher", 9000, &[]), only(json!({"names": ["b"]})));
    watcher.wait_for_names(&[]);
    let key = a.begin_drain(60_000);
    let is_answered = |a: &mut Node| a.sync().iter().any(|frame| frame["key"] == key);
    assert!(!is_answered(&mut a));
    watcher.ack();
    let results = a.answer(key)["results"].clone();
    assert_eq!((&results["acked"], &results["of"]), (&json!(1), &json!(1)));
    // From now on it concerns it no more.
    let mut again = join(&distributor, "a", &[]);
    let results = again.request("DELETE", json!({}))["results"].clone();
    assert_eq!(results["of"], 0, "{results}");
}

#[test]
fn sessions_without_a_subscription_see_nothing_of_it() {
    let distributor = start(&[]);
    let mut all = Node::join(&distributor, "all", super::delta());
    let mut watcher = watch(&distributor, only(json!({"names": ["a"]})));
    all.wait_for_names(&["all", "watcher"]);
    for names in [json!(["b"]), json!(["a"]), json!(["c"])] {
        change(&mut watcher, json!({ "names": names }));
    }
    assert_eq!(all.sync(), [] as [Value; 0]);
    let mut plain = Client::connect(distributor.addr);
    assert_eq!(plain.next_list(), ["all", "watcher"]);
    let _b = join(&distributor, "b", &[]);
    all.wait_for_names(&["all", "watcher", "b"]);
}
