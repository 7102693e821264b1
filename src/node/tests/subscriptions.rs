//! Tests of subscriptions: what is sent, what waits for an answer, and the view that follows.

use super::*;
use crate::protocol::Subscription;

/// Returns a node that knows what it calls, before the reply to its registration.
fn connected(interest: Interest) -> (Bench, SocketId, Value) {
    let mut bench = Bench::with(Config::default().interest(interest));
    let link = bench.open(distributor());
    let post = bench.sent(link).pop().unwrap();
    (bench, link, post)
}

fn accept(bench: &mut Bench, link: SocketId, post: &Value, more: Value) {
    let mut results = json!({"id": 1, "epoch": "e1", "rev": 1, "heartbeat_ms": 500_000});
    let (Value::Object(all), Value::Object(more)) = (&mut results, more) else {
        panic!("not an object");
    };
    all.extend(more);
    let reply = json!({"key": post["key"], "errorcode": 0, "results": results});
    bench.receive(link, &reply);
}

/// Returns a node that knows what it calls, with a session and an empty view at revision 1.
fn subscribed() -> (Bench, SocketId) {
    let (mut bench, link, post) = connected(Interest::Calls);
    accept(&mut bench, link, &post, json!({"features": ["only"]}));
    list(&mut bench, link, 1, &[]);
    bench.events();
    (bench, link)
}

fn list(bench: &mut Bench, link: SocketId, rev: u64, ports: &[u16]) {
    let session = json!({"epoch": "e1", "rev": rev, "complete": true});
    bench.list(link, ports, session);
}

/// Replies to a heartbeat as a Distributor does that changes the subscription.
fn answer(bench: &mut Bench, link: SocketId, beat: &Value, update: &Value) {
    bench.receive(link, update);
    let reply = json!({"key": beat["key"], "errorcode": 0, "results": {"rev": 1}});
    bench.receive(link, &reply);
}

/// Sends a delta with one entry.
fn joined(from: u64, rev: u64, ack: bool, id: u64, entry: Value) -> Value {
    let mut delta = delta(from, rev, ack, &[], &[id], &[]);
    delta["params"]["joined"] = json!([entry]);
    delta
}

fn other(port: u16) -> Value {
    json!({"port": port, "name": "other", "urls": ["GET/other"], "host": "127.0.0.1"})
}

fn call(bench: &mut Bench, path: &str, deadline: Duration) -> CallId {
    let mut cx = bench.node.context(bench.reactor.net());
    cx.call(&Route::get(path), &json!({}), deadline)
}

fn notify(bench: &mut Bench, params: u64) -> usize {
    let mut cx = bench.node.context(bench.reactor.net());
    cx.notify("goods", &Route::post("/note"), &params)
}

/// Takes the subscription of the one heartbeat that was sent.
#[track_caller]
fn sent_only(bench: &mut Bench, link: SocketId) -> (Value, Value) {
    bench.settle();
    let sent = bench.sent(link);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0]["uri"], "/distributes/heartbeat");
    assert!(sent[0]["key"].is_u64());
    (sent[0].clone(), sent[0]["session"]["only"].clone())
}

#[test]
fn states_its_interest_when_it_registers() {
    let only = Subscription::new()
        .names(["logs"])
        .urls([Route::get("/goods")])
        .prefixes(["GET/stock/"]);
    let stated = json!({"names": ["logs"], "urls": ["GET/goods"], "prefixes": ["GET/stock/"]});
    for (interest, expected) in [
        (Interest::All, Value::Null),
        (Interest::Calls, json!({})),
        (Interest::Only(only), stated),
    ] {
        let (_, _, post) = connected(interest);
        assert_eq!(post["session"]["only"], expected);
    }
}

#[test]
fn the_first_call_subscribes_and_waits_for_the_answer() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods/7", SECOND);
    let (beat, only) = sent_only(&mut bench, link);
    assert_eq!(
        only,
        json!({"urls": ["GET/", "GET/goods"], "prefixes": ["GET/goods/"]})
    );
    assert_eq!(beat["session"]["rev"], 1);
    bench.receive(link, &delta(1, 1, true, &[5], &[5], &[]));
    let ack = json!({"uri": "/distributes/heartbeat", "method": "POST", "key": null, "session": {"rev": 1}});
    assert_eq!((bench.sent(link), bench.ports()), (vec![ack], vec![5]));
    assert!(bench.sockets(peer(5)).is_empty(), "before the reply");
    bench.receive(link, &json!({"key": beat["key"], "errorcode": 0}));
    let socket = bench.open(peer(5));
    let request = bench.sent(socket).remove(0);
    bench.reply(socket, &request);
    assert_eq!(bench.outcomes(), ["reply 7"]);

    // What is known is called at once, and nothing is sent for it.
    call(&mut bench, "/goods", SECOND);
    call(&mut bench, "/goods/8/9", SECOND);
    bench.settle();
    assert_eq!(bench.sent(socket).len(), 2);
    assert!(bench.sent(link).is_empty());
}

#[test]
fn calls_end_without_a_node_after_the_answer_or_at_their_deadline() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods", SECOND);
    let (beat, _) = sent_only(&mut bench, link);
    bench.pass(SECOND / 2);
    assert!(bench.outcomes().is_empty());
    answer(&mut bench, link, &beat, &delta(1, 1, true, &[], &[], &[]));
    assert_eq!(bench.outcomes(), ["unavailable"]);
    call(&mut bench, "/goods", SECOND);
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);

    call(&mut bench, "/other", SECOND);
    bench.pass(SECOND / 2);
    assert!(bench.outcomes().is_empty());
    bench.pass(SECOND);
    assert_eq!(bench.outcomes(), ["unavailable"]);
    assert_eq!(bench.node.core.caller.len(), 0);
}

#[test]
fn a_heartbeat_has_all_that_was_called_since_the_last_answer() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/a", SECOND);
    call(&mut bench, "/b/1", SECOND);
    assert_eq!(notify(&mut bench, 1), 0);
    let (first, only) = sent_only(&mut bench, link);
    assert_eq!(
        only,
        json!({"names": ["goods"], "urls": ["GET/", "GET/a", "GET/b"], "prefixes": ["GET/a/", "GET/b/"]})
    );
    // Only one change is in flight.
    call(&mut bench, "/c", SECOND);
    bench.settle();
    call(&mut bench, "/d", SECOND);
    bench.settle();
    assert!(bench.sent(link).is_empty());
    answer(&mut bench, link, &first, &delta(1, 1, false, &[], &[], &[]));
    assert_eq!(bench.outcomes(), ["unavailable", "unavailable"]);
    let (second, only) = sent_only(&mut bench, link);
    assert_eq!(
        only["prefixes"],
        json!(["GET/a/", "GET/b/", "GET/c/", "GET/d/"])
    );
    answer(
        &mut bench,
        link,
        &second,
        &delta(1, 1, false, &[], &[], &[]),
    );
    assert_eq!(bench.outcomes(), ["unavailable", "unavailable"]);
}

#[test]
fn notifications_wait_for_the_first_answer_in_their_order() {
    let (mut bench, link) = subscribed();
    for number in 0..3 {
        assert_eq!(notify(&mut bench, number), 0);
    }
    let (beat, only) = sent_only(&mut bench, link);
    assert_eq!(only, json!({"names": ["goods"]}));
    answer(&mut bench, link, &beat, &delta(1, 2, true, &[5], &[5], &[]));
    assert_eq!(notify(&mut bench, 3), 1);
    let socket = bench.open(peer(5));
    bench.settle();
    let params: Vec<Value> = bench
        .sent(socket)
        .iter()
        .map(|sent| sent["params"].clone())
        .collect();
    assert_eq!(params, [0, 1, 2, 3]);
}

#[test]
fn limits_the_notifications_that_wait() {
    let (mut bench, link) = subscribed();
    for number in 0..2000 {
        notify(&mut bench, number);
    }
    let (beat, _) = sent_only(&mut bench, link);
    answer(&mut bench, link, &beat, &delta(1, 2, true, &[5], &[5], &[]));
    let socket = bench.open(peer(5));
    bench.settle();
    assert_eq!(bench.sent(socket).len(), 1024);
    assert_eq!(notify(&mut bench, 1), 1);
}

#[test]
fn limits_the_bytes_of_calls_that_wait() {
    let (mut bench, link) = subscribed();
    let most = bench.reactor.net().limits().max_unsent_bytes;
    let text = "x".repeat(most / 4);
    for _ in 0..5 {
        let mut cx = bench.node.context(bench.reactor.net());
        cx.call(&Route::get("/goods"), &text, SECOND);
    }
    let (beat, _) = sent_only(&mut bench, link);
    assert_eq!(bench.outcomes(), ["unavailable", "unavailable"]);
    // Calls that end give way to others.
    bench.pass(2 * SECOND);
    assert_eq!(bench.outcomes().len(), 3);
    call(&mut bench, "/goods", SECOND);
    answer(&mut bench, link, &beat, &delta(1, 2, true, &[5], &[5], &[]));
    let socket = bench.open(peer(5));
    bench.settle();
    assert_eq!(bench.sent(socket).len(), 1);
}

#[test]
fn a_call_of_an_address_subscribes_to_nothing() {
    let (mut bench, link) = subscribed();
    let mut cx = bench.node.context(bench.reactor.net());
    cx.call_at(peer(9), &Route::get("/goods"), &json!({}), SECOND);
    let socket = bench.open(peer(9));
    bench.settle();
    assert_eq!((bench.sent(socket).len(), bench.sent(link).len()), (1, 0));
}

#[test]
fn waits_and_lookups_subscribe() {
    let (mut bench, link) = subscribed();
    let mut cx = bench.node.context(bench.reactor.net());
    cx.wait_for(&[Route::get("/goods"), Route::get("/other/1")], SECOND);
    assert_eq!(cx.roster().named("goods").count(), 0);
    assert_eq!(cx.roster().serving(&Route::post("/a")).count(), 0);
    assert_eq!(cx.roster().serving_prefix(&Route::post("/b/c")).count(), 0);
    let (beat, only) = sent_only(&mut bench, link);
    let urls = json!([
        "GET/",
        "GET/goods",
        "GET/other",
        "POST/",
        "POST/a",
        "POST/b"
    ]);
    assert_eq!((&only["names"], &only["urls"]), (&json!(["goods"]), &urls));
    answer(&mut bench, link, &beat, &delta(1, 2, true, &[5], &[5], &[]));
    assert_eq!(bench.events(), ["+5"]);
    let entry = json!({"port": 6, "name": "x", "urls": ["GET/other/1"], "host": "127.0.0.1"});
    bench.receive(link, &joined(2, 3, false, 6, entry));
    assert_eq!(bench.events(), ["+6", "waited true"]);
}

#[test]
fn calls_of_something_new_wait_for_the_lost_link() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods", SECOND);
    let (beat, _) = sent_only(&mut bench, link);
    answer(&mut bench, link, &beat, &delta(1, 2, true, &[5], &[5], &[]));
    bench.open(peer(5));
    bench.end(link);
    // The view is still used.
    call(&mut bench, "/goods", SECOND);
    bench.settle();
    let socket = bench.socket(peer(5));
    assert_eq!(bench.sent(socket).len(), 2);
    call(&mut bench, "/other", 30 * SECOND);
    bench.pass(2 * SECOND);
    bench.outcomes();

    // The view is not resumed under another subscription.
    let link = bench.open(distributor());
    let post = bench.sent(link).pop().unwrap();
    let session = &post["session"];
    assert_eq!(
        session["only"]["prefixes"],
        json!(["GET/goods/", "GET/other/"])
    );
    assert_eq!(
        (&session["epoch"], &session["rev"]),
        (&Value::Null, &Value::Null)
    );
    accept(&mut bench, link, &post, json!({"features": ["only"]}));
    assert!(bench.outcomes().is_empty());
    list(&mut bench, link, 2, &[5]);
    assert_eq!(bench.outcomes(), ["unavailable"]);

    // Under the same one it is.
    bench.end(link);
    bench.pass_until(|bench| !bench.sockets(distributor()).is_empty());
    let link = bench.open(distributor());
    let session = bench.sent(link).pop().unwrap()["session"].take();
    assert_eq!(
        (&session["epoch"], &session["rev"]),
        (&json!("e1"), &json!(2))
    );
}

#[test]
fn does_not_resume_a_view_whose_change_was_not_answered() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods", 30 * SECOND);
    sent_only(&mut bench, link);
    bench.receive(link, &delta(1, 2, true, &[5], &[5], &[]));
    bench.end(link);
    let link = bench.open(distributor());
    let session = bench.sent(link).pop().unwrap()["session"].take();
    assert_eq!(
        (&session["epoch"], &session["rev"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(session["only"]["prefixes"], json!(["GET/goods/"]));
    assert_eq!(bench.ports(), [5]);
}

#[test]
fn subscribes_to_all_after_256_of_a_kind() {
    let (mut bench, link) = subscribed();
    for number in 0..256 {
        notify_name(&mut bench, number);
    }
    let (beat, only) = sent_only(&mut bench, link);
    assert_eq!(only["names"].as_array().unwrap().len(), 256);
    answer(&mut bench, link, &beat, &delta(1, 2, false, &[], &[], &[]));
    notify_name(&mut bench, 256);
    call(&mut bench, "/other", SECOND);
    bench.settle();
    let post = bench.sent(link).pop().unwrap();
    let session = &post["session"];
    assert_eq!(
        (&post["uri"], &post["method"]),
        (&json!("/distributes"), &json!("POST"))
    );
    assert_eq!(
        (&session["only"], &session["rev"]),
        (&Value::Null, &Value::Null)
    );
    accept(&mut bench, link, &post, json!({"features": ["only"]}));
    assert!(bench.outcomes().is_empty());
    list(&mut bench, link, 2, &[5]);
    assert_eq!(
        (bench.outcomes(), bench.ports()),
        (vec!["unavailable".to_owned()], vec![5])
    );
    // Nothing needs to be subscribed to any more.
    call(&mut bench, "/new", SECOND);
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
    assert!(bench.sent(link).is_empty());
}

fn notify_name(bench: &mut Bench, number: usize) {
    let mut cx = bench.node.context(bench.reactor.net());
    cx.notify(&format!("name {number}"), &Route::post("/note"), &());
}

#[test]
fn subscribes_to_all_rather_than_with_more_than_8_kib() {
    let (mut bench, link) = subscribed();
    for letter in ["a", "b"] {
        let name = letter.repeat(5000);
        bench
            .node
            .context(bench.reactor.net())
            .notify(&name, &Route::post("/note"), &());
    }
    bench.settle();
    let post = bench.sent(link).pop().unwrap();
    assert_eq!(
        (&post["method"], &post["session"]["only"]),
        (&json!("POST"), &Value::Null)
    );
}

#[test]
fn subscribes_to_all_if_a_change_is_rejected() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods", SECOND);
    let (beat, _) = sent_only(&mut bench, link);
    let reply = json!({"key": beat["key"], "errorcode": 4, "errormessage": "too many"});
    bench.receive(link, &reply);
    let post = bench.sent(link).pop().unwrap();
    assert_eq!(
        (&post["method"], &post["session"]["only"]),
        (&json!("POST"), &Value::Null)
    );
    accept(&mut bench, link, &post, json!({"features": ["only"]}));
    list(&mut bench, link, 2, &[5]);
    assert_eq!(bench.sockets(peer(5)).len(), 1);
}

#[test]
fn a_node_that_leaves_does_not_register_again() {
    let (mut bench, link) = subscribed();
    bench.node.context(bench.reactor.net()).drain(SECOND);
    bench.settle();
    bench.sent(link);
    for letter in ["a", "b"] {
        call(
            &mut bench,
            &format!("/{}", letter.repeat(5000)),
            10 * SECOND,
        );
    }
    bench.settle();
    assert!(bench.sent(link).is_empty());
    assert_eq!(bench.outcomes(), ["unavailable", "unavailable"]);
}

#[test]
fn a_stopped_node_ends_the_calls_that_wait() {
    let (mut bench, _link) = subscribed();
    call(&mut bench, "/goods", SECOND);
    notify(&mut bench, 1);
    bench.settle();
    bench.node.context(bench.reactor.net()).stop();
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
    call(&mut bench, "/other", SECOND);
    bench.settle();
    assert_eq!(bench.outcomes(), ["unavailable"]);
}

#[test]
fn filters_what_a_distributor_without_subscriptions_sends() {
    for more in [
        json!({}),
        json!({"features": ["at"]}),
        json!({"features": ["only"], "only": false}),
    ] {
        let (mut bench, link, post) = connected(Interest::Calls);
        accept(&mut bench, link, &post, more);
        list(&mut bench, link, 1, &[5]);
        assert!(bench.ports().is_empty());
        bench.receive(link, &delta(1, 2, true, &[6], &[2], &[]));
        assert_eq!(
            (bench.ports(), bench.events()),
            (vec![], vec!["Registered".to_owned()])
        );
        bench.sent(link);

        // Two things called in one turn need one list.
        call(&mut bench, "/goods", SECOND);
        call(&mut bench, "/new", SECOND);
        bench.settle();
        let sent = bench.sent(link);
        assert_eq!((sent.len(), &sent[0]["method"]), (1, &json!("GET")));
        call(&mut bench, "/other", SECOND);
        bench.settle();
        assert!(bench.sent(link).is_empty(), "the list will have it");
        assert!(bench.outcomes().is_empty());
        list(&mut bench, link, 2, &[5, 6]);
        assert_eq!(bench.events(), ["+5", "+6"]);
        assert_eq!(bench.outcomes(), ["unavailable", "unavailable"]);

        // An entry that is replaced begins to match, or no longer does.
        bench.receive(
            link,
            &joined(2, 3, false, 9, json!({"port": 9, "name": "z"})),
        );
        bench.receive(link, &joined(3, 4, false, 9, other(9)));
        bench.receive(
            link,
            &joined(4, 5, false, 1, json!({"port": 5, "name": "z"})),
        );
        bench.receive(link, &delta(5, 6, false, &[], &[], &[2, 77]));
        assert_eq!(bench.events(), ["+9", "-5", "-6"]);
        assert!(bench.sent(link).is_empty());
    }
}

#[test]
fn filters_by_itself_if_a_change_is_one_too_many() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods", SECOND);
    let (beat, _) = sent_only(&mut bench, link);
    bench.receive(link, &delta(1, 2, true, &[5], &[5], &[]));
    let results = json!({"rev": 2, "only": false});
    let reply = json!({"key": beat["key"], "errorcode": 0, "results": results});
    bench.receive(link, &reply);
    assert_eq!(bench.sockets(peer(5)).len(), 1);
    bench.receive(link, &joined(2, 3, false, 7, other(7)));
    assert_eq!(bench.ports(), [5]);
    bench.sent(link);
    call(&mut bench, "/other", SECOND);
    bench.settle();
    assert_eq!(bench.sent(link)[0]["method"], "GET");
    list(&mut bench, link, 3, &[5]);
    assert_eq!(bench.outcomes(), ["unavailable"]);
}

#[test]
fn filters_the_lists_of_a_plain_distributor() {
    let (mut bench, link, _post) = connected(Interest::Calls);
    bench.list(link, &[5, 6], Value::Null);
    call(&mut bench, "/goods", 5 * SECOND);
    bench.pass(2100 * MILLI);
    assert_eq!(bench.events(), ["Registered", "+5", "+6"]);
    let sockets = bench.sockets(peer(5)).len() + bench.sockets(peer(6)).len();
    assert_eq!(sockets, 1);
    let entries = json!([other(7), entry(5)]);
    let packet = json!({"uri": "/distributes", "method": "GET", "key": 0, "params": entries});
    bench.receive(link, &packet);
    assert_eq!(
        (bench.ports(), bench.events()),
        (vec![5], vec!["-6".to_owned()])
    );
    // The last list has what is called later.
    call(&mut bench, "/other", SECOND);
    bench.settle();
    assert_eq!(bench.sockets(peer(7)).len(), 1);
    assert_eq!(
        (bench.ports(), bench.events()),
        (vec![7, 5], vec!["+7".to_owned()])
    );
}

#[test]
fn a_fixed_interest_does_not_grow() {
    let only = Subscription::new().urls(["GET/other"]);
    let (mut bench, link, post) = connected(Interest::Only(only));
    accept(&mut bench, link, &post, json!({}));
    list(&mut bench, link, 1, &[5]);
    bench.receive(link, &joined(1, 2, false, 7, other(7)));
    bench.sent(link);
    call(&mut bench, "/goods", SECOND);
    notify(&mut bench, 1);
    bench.settle();
    assert_eq!(
        (bench.outcomes(), bench.ports()),
        (vec!["unavailable".to_owned()], vec![7])
    );
    assert!(bench.sent(link).is_empty());
}

#[test]
fn a_late_session_begins_with_its_own_subscription() {
    let (mut bench, link, post) = connected(Interest::Calls);
    bench.list(link, &[5], Value::Null);
    bench.pass(3 * SECOND);
    call(&mut bench, "/goods", SECOND);
    bench.settle();
    assert_eq!(bench.ports(), [5]);
    accept(&mut bench, link, &post, json!({"features": ["only"]}));
    let (beat, only) = sent_only(&mut bench, link);
    assert_eq!(only["prefixes"], json!(["GET/goods/"]));
    list(&mut bench, link, 1, &[]);
    call(&mut bench, "/goods", SECOND);
    bench.pass(2 * MILLI);
    assert!(bench.outcomes().is_empty(), "the answer is still to come");
    answer(&mut bench, link, &beat, &delta(1, 1, true, &[5], &[5], &[]));
    assert_eq!(bench.ports(), [5]);
}

#[test]
fn applies_a_delta_from_before_its_revision_but_no_older_one() {
    let mut bench = Bench::registered(&[1]);
    let link = bench.socket(distributor());
    bench.receive(link, &delta(1, 3, false, &[2], &[2], &[]));
    // Shared with sessions whose view is older.
    bench.receive(link, &delta(1, 5, false, &[2, 3], &[2, 3], &[1]));
    assert_eq!(
        (bench.ports(), bench.events()),
        (
            vec![2, 3],
            vec!["+2".to_owned(), "-1".to_owned(), "+3".to_owned()]
        )
    );
    for (from, rev) in [(5, 5), (2, 4), (6, 7)] {
        assert!(bench.sent(link).is_empty());
        bench.receive(link, &delta(from, rev, false, &[4], &[4], &[]));
        let sent = bench.sent(link);
        assert_eq!(
            (sent.len(), &sent[0]["method"]),
            (1, &json!("GET")),
            "{from} {rev}"
        );
        assert_eq!(bench.ports(), [2, 3]);
    }
}

#[test]
fn a_change_is_in_view_only_after_the_list_that_a_gap_requires() {
    let (mut bench, link) = subscribed();
    call(&mut bench, "/goods", SECOND);
    let (beat, _) = sent_only(&mut bench, link);
    bench.receive(link, &delta(3, 4, true, &[5], &[5], &[]));
    assert_eq!(bench.sent(link)[0]["method"], "GET");
    bench.receive(link, &json!({"key": beat["key"], "errorcode": 0}));
    assert!(bench.outcomes().is_empty());
    list(&mut bench, link, 4, &[5]);
    assert_eq!(bench.sockets(peer(5)).len(), 1);
}

#[test]
fn drops_entries_that_leave_for_any_cause() {
    let mut bench = Bench::registered(&[1, 2, 3]);
    let link = bench.socket(distributor());
    let mut packet = delta(1, 2, false, &[], &[], &[1, 2, 3]);
    for (index, cause) in ["unsubscribed", "changed", "not known yet"]
        .iter()
        .enumerate()
    {
        packet["params"]["left"][index]["cause"] = json!(cause);
    }
    bench.receive(link, &packet);
    assert_eq!(bench.events(), ["-1", "-2", "-3"]);
}
