//! The wire protocol of existing peers, byte for byte where they depend on it.

use std::io::Read;
use std::net::{Ipv6Addr, TcpListener};

use serde_json::{Value, json};

use crate::support::{Client, Distributor, FRAME_END, names, skip_or_require, wait_until};

/// The text of a list with these entries.
fn list_of(entries: &str) -> String {
    format!(r#"{{"uri":"/distributes","method":"GET","key":0,"params":[{entries}]}}"#)
}

fn post(params: &str) -> String {
    format!(r#"{{"uri":"/distributes","method":"POST","key":0,"params":{params}}}¶"#)
}

/// Returns after the Distributor has processed everything that was sent to it before.
fn settle(other: &mut Client) {
    other.request_list();
}

/// Fails if a packet is on its way to this client, or if it is no longer served.
#[track_caller]
fn assert_quiet(client: &mut Client) -> Value {
    let (before, answer) = client.request_list();
    assert_eq!(before, Vec::<Value>::new());
    answer
}

#[test]
fn sends_the_list_to_a_new_connection_at_once() {
    let distributor = Distributor::start(&[]);
    let mut client = Client::connect(distributor.addr);
    let expected = format!("{}¶", list_of(""));
    let mut bytes = vec![0; expected.len()];
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
    assert_quiet(&mut client);

    let mut node = distributor.connect();
    node.send_raw(post(r#"{"port":9010,"name":"goods"}"#).as_bytes());
    let text = node.next_text().unwrap();
    let mut later = Client::connect(distributor.addr);
    assert_eq!(later.next_text().unwrap(), text);
    assert_quiet(&mut later);
}

#[test]
fn lists_a_registration_verbatim_with_the_observed_host() {
    let distributor = Distributor::start(&[]);
    let mut node = distributor.connect();
    for (sent, listed) in [
        (
            r#"{"port":9010,"name":"goods","urls":["POST/goods","GET/goods"]}"#,
            r#"{"port":9010,"name":"goods","urls":["POST/goods","GET/goods"],"host":"127.0.0.1"}"#,
        ),
        (
            r#"{"urls":["GET/a"],"z":{"x":[1,2.50,1e3,null,true,{}]},"name":"상품 ö","port":"9011"}"#,
            r#"{"urls":["GET/a"],"z":{"x":[1,2.50,1e3,null,true,{}]},"name":"상품 ö","port":"9011","host":"127.0.0.1"}"#,
        ),
        (
            "{ \"port\" : 9012 ,\r\n\t\"name\":\"b\" }",
            "{ \"port\" : 9012 ,\r\n\t\"name\":\"b\",\"host\":\"127.0.0.1\" }",
        ),
        (
            r#"{"host":"6.6.6.6","port":65535,"name":"\u0063\/"}"#,
            r#"{"host":"127.0.0.1","port":65535,"name":"\u0063\/"}"#,
        ),
        (
            r#"{"port":1,"\u0068ost":{"a":[1]},"name":"d"}"#,
            r#"{"port":1,"\u0068ost":"127.0.0.1","name":"d"}"#,
        ),
        (
            r#"{"port":1,"meta":{"host":"6.6.6.6"}}"#,
            r#"{"port":1,"meta":{"host":"6.6.6.6"},"host":"127.0.0.1"}"#,
        ),
        (r#"{"port":1}"#, r#"{"port":1,"host":"127.0.0.1"}"#),
    ] {
        node.send_raw(post(sent).as_bytes());
        assert_eq!(node.next_text().unwrap(), list_of(listed));
    }
    assert_quiet(&mut node);
}

#[test]
fn replaces_an_entry_in_place_on_a_second_registration() {
    let distributor = Distributor::start(&[]);
    let _a = distributor.join("a", 1);
    let mut b = distributor.join("b", 2);
    let mut c = distributor.join("c", 3);
    b.register("b2", 4);
    c.wait_for_list("b2", |names| names == ["a", "b2", "c"]);
    b.wait_for_list("b2", |names| names == ["a", "b2", "c"]);
    // Nothing changes, so nothing is pushed.
    b.register("b2", 4);
    assert_eq!(b.next_list(), ["a", "b2", "c"]);
    assert_quiet(&mut c);
}

#[test]
fn lists_entries_in_the_order_of_their_first_registration() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("w", 1);
    let [a, mut b, _c] = ["a", "b", "c"].map(|name| distributor.join(name, 1));
    b.register("b2", 1);
    watcher.wait_for_list("all", |names| names == ["w", "a", "b2", "c"]);
    drop(a);
    watcher.wait_for_list("no a", |names| names == ["w", "b2", "c"]);
    let _a = distributor.join("a", 1);
    watcher.wait_for_list("a again", |names| names == ["w", "b2", "c", "a"]);
}

#[test]
fn keeps_equal_registrations_as_separate_entries() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("w", 1);
    let [worker, _second, _third] = [(); 3].map(|()| distributor.join("same", 9));
    watcher.wait_for_list("three", |names| names == ["w", "same", "same", "same"]);
    drop(worker);
    assert_eq!(watcher.next_list(), ["w", "same", "same"]);
    assert_quiet(&mut watcher);
}

#[test]
fn removes_the_entry_with_one_push_on_fin_and_on_reset() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("w", 1);
    for leave in [drop, Client::reset] {
        let leaver = distributor.join("leaver", 2);
        watcher.wait_for_list("leaver", |names| names == ["w", "leaver"]);
        leave(leaver);
        assert_eq!(watcher.next_list(), ["w"]);
        assert_quiet(&mut watcher);
    }
}

#[test]
fn answers_a_get_with_its_key() {
    let distributor = Distributor::start(&[]);
    let _node = distributor.join("node", 1);
    let mut client = distributor.connect();
    for key in ["0", "-7.50", r#""k\u00b6""#, r#"{"a" : [1, {}]}"#, "null"] {
        let frame = format!(r#"{{"uri":"/distributes","method":"GET","key":{key}}}¶"#);
        client.send_raw(frame.as_bytes());
        let text = client.next_text().unwrap();
        let beginning = format!(r#"{{"uri":"/distributes","method":"GET","key":{key},"params":["#);
        assert!(text.starts_with(&beginning), "{text}");
        assert_eq!(names(&serde_json::from_str(&text).unwrap()), ["node"]);
    }
    client.send(&json!({"method": "GET", "uri": "/distributes"}));
    let answer = client.next();
    assert_eq!(
        (&answer["key"], names(&answer)),
        (&Value::Null, vec!["node".to_owned()])
    );
}

#[test]
fn answers_pipelined_gets_in_order() {
    let distributor = Distributor::start(&[]);
    let mut client = distributor.join("node", 1);
    let get = |key| format!(r#"{{"uri":"/distributes","method":"GET","key":{key}}}¶"#);
    let all: String = (1..=500).map(get).collect();
    client.send_raw(all.as_bytes());
    for key in 1..=500 {
        let answer = client.next();
        assert_eq!(
            (&answer["key"], names(&answer)),
            (&json!(key), vec!["node".to_owned()])
        );
    }
    assert_quiet(&mut client);
}

#[test]
fn ignores_white_space_and_empty_frames() {
    let distributor = Distributor::start(&[]);
    let mut client = distributor.connect();
    client.send_raw(" \r\n¶¶ ¶\r\n¶\n\n".as_bytes());
    assert_quiet(&mut client);
    let frame = format!("\r\n ¶ {}\r\n¶\n", post(r#"{"port":1,"name":"a"}"#));
    client.send_raw(frame.as_bytes());
    assert_eq!(client.next_list(), ["a"]);
    assert_quiet(&mut client);
}

#[test]
fn accepts_a_registration_cut_at_any_byte() {
    let distributor = Distributor::start(&[]);
    let mut other = distributor.connect();
    let mut node = distributor.connect();
    let frame = |name: &str| post(&format!(r#"{{"port":1,"name":"{name}","urls":["GET/ö"]}}"#));
    let length = frame("000").len();
    for cut in 1..length {
        let name = format!("{cut:03}");
        let frame = frame(&name).into_bytes();
        let (head, tail) = frame.split_at(cut);
        node.send_raw(head);
        settle(&mut other);
        node.send_raw(tail);
        assert_eq!(node.next_list(), [name]);
    }
    for byte in frame("all").into_bytes() {
        node.send_raw([byte]);
        settle(&mut other);
    }
    assert_eq!(node.next_list(), ["all"]);
    assert_quiet(&mut node);
}

#[test]
fn keeps_the_last_of_several_registrations_in_one_write() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("w", 1);
    let mut node = distributor.connect();
    let names = ["a", "b", "c"];
    let all = names.map(|name| post(&format!(r#"{{"port":1,"name":"{name}"}}"#)));
    node.send_raw(all.concat().as_bytes());
    node.wait_for_list("the last", |names| names == ["w", "c"]);
    watcher.wait_for_list("the last", |names| names == ["w", "c"]);
    assert_quiet(&mut node);
}

#[test]
fn escapes_frame_ends_within_values() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("w", 1);
    let mut evil = distributor.connect();
    let params = r#"{"port":1,"name":"x\u00b6{\"uri\":\"/evil\"}\u00B6","\u00b6":["\u00b6"]}"#;
    evil.send_raw(post(params).as_bytes());
    evil.send_raw(r#"{"uri":"/\u00b6","method":"\u00b6","key":"\u00b6"}¶"#.as_bytes());
    evil.send_raw(r#"{"uri":"/distributes","method":"GET","key":"\u00b6"}¶"#.as_bytes());

    // Each frame is JSON, so none was ended early.
    let name = "x¶{\"uri\":\"/evil\"}¶";
    watcher.wait_for_list("it", |names| names == ["w", name]);
    assert_quiet(&mut watcher);
    let mut next_with_its_key = || {
        loop {
            let frame = evil.next();
            assert!(
                ["/distributes", "/¶"]
                    .map(Value::from)
                    .contains(&frame["uri"])
            );
            if frame["key"] == "¶" {
                return frame;
            }
        }
    };
    let (error, answer) = (next_with_its_key(), next_with_its_key());
    assert_error(&error, 2, ["/¶", "¶", "¶"].map(Value::from));
    assert_eq!(names(&answer), ["w", name]);
    assert_eq!(names(&distributor.connect().request_list().1), ["w", name]);
}

#[test]
fn answers_errors_and_keeps_the_connection() {
    let distributor = Distributor::start(&[]);
    let mut bystander = distributor.join("bystander", 1);
    let mut client = distributor.connect();

    for frame in [
        "x",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{",
        "{}{}",
        r#"["/distributes","POST",0,{"port":1}]"#,
    ] {
        client.send_raw(frame.as_bytes());
        client.send_raw(FRAME_END);
        assert_error(&client.next(), 3, [Value::Null, Value::Null, Value::Null]);
        assert_quiet(&mut client);
    }
    client.send_raw(b"{\"uri\":\"/distributes\",\"method\":\"GET\",\"key\":\"\xff\"}\xc2\xb6");
    assert_error(&client.next(), 3, [Value::Null, Value::Null, Value::Null]);

    let nested = |depth: usize| {
        format!(
            r#"{{"port":1,"x":{}{}}}"#,
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    for (code, uri, method, params) in [
        (2, r#""/goods""#, r#""POST""#, r#""params":{"port":1}"#),
        (
            2,
            r#""/distributes/""#,
            r#""POST""#,
            r#""params":{"port":1}"#,
        ),
        (
            2,
            r#""/distributes""#,
            r#""post""#,
            r#""params":{"port":1}"#,
        ),
        (2, r#""/distributes""#, r#""PUT""#, r#""params":{}"#),
        (2, "7", "[1]", r#""params":{}"#),
        (2, "null", "null", r#""params":{}"#),
        (1, r#""/distributes""#, r#""POST""#, r#""parms":{}"#),
        (1, r#""/distributes""#, r#""POST""#, r#""params":null"#),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":"{\"port\":1}""#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":[{"port":1}]"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"a":1,"a":1}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"p\u006frt":2}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"host":1,"\u0068ost":2}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"name":"\ud800"}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"a":[{"\udfff":1}]}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"\ud800x":1}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"name":7}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"name":"a\u0007"}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            r#""params":{"port":1,"urls":["http://evil/"]}"#,
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            &format!("\"params\":{}", nested(17)),
        ),
        (
            1,
            r#""/distributes""#,
            r#""POST""#,
            &format!("\"params\":{}", nested(5000)),
        ),
    ] {
        for key in [r#"{"a":"b"}"#, "8"] {
            let frame = format!(r#"{{"uri":{uri},"method":{method},"key":{key},{params}}}¶"#);
            client.send_raw(frame.as_bytes());
            let echo = [uri, method, key].map(|text| serde_json::from_str(text).unwrap());
            assert_error(&client.next(), code, echo);
        }
        assert_eq!(names(&assert_quiet(&mut client)), ["bystander"]);
    }

    client.send_raw(post(&nested(16)).as_bytes());
    assert_eq!(client.next_list().len(), 2);
    assert_eq!(bystander.next_list().len(), 2);
    assert_quiet(&mut bystander);
}

#[track_caller]
fn assert_error(answer: &Value, code: u64, [uri, method, key]: [Value; 3]) {
    let message = &answer["errormessage"];
    assert!(
        message.as_str().is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    let expected = json!({"uri": uri, "method": method, "key": key,
        "errorcode": code, "errormessage": message});
    assert_eq!(answer, &expected);
}

#[test]
fn registers_without_listing_a_node_without_a_valid_port() {
    for params in [
        r#"{"prot":9010,"name":"odd"}"#,
        r#"{"port":0,"name":"odd"}"#,
        r#"{"port":65536,"name":"odd"}"#,
        r#"{"port":-1,"name":"odd"}"#,
        r#"{"port":80.5,"name":"odd"}"#,
        r#"{"port":null,"name":"odd"}"#,
        r#"{"port":[80],"name":"odd"}"#,
        r#"{"port":"","name":"odd"}"#,
        r#"{"port":"80x","name":"odd"}"#,
        r#"{"port":"70000","name":"odd"}"#,
    ] {
        let distributor = Distributor::start(&[]);
        let mut odd = distributor.connect();
        odd.send_raw(post(params).as_bytes());
        assert_eq!(odd.next_list(), [""; 0], "{params}");
        let peer = format!("127.0.0.1:{}", odd.local_port());
        distributor
            .program
            .wait_for_log(&["WARN", "not listed", &peer, "odd"]);

        let mut other = distributor.join("other", 1);
        assert_eq!(odd.next_list(), ["other"], "{params}");
        // It can correct itself, and is listed in its original place.
        odd.register("mended", 80);
        assert_eq!(odd.next_list(), ["mended", "other"]);
        assert_eq!(other.next_list(), ["mended", "other"]);
        odd.send_raw(post(params).as_bytes());
        assert_eq!(other.next_list(), ["other"]);
        drop(odd);
        assert_quiet(&mut other);
    }
}

#[test]
fn closes_connections_of_other_protocols_with_a_log_line() {
    let tls_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0xc2; 100]].concat();
    let http_with_frame = format!(
        "POST /distributes HTTP/1.1\r\nHost: x\r\n\r\n{}",
        post(r#"{"port":1}"#)
    );
    for (bytes, what) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "HTTP"),
        (b"OPTIONS * HTTP/1.0\r\n\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (http_with_frame.as_bytes(), "HTTP"),
        (&tls_hello, "TLS"),
    ] {
        for pieces in [bytes.len(), 1] {
            let distributor = Distributor::start(&[]);
            let mut bystander = distributor.join("bystander", 1);
            let mut client = distributor.connect();
            let peer = format!("127.0.0.1:{}", client.local_port());
            for piece in bytes.chunks(pieces) {
                client.send_raw(piece);
                settle(&mut bystander);
            }
            assert_eq!(client.read_to_end(), Vec::<Value>::new());
            distributor
                .program
                .wait_for_log(&["WARN", "closed", what, &peer]);
            assert_eq!(names(&assert_quiet(&mut bystander)), ["bystander"]);
        }
    }
}

#[test]
fn detects_other_protocols_only_by_the_first_bytes() {
    let distributor = Distributor::start(&[]);
    let mut registered = distributor.join("registered", 1);
    let mut unregistered = distributor.connect();
    unregistered.send_raw("null¶".as_bytes());
    assert_eq!(unregistered.next()["errorcode"], 3);
    for client in [&mut registered, &mut unregistered] {
        for frame in ["PUT it¶", "GET / HTTP/1.1\r\n\r\n¶", "\x16\x03\x01¶"] {
            client.send_raw(frame.as_bytes());
            assert_eq!(client.next()["errorcode"], 3, "{frame:?}");
        }
        assert_eq!(names(&assert_quiet(client)), ["registered"]);
    }
}

#[test]
fn ends_frames_at_no_other_delimiter() {
    let distributor = Distributor::start(&[]);
    let mut other = distributor.connect();
    for delimiter in ["$", "#", "|", "\n", "\0", "\u{2}"] {
        let mut client = distributor.connect();
        let frame = post(r#"{"port":1,"name":"a"}"#).replace('¶', delimiter);
        client.send_raw(frame.repeat(3).as_bytes());
        assert_eq!(names(&assert_quiet(&mut other)), [""; 0]);
        client.send_raw(FRAME_END);
        assert_eq!(client.next()["errorcode"], 3);
        assert_quiet(&mut client);
    }
}

#[test]
fn does_not_answer_replies() {
    let distributor = Distributor::start(&[]);
    let mut client = distributor.connect();
    for reply in [
        json!({"key": 1, "errorcode": 0, "errormessage": "success", "results": []}),
        json!({"errorcode": 3}),
        json!({"uri": null, "method": null, "key": null, "errorcode": 2, "errormessage": "x"}),
    ] {
        client.send(&reply);
        assert_quiet(&mut client);
    }
}

#[test]
fn does_not_list_the_session() {
    let distributor = Distributor::start(&[]);
    let mut watcher = distributor.join("w", 1);
    let params = r#""params":{"port":1,"name":"s"}"#;
    let session = r#""session":{"version":1,"watch":"delta","instance":"00ff","token":"secret"}"#;
    let head = r#""uri":"/distributes","method":"POST","key":1"#;
    for frame in [
        format!("{{{head},{params},{session}}}¶"),
        format!("{{{session},{head},{params}}}¶"),
    ] {
        let mut client = distributor.connect();
        client.send_raw(frame.as_bytes());
        let both = [
            r#"{"name":"w","port":1,"urls":["GET/w"],"host":"127.0.0.1"}"#,
            r#"{"port":1,"name":"s","host":"127.0.0.1"}"#,
        ];
        assert_eq!(watcher.next_text().unwrap(), list_of(&both.join(",")));
        drop(client);
        assert_eq!(watcher.next_text().unwrap(), list_of(both[0]));
    }
}

#[test]
fn pushes_nothing_to_unregistered_connections() {
    let distributor = Distributor::start(&[]);
    let mut node = distributor.join("node", 1);
    let mut client = distributor.connect();
    for _ in 0..3 {
        let other = distributor.join("other", 1);
        node.wait_for_list("other", |names| names == ["node", "other"]);
        drop(other);
        node.wait_for_list("no other", |names| names == ["node"]);
        assert_eq!(names(&assert_quiet(&mut client)), ["node"]);
    }
}

#[test]
fn lists_peers_on_the_ipv6_loopback_as_127_0_0_1() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip_or_require("ipv6", "this machine has no IPv6");
    }
    let distributor = Distributor::start_at("[::1]:0", &[]);
    let mut node = distributor.connect();
    node.send_raw(post(r#"{"port":1,"name":"six"}"#).as_bytes());
    assert_eq!(
        node.next_text().unwrap(),
        list_of(r#"{"port":1,"name":"six","host":"127.0.0.1"}"#)
    );
    node.reset();
    wait_until("the node to leave", || {
        names(&distributor.connect().request_list().1).is_empty()
    });
}

#[test]
fn sends_both_lists_after_a_registration_and_a_get_in_one_write() {
    let distributor = Distributor::start(&[]);
    let mut client = distributor.connect();
    let post = json!({"uri": "/distributes", "method": "POST", "key": 0,
        "params": {"port": 1, "name": "both", "urls": []}});
    let get = json!({"uri": "/distributes", "method": "GET", "key": 7});
    client.send_raw(format!("{post}¶{get}¶").as_bytes());
    let lists = [client.next(), client.next()];
    assert!(lists.iter().all(|list| names(list) == ["both"]));
    let mut keys = lists.map(|list| list["key"].as_u64());
    keys.sort();
    assert_eq!(keys, [Some(0), Some(7)]);
}
