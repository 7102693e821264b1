//! Statuses of requests that a gateway does not pass on, and of replies with an errorcode.

use serde_json::{Value, json};

use super::plain_node::PlainNode;
use super::{Gateway, Shopkeeper, error, results};
use crate::support::{Distributor, wait_until};

#[test]
fn knows_only_the_nodes_under_its_prefixes() {
    let distributor = Distributor::start(&[]);
    let _shop = Shopkeeper::start(distributor.addr, "shop", &["GET/shop/eu", "GET/extra"]);
    let _other = Shopkeeper::start(distributor.addr, "other", &["GET/other", "POST/shop/eu"]);
    let all = Gateway::start(distributor.addr, &[]);
    for path in ["/shop/eu", "/other"] {
        all.wait_for(path);
    }
    let narrow = Gateway::start(distributor.addr, &["--subscribe", "GET/shop"]);
    narrow.wait_for("/shop/eu");
    let status = |method: &str, path: &str| narrow.fetch(method, path, "", "").status;
    assert_eq!(status("GET", "/shop/eu/7"), 200);
    // Its node lists this path too.
    assert_eq!(status("GET", "/extra"), 200);
    assert_eq!(status("GET", "/other"), 404);
    assert_eq!(status("POST", "/shop/eu"), 405);
    let narrow = Gateway::start(distributor.addr, &["--subscribe", "/shop,GET/nothing"]);
    narrow.wait_for("/shop/eu");
    let both = || narrow.fetch("POST", "/shop/eu", "", "").status == 200;
    wait_until("the methods of a prefix without one are known", both);
}

#[test]
fn answers_415_for_bodies_that_are_neither_json_nor_urlencoded() {
    let distributor = Distributor::start(&[]);
    let urls = ["GET/goods", "POST/goods", "PUT/goods", "PATCH/goods"];
    let shop = Shopkeeper::start(distributor.addr, "shop", &urls);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");
    let served = shop.served();
    for content_type in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/xml",
        "application/octet-stream",
        "multipart/form-data; boundary=b",
        "json",
    ] {
        for method in ["POST", "PUT", "PATCH", "GET"] {
            let header = format!("content-type: {content_type}\r\n");
            let answer = gateway.fetch(method, "/goods", &header, "a=1");
            assert_eq!(answer.status, 415, "{method} {content_type}");
            assert!(error(&answer).contains(content_type), "{answer:?}");
            let accept = "application/json, application/x-www-form-urlencoded";
            assert_eq!(answer.header("Accept").as_deref(), Some(accept));
        }
    }
    let compressed = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let answer = gateway.fetch("POST", "/goods", compressed, "{}");
    assert_eq!(answer.status, 415);
    assert_eq!(
        answer.header("Accept-Encoding").as_deref(),
        Some("identity")
    );
    assert_eq!(shop.served(), served);

    for (headers, body, params) in [
        (
            "Content-Type: application/problem+json\r\n",
            "{\"a\":1}",
            json!({"a": 1}),
        ),
        (
            "Content-Type: text/json; charset=utf-8\r\n",
            "{\"a\":1}",
            json!({"a": 1}),
        ),
        ("Content-Encoding: identity\r\n", "a=1", json!({"a": "1"})),
        // Without a body, its type does not matter.
        ("Content-Type: text/plain\r\n", "", json!({})),
    ] {
        let answer = gateway.fetch("POST", "/goods", headers, body);
        assert_eq!(results(&answer)["params"], params, "{headers}");
    }
    // Unknown routes come first.
    let text = "Content-Type: text/plain\r\n";
    assert_eq!(gateway.fetch("POST", "/none", text, "a").status, 404);
}

#[test]
fn answers_405_with_the_methods_of_a_known_path() {
    let distributor = Distributor::start(&[]);
    let urls = [
        "GET/goods",
        "POST/goods",
        "DELETE/goods/old",
        "POST/",
        "PUT/only",
    ];
    let mut shop = Shopkeeper::start(distributor.addr, "shop", &urls);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");

    // All paths are served for `POST`, but that alone does not make them known.
    for (method, target, allow) in [
        ("PATCH", "/goods", "GET, HEAD, POST"),
        ("PUT", "/goods/17?a=1", "GET, HEAD, POST"),
        ("get", "/goods", "GET, HEAD, POST"),
        ("OPTIONS", "/goods", "GET, HEAD, POST"),
        ("PUT", "/goods/old/1", "DELETE, GET, HEAD, POST"),
        ("GET", "/only", "POST, PUT"),
        ("HEAD", "/only", "POST, PUT"),
        ("GET", "/", "POST"),
    ] {
        let answer = gateway.fetch(method, target, "", "");
        assert_eq!(answer.status, 405, "{method} {target}");
        assert_eq!(
            answer.header("Allow").as_deref(),
            Some(allow),
            "{method} {target}"
        );
        assert_eq!(
            answer.header("Content-Type").as_deref(),
            Some("application/json")
        );
        if method != "HEAD" {
            assert!(error(&answer).contains(allow), "{answer:?}");
        }
    }
    for target in ["/none", "/goodsbye", "/goods%2F17", "//goods"] {
        let answer = gateway.get(target);
        assert_eq!(answer.status, 404, "{target}");
        assert_eq!(answer.header("Allow"), None);
        assert_eq!(error(&answer), format!("no node serves GET{target}"));
    }
    // A node that joins adds its methods.
    let _other = Shopkeeper::start(distributor.addr, "other", &["PATCH/only", "GET/ready"]);
    gateway.wait_for("/ready");
    let answer = gateway.get("/only");
    assert_eq!(answer.header("Allow").as_deref(), Some("PATCH, POST, PUT"));
    // One that leaves takes them along.
    shop.kill();
    wait_until("its departure", || {
        let answer = gateway.get("/only");
        answer.header("Allow").as_deref() == Some("PATCH")
    });
    assert_eq!(gateway.fetch("PATCH", "/goods", "", "").status, 404);
}

/// Replies with the errorcode that the path names.
fn fails(request: &Value) -> Value {
    let code = request["uri"]
        .as_str()
        .unwrap()
        .trim_start_matches("/fail/");
    let code: i64 = code.parse().unwrap();
    json!({"errorcode": code, "errormessage": "on purpose", "results": {"detail": code}})
}

#[test]
fn maps_errorcodes_to_statuses_on_request_only() {
    let distributor = Distributor::start(&[]);
    let _node = PlainNode::start(distributor.addr, &["GET/fail"], fails);
    let plain = Gateway::start(distributor.addr, &[]);
    let mapping = Gateway::start(distributor.addr, &["--map-errorcodes"]);
    let off = Gateway::start(distributor.addr, &["--map-errorcodes=false"]);
    for gateway in [&plain, &mapping, &off] {
        gateway.wait_for("/fail/0");
    }
    for (code, status) in [
        (0, 200),
        (1, 400),
        (2, 404),
        (3, 400),
        (4, 413),
        (5, 403),
        (6, 503),
        (7, 504),
        (8, 500),
        (9, 500),
        (-1, 500),
        (100, 422),
        (1234, 422),
        (404, 404),
        (409, 409),
        (599, 599),
        (600, 422),
    ] {
        let target = format!("/fail/{code}");
        for gateway in [&plain, &off] {
            assert_eq!(gateway.get(&target).status, 200, "{code}");
        }
        let answer = mapping.get(&target);
        assert_eq!(answer.status, status, "{code}");
        let retry_after = answer.header("Retry-After");
        assert_eq!(retry_after.is_some(), status == 503, "{code}");
        // The body is the reply in any case.
        let reply: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(reply["errorcode"], code);
        assert_eq!(reply["results"], json!({"detail": code}));
        assert_eq!(mapping.fetch("HEAD", &target, "", "").status, status);
    }
    mapping
        .program
        .wait_for_log(&["path=\"/fail/409\"", "status=409", "node=127.0.0.1:"]);
}
