//! The trace context of requests: from HTTP to nodes, and through their calls.

use std::thread;

use pilcrow::node::{Builder, Error, Node, Stop, join_all};
use pilcrow::protocol::TraceContext;
use serde_json::{Value, json};

use super::plain_node::PlainNode;
use super::{Gateway, Shopkeeper};
use crate::log_lines::LogLines;
use crate::support::{DEADLINE, Distributor};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=\"t6\\1\"";
/// The span of a handler.
const OWN_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

fn echo(_: &Value) -> Value {
    json!({"errorcode": 0, "errormessage": "success", "results": "done"})
}

/// Returns the fields of a request that calls pass on.
fn passed_on(request: &Value) -> [&Value; 3] {
    ["request_id", "traceparent", "tracestate"].map(|name| &request[name])
}

#[test]
fn passes_valid_trace_contexts_on_unchanged() {
    let distributor = Distributor::start(&[]);
    let node = PlainNode::start(distributor.addr, &["GET/goods"], echo);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");
    let long: Vec<String> = (0..32)
        .map(|n| format!("key{n:02}={}", "v".repeat(120)))
        .collect();
    let long = long.join(",");
    let invalid = PARENT.to_uppercase();
    let later = PARENT.replacen("00", "cc", 1) + "-more";
    for (headers, parent, state) in [
        (format!("traceparent: {PARENT}\r\n"), Some(PARENT), None),
        (
            format!("Traceparent: {PARENT}\r\ntraceState: {STATE}\r\n"),
            Some(PARENT),
            Some(STATE),
        ),
        (
            format!("traceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: b=2, c=3\r\n"),
            Some(PARENT),
            Some("a=1,b=2, c=3"),
        ),
        (
            format!("traceparent: {PARENT}\r\ntracestate: {long}\r\n"),
            Some(PARENT),
            Some(&*long),
        ),
        // An invalid state does not spoil the parent, an invalid parent spoils the state.
        (
            format!("traceparent: {PARENT}\r\ntracestate: A=1\r\n"),
            Some(PARENT),
            None,
        ),
        (
            format!("traceparent: {PARENT}\r\ntracestate: {long},k=1\r\n"),
            Some(PARENT),
            None,
        ),
        (
            format!("traceparent: {invalid}\r\ntracestate: a=1\r\n"),
            None,
            None,
        ),
        (format!("traceparent: {later}\r\n"), Some(PARENT), None),
        (
            format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n"),
            None,
            None,
        ),
        ("tracestate: a=1\r\n".to_owned(), None, None),
        (String::new(), None, None),
    ] {
        while node.requests.try_recv().is_ok() {}
        let answer = gateway.fetch("GET", "/goods", &headers, "");
        assert_eq!(answer.status, 200);
        let request = node.requests.recv_timeout(DEADLINE).unwrap();
        let id = answer.header("X-Request-Id");
        let expected = [id.as_deref(), parent, state].map(|value| json!(value));
        assert_eq!(passed_on(&request), expected.each_ref(), "{headers}");
        let has = |name: &str| request.as_object().unwrap().contains_key(name);
        assert_eq!(
            (has("traceparent"), has("tracestate")),
            (parent.is_some(), state.is_some()),
            "{headers}"
        );
    }
    let traced = format!("X-Request-Id: r1\r\ntraceparent: {PARENT}\r\n");
    gateway.fetch("GET", "/goods", &traced, "");
    gateway
        .program
        .wait_for_log(&["request_id=\"r1\"", &format!("trace_id={TRACE_ID}")]);
    gateway.fetch("GET", "/goods", "X-Request-Id: r2\r\n", "");
    let untraced = gateway.program.wait_for_log(&["request_id=\"r2\""]);
    assert!(!untraced.contains("trace_id"), "{untraced}");
}

/// A node in a thread of its own, which stops when this is dropped.
struct Running(Stop, Option<thread::JoinHandle<()>>);

impl Running {
    fn start(build: impl FnOnce() -> Builder + Send + 'static) -> Running {
        let stop = Stop::new();
        let stopped = stop.clone();
        let thread = thread::spawn(move || build().run_until(stopped).unwrap());
        Running(stop, Some(thread))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
        let _ = self.1.take().map(thread::JoinHandle::join);
    }
}

/// Returns a node whose handlers call `GET/goods` in all ways.
fn relay(distributor: &str) -> Builder {
    let own = || TraceContext::parse(OWN_PARENT).unwrap().with_state("own=1");
    Node::builder("relay")
        .listen("127.0.0.1:0")
        .distributor(distributor)
        .get("/then", |cx, request| {
            let trace = request.trace.as_ref().map(TraceContext::trace_id);
            assert_eq!(trace, Some(TRACE_ID));
            cx.get("/goods").then_reply(|cx, first| {
                first?;
                assert_eq!(cx.trace().unwrap().trace_id(), TRACE_ID);
                // A call of a continuation belongs to the same request.
                cx.get("/goods").send();
                Ok("done")
            })
        })
        .get_async("/task", async |cx, request| {
            let trace = request.trace().unwrap();
            assert_eq!(
                (trace.traceparent(), trace.tracestate()),
                (PARENT, Some(STATE))
            );
            for answer in join_all([cx.get("/goods"), cx.get("/goods")]).await {
                answer?;
            }
            Ok("done")
        })
        .get_async("/spawned", async |cx, _request| {
            cx.spawn(async |cx| {
                cx.get("/goods").await?;
                Ok(())
            })?;
            Ok("done")
        })
        .get_async("/with", async |cx, _request| {
            cx.with(|cx| cx.get("/goods").send()).await;
            Ok("done")
        })
        .get_async("/all", async |cx, _request| {
            for (_, answer) in cx.get("/goods").to_all("plain").await {
                answer?;
            }
            Ok("done")
        })
        .get("/own", move |cx, _request| {
            let own = own();
            cx.get("/goods").trace(&own).then_reply(|_cx, result| {
                result?;
                Ok("done")
            })
        })
        .get_async("/own-task", async move |cx, _request| {
            let own = TraceContext::parse(OWN_PARENT).unwrap().with_state("own=1");
            cx.get("/goods").trace(&own).await?;
            Ok("done")
        })
}

#[test]
fn calls_pass_the_trace_context_on() {
    let distributor = Distributor::start(&[]);
    let node = PlainNode::start(distributor.addr, &["GET/goods"], echo);
    let addr = distributor.addr.to_string();
    let _relay = Running::start(move || relay(&addr));
    let _shop = Shopkeeper::start(distributor.addr, "shop", &["GET/relay"]);
    let gateway = Gateway::start(distributor.addr, &[]);
    gateway.wait_for("/goods");
    let headers = format!("X-Request-Id: r1\r\ntraceparent: {PARENT}\r\ntracestate: {STATE}\r\n");
    let same = json!(["r1", PARENT, STATE]);
    let own = json!(["r1", OWN_PARENT, "own=1"]);
    for (target, calls, expected) in [
        ("/then", 2, &same),
        ("/task", 2, &same),
        ("/spawned", 1, &same),
        ("/with", 1, &same),
        ("/all", 1, &same),
        // A service of callbacks.
        ("/relay", 1, &same),
        ("/own", 1, &own),
        ("/own-task", 1, &own),
    ] {
        crate::support::wait_until(target, || {
            gateway.fetch("HEAD", target, &headers, "").status != 404
        });
        // The relay may not know the node yet.
        crate::support::wait_until("the node", || {
            while node.requests.try_recv().is_ok() {}
            let answer = gateway.fetch("GET", target, &headers, "");
            let reply: Value = serde_json::from_str(&answer.body).unwrap();
            reply["errorcode"] == 0
        });
        for _ in 0..calls {
            let request = node.requests.recv_timeout(DEADLINE).unwrap();
            assert_eq!(json!(passed_on(&request)), *expected, "{target}");
        }
    }
}

#[test]
fn nodes_log_the_trace_id_of_requests_that_fail() {
    let distributor = Distributor::start(&[]);
    let addr = distributor.addr.to_string();
    let lines = LogLines::default();
    let log = lines.clone();
    let _node = Running::start(move || {
        let subscriber = tracing_subscriber::fmt().json().with_writer(log).finish();
        // It is that of this thread, in which the node runs.
        std::mem::forget(tracing::subscriber::set_default(subscriber));
        Node::builder("fails")
            .listen("127.0.0.1:0")
            .distributor(addr)
            .get("/plain", |_cx, _request| {
                Err::<(), _>(Error::internal("plain"))
            })
            .get_async("/task", async |_cx, _request| {
                Err::<(), _>(Error::internal("task"))
            })
            .get_async("/spawned", async |cx, _request| {
                cx.spawn(async |_cx| Err(Error::internal("spawned")))?;
                Ok("done")
            })
    });
    let gateway = Gateway::start(distributor.addr, &[]);
    let headers = format!("X-Request-Id: r1\r\ntraceparent: {PARENT}\r\n");
    for target in ["/plain", "/task", "/spawned"] {
        crate::support::wait_until(target, || {
            gateway.fetch("GET", target, &headers, "").status == 200
        });
        crate::support::wait_until("the line", || {
            let lines = lines.text();
            lines.lines().any(|line| {
                let fields: Value = serde_json::from_str(line).unwrap();
                let fields = &fields["fields"];
                fields["request_id"] == "r1"
                    && fields["trace_id"] == TRACE_ID
                    && fields["error"].as_str().unwrap().contains(&target[1..])
            })
        });
    }
}
