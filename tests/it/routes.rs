//! Nodes with routes: the builder, handlers, tasks, and errors. A client node calls them by their
//! address, in the same thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pilcrow::distributor::{self, Distributor};
use pilcrow::node::{
    Builder, CallError, Error, Event, LinkState, Node, Routes, Stop, TaskContext, join, join_all,
};
use pilcrow::protocol::{ErrorCode, Reply, Route};
use pilcrow::reactor::{Handler, Limits, Reactor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::log_lines::LogLines;
use crate::support::DEADLINE;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Reply<'static>, CallError<'static>>;

/// A node with this service, and a client.
struct Bench<T> {
    reactor: Reactor,
    node: Node<Routes<T>>,
    client: Node<Routes>,
    addr: SocketAddr,
}

impl<T: 'static> Bench<T> {
    fn new(builder: Builder<T>) -> Bench<T> {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let node = builder.listen("127.0.0.1:0").build(reactor.net()).unwrap();
        let addr = node.local_addr(reactor.net()).unwrap();
        let client = Node::builder("client").build(reactor.net()).unwrap();
        Bench {
            reactor,
            node,
            client,
            addr,
        }
    }

    fn turn(&mut self) {
        let all: &mut dyn Handler = &mut (&mut self.node, &mut self.client);
        self.reactor.turn(Some(MILLI), all).unwrap();
    }

    #[track_caller]
    fn turn_until(&mut self, mut done: impl FnMut(&mut Bench<T>) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < until, "timed out");
            self.turn();
        }
    }

    /// Starts a call. The answer appears in the cell.
    fn start(
        &mut self,
        method: &str,
        path: &str,
        params: &Value,
        time: Duration,
    ) -> Rc<RefCell<Option<Answer>>> {
        let answer = Rc::new(RefCell::new(None));
        let given = Rc::clone(&answer);
        let addr = self.addr;
        self.client
            .with_service(self.reactor.net(), |cx| {
                let call = cx.request(method, path).params(params).timeout(time);
                call.to(addr).then(move |_, result| {
                    let answer = result.map(Reply::into_owned).map_err(CallError::into_owned);
                    assert!(given.replace(Some(answer)).is_none(), "a second answer");
                })
            })
            .unwrap();
        answer
    }

    #[track_caller]
    fn call(&mut self, method: &str, path: &str, params: &Value) -> Answer {
        let answer = self.start(method, path, params, DEADLINE);
        self.turn_until(|_| answer.borrow().is_some());
        answer.take().unwrap()
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> String {
        self.call("GET", path, &Value::Null)
            .unwrap()
            .raw_results()
            .to_owned()
    }

    /// Calls, and returns the errorcode, the message and the details.
    #[track_caller]
    fn fail(&mut self, path: &str, params: &Value) -> (i64, String, String) {
        match self.call("GET", path, params) {
            Err(CallError::Refused(reply)) => (
                reply.errorcode,
                reply.message().into_owned(),
                reply.raw_results().to_owned(),
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    name: String,
    count: u64,
}

/// Results that cannot be encoded.
fn unencodable() -> BTreeMap<(u8, u8), u8> {
    BTreeMap::from([((1, 2), 3)])
}

#[test]
fn routes_requests_by_method_and_path() {
    let mut bench = Bench::new(
        Node::builder("goods")
            .get("/goods", |_cx, _request| Ok(["apples", "pears"]))
            .get("/goods/{id}", |_cx, request| {
                Ok(format!("goods {}", request.path_param("id").unwrap_or("?")))
            })
            .get("/goods/{id}/price/{currency}", |cx, request| {
                let id: u32 = request.parsed_path_param("id")?;
                cx.reply(&(id, request.path_param("currency")))
            })
            .get("/files/{*rest}", |_cx, request| {
                Ok(request.path_param("rest").map(str::to_owned))
            })
            .post_async("/goods/{id}", async |_cx, request| {
                let order: Order = request.params()?;
                let id: u32 = request.parsed_path_param("id")?;
                Ok((id, order.name, order.count))
            })
            .delete("/goods/{id}", |_cx, _request| Ok(())),
    );
    assert_eq!(bench.get("/goods"), r#"["apples","pears"]"#);
    assert_eq!(bench.get("/goods/7"), r#""goods 7""#);
    assert_eq!(bench.get("/goods/7/price/eur"), r#"[7,"eur"]"#);
    assert_eq!(bench.get("/files/a/b.txt"), r#""a/b.txt""#);
    let order = json!({"name": "apples", "count": 2});
    let reply = bench.call("POST", "/goods/9", &order).unwrap();
    assert_eq!(
        reply.results::<(u32, &str, u64)>().unwrap(),
        (9, "apples", 2)
    );
    assert_eq!(
        bench
            .call("DELETE", "/goods/9", &order)
            .unwrap()
            .raw_results(),
        "null"
    );

    for path in ["/other", "/goods/", "/goods/7/price", "/files", "/"] {
        assert_eq!(bench.fail(path, &Value::Null).0, 2, "{path}");
    }
    let (code, message, _) = bench.fail("/goods/x/price/eur", &Value::Null);
    assert_eq!((code, &*message), (1, "invalid id in the path: x"));
    for params in [json!(null), json!({"name": 1}), json!([])] {
        let answer = bench.call("POST", "/goods/9", &params).unwrap_err();
        assert!(
            matches!(&answer, CallError::Refused(reply) if reply.errorcode == 1),
            "{answer:?}"
        );
        assert!(!answer.may_have_run());
    }
}

#[test]
fn answers_with_the_error_of_a_handler() {
    let mut bench = Bench::new(
        Node::builder("errors")
            .error_codes([101])
            .get("/own", |_cx, _request| {
                Err::<(), _>(Error::own(101, "sold out").with_details(&json!({"left": 0})))
            })
            .get("/small", |_cx, _request| {
                Err::<(), _>(Error::own(99, "sold out"))
            })
            .get("/known", |_cx, _request| {
                Err::<(), _>(Error::new(ErrorCode::Busy, "later"))
            })
            .get("/params", |_cx, request| {
                request.params::<Order>().map_err(Error::from)
            })
            .get("/results", |_cx, _request| Ok(unencodable()))
            .get("/reply", |cx, _request| cx.reply(&unencodable()))
            .get("/panic", |_cx, _request| -> Result<(), Error> {
                panic!("out of {}", "apples")
            })
            .get_async("/task/own", async |_cx, _request| {
                Err::<(), _>(Error::own(101, "sold out").with_details(&[1]))
            })
            .get_async("/task/params", async |_cx, request| {
                Ok(request.params::<Order>()?)
            })
            .get_async("/task/results", async |_cx, _request| Ok(unencodable()))
            .get_async("/task/reply", async |cx, _request| cx.reply(&unencodable()))
            .get_async("/with/panic", async |cx, _request| {
                cx.with(|_cx| -> u8 { panic!("out of {}", "apples") }).await;
                Ok(())
            })
            .get_async("/task/panic", async |cx, _request| -> Result<(), Error> {
                cx.sleep(MILLI).await;
                panic!("out of {}", "apples")
            }),
    );
    let null = Value::Null;
    let own = |details: &str| (101, "sold out".to_owned(), details.to_owned());
    assert_eq!(bench.fail("/own", &null), own(r#"{"left":0}"#));
    assert_eq!(bench.fail("/task/own", &null), own("[1]"));
    let (code, message, _) = bench.fail("/small", &null);
    assert_eq!(code, 8);
    assert!(message.contains("own codes start at 100"), "{message}");
    assert_eq!(bench.fail("/known", &null).0, 6);
    for path in ["/params", "/task/params"] {
        let (code, message, _) = bench.fail(path, &json!({"name": "apples"}));
        assert_eq!(code, 1);
        assert!(
            message.starts_with("invalid params: missing field `count`"),
            "{message}"
        );
    }
    for path in ["/results", "/reply", "/task/results", "/task/reply"] {
        let (code, message, _) = bench.fail(path, &null);
        assert_eq!(code, 8, "{path}");
        assert!(
            message.starts_with("results cannot be encoded"),
            "{message}"
        );
    }
    for path in ["/panic", "/task/panic", "/with/panic", "/panic"] {
        let (code, message, _) = bench.fail(path, &null);
        assert_eq!(
            (code, &*message),
            (8, "the handler panicked: out of apples")
        );
    }
}

#[test]
fn logs_a_panic_once() {
    let lines = LogLines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut bench = Bench::new(
        Node::builder("panics")
            .get("/plain", |_cx, _request| -> Result<(), Error> {
                panic!("out of apples")
            })
            .get_async("/task", async |_cx, _request| -> Result<(), Error> {
                panic!("out of pears")
            })
            .get("/later", |cx, _request| {
                cx.spawn(async |_cx| panic!("out of plums"))?;
                Ok(())
            })
            .on_timer(|_cx, _timer, _tag| panic!("out of time"))
            .get("/timer", |cx, _request| {
                let now = cx.net().now();
                cx.arm(now, 1);
                Ok(())
            }),
    );
    for (path, fruit) in [
        ("/plain", "apples"),
        ("/task", "pears"),
        ("/later", "plums"),
        ("/timer", "time"),
    ] {
        bench.start("GET", path, &Value::Null, DEADLINE);
        bench.turn_until(|_| lines.text().contains(fruit));
        let text = lines.text();
        assert_eq!(text.matches(fruit).count(), 1, "{text}");
    }
}

#[test]
fn passes_errors_of_nested_calls_on() {
    let mut bench = Bench::new(
        Node::builder("nested")
            .get("/own", |_cx, _request| {
                Err::<(), _>(Error::own(101, "sold out").with_details(&json!({"left": 0})))
            })
            .get("/never", |cx, _request| Ok(cx.no_reply()))
            .get("/seven", |_cx, _request| Ok(7))
            .get_async("/forward/{to}", async |cx, request| {
                let to = request.path_param("to").unwrap_or_default();
                let addr: SocketAddr = request.params()?;
                let call = cx.get(&format!("/{to}")).timeout(50 * MILLI).to(addr);
                Ok(call.await?.results::<Value>()?)
            })
            .get_async("/results", async |cx, request| {
                let addr: SocketAddr = request.params()?;
                Ok(cx.get("/seven").to(addr).await?.results::<String>()?)
            })
            .get("/callback", |cx, request| {
                let addr: SocketAddr = request.params()?;
                cx.get("/own")
                    .to(addr)
                    .then_reply(|_cx, result| Ok(result?.results::<Value>()?))
            })
            .get("/none", |cx, _request| {
                cx.get("/goods")
                    .then_reply(|_cx, result| Ok(result?.results::<Value>()?))
            })
            .get_async("/params", async |cx, _request| {
                Ok(cx
                    .get("/goods")
                    .params(&unencodable())
                    .await?
                    .results::<Value>()?)
            }),
    );
    let addr = json!(bench.addr);
    let own = (101, "sold out".to_owned(), r#"{"left":0}"#.to_owned());
    assert_eq!(bench.fail("/forward/own", &addr), own);
    assert_eq!(bench.fail("/callback", &addr), own);
    let reply = bench.call("GET", "/forward/seven", &addr).unwrap();
    assert_eq!(reply.results::<u8>().unwrap(), 7);
    assert_eq!(bench.fail("/forward/other", &addr).0, 2);
    assert_eq!(bench.fail("/forward/never", &addr).0, 7);
    let (code, message, _) = bench.fail("/results", &addr);
    assert_eq!(code, 8);
    assert!(message.starts_with("invalid results"), "{message}");
    assert_eq!(bench.fail("/none", &addr).0, 6);
    let (code, message, _) = bench.fail("/params", &addr);
    assert_eq!(code, 8);
    assert!(message.starts_with("params cannot be encoded"), "{message}");
}

#[expect(clippy::await_holding_refcell_ref, reason = "tests what happens then")]
#[test]
fn shares_the_state_between_handlers_tasks_and_timers() {
    #[derive(Default)]
    struct Counts {
        plain: u32,
        tasks: u32,
        timers: u32,
        later: bool,
    }
    let mut bench = Bench::new(
        Node::builder("counts")
            .state(Counts::default())
            .every(MILLI, |cx| cx.state().timers += 1)
            .on_start(|cx| cx.after(2 * MILLI, |cx| cx.state().later = true))
            .get("/plain", |cx, _request| {
                cx.state().plain += 1;
                Ok(cx.state().plain)
            })
            .get_async("/task", async |cx, _request| {
                cx.state().tasks += 1;
                cx.sleep(MILLI).await;
                let state = cx.state();
                Ok((state.plain, state.tasks, state.timers > 2, state.later))
            })
            .get_async("/held", async |cx, _request| {
                let state = cx.state();
                cx.sleep(MILLI).await;
                Ok(state.plain)
            }),
    );
    assert_eq!(bench.get("/plain"), "1");
    assert_eq!(bench.get("/plain"), "2");
    bench.turn_until(|bench| {
        let net = bench.reactor.net();
        let state = bench
            .node
            .with_service(net, |cx| (cx.state().timers, cx.state().later));
        state.is_some_and(|(timers, later)| timers > 2 && later)
    });
    assert_eq!(bench.get("/task"), "[2,1,true,true]");
    let (code, message, _) = bench.fail("/held", &Value::Null);
    assert_eq!(
        (code, &*message),
        (8, "the handler keeps the state borrowed across an await")
    );
    // The others go on.
    assert_eq!(bench.get("/plain"), "3");
}

/// Counts the values that were dropped.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn ends_a_task_at_the_deadline_of_its_caller_and_cancels_its_calls() {
    let dropped = Rc::new(Cell::new(0));
    let (of_task, of_spawned) = (Rc::clone(&dropped), Rc::new(Cell::new(0)));
    let finished = Rc::clone(&of_spawned);
    let mut bench = Bench::new(
        Node::builder("slow")
            .get("/never", |cx, _request| Ok(cx.no_reply()))
            .get_async("/slow", async move |cx, request| {
                let _dropped = Dropped(Rc::clone(&of_task));
                let addr: SocketAddr = request.params()?;
                let finished = Rc::clone(&finished);
                cx.spawn(async move |cx: TaskContext| {
                    cx.sleep(100 * MILLI).await;
                    finished.set(finished.get() + 1);
                    Ok(())
                })?;
                cx.get("/never").to(addr).timeout(60 * SECOND).await?;
                Ok(())
            }),
    );
    let addr = json!(bench.addr);
    let answer = bench.start("GET", "/slow", &addr, 20 * MILLI);
    bench.turn_until(|bench| {
        let net = bench.reactor.net();
        bench.node.context(net).calls_in_flight() == 1
    });
    bench.turn_until(|_| dropped.get() == 1 && answer.borrow().is_some());
    assert_eq!(bench.node.context(bench.reactor.net()).calls_in_flight(), 0);
    assert!(answer.take().unwrap().unwrap_err().may_have_run());
    assert_eq!(of_spawned.get(), 0);
    // It outlives the request.
    bench.turn_until(|_| of_spawned.get() == 1);
}

#[test]
fn ends_tasks_without_their_caller_only_on_request() {
    let ended = Rc::new(Cell::new(0));
    let finished = Rc::new(Cell::new(0));
    let (by_ended, by_finished) = (Rc::clone(&ended), Rc::clone(&finished));
    let mut bench = Bench::new(Node::builder("slow").get_async(
        "/slow",
        async move |cx, request| {
            let ends: bool = request.params()?;
            let _dropped = ends.then(|| Dropped(Rc::clone(&by_ended)));
            if ends {
                cx.end_with_caller();
            }
            cx.sleep(50 * MILLI).await;
            by_finished.set(by_finished.get() + 1);
            Ok(())
        },
    ));
    bench.start("GET", "/slow", &json!(true), DEADLINE);
    bench.start("GET", "/slow", &json!(false), DEADLINE);
    bench.turn_until(|bench| {
        let net = bench.reactor.net();
        bench.node.context(net).callers() == 1 && net.timers() >= 4
    });
    bench.client.context(bench.reactor.net()).stop();
    bench.turn_until(|_| ended.get() == 1);
    assert_eq!(finished.get(), 0);
    bench.turn_until(|_| finished.get() == 1);
}

#[test]
fn joins_calls_and_calls_all_nodes_with_a_name() {
    let mut bench = Bench::new(
        Node::builder("join")
            .get_async("/slow/{n}", async |cx, request| {
                let n: u64 = request.parsed_path_param("n")?;
                cx.sleep(Duration::from_millis(20 - n)).await;
                Ok(n)
            })
            .get_async("/join", async |cx, request| {
                let addr: SocketAddr = request.params()?;
                let call = |n: u64| cx.get(&format!("/slow/{n}")).to(addr);
                let (one, two) = join(call(1), call(2)).await;
                let all = join_all((3..6).map(call)).await;
                let mut numbers = vec![one?.results::<u64>()?, two?.results()?];
                for reply in all {
                    numbers.push(reply?.results()?);
                }
                Ok(numbers)
            })
            .get_async("/others", async |cx, _request| {
                Ok(cx.get("/x").to_all("other").await.len())
            })
            .get_async("/wait", async |cx, _request| {
                Ok(cx.wait_for(&[Route::get("/x")], MILLI).await)
            })
            .get_async("/with", async |cx, _request| {
                Ok(cx
                    .with(|cx| (cx.roster().members().len(), cx.is_ready()))
                    .await)
            }),
    );
    let addr = json!(bench.addr);
    let reply = bench.call("GET", "/join", &addr).unwrap();
    assert_eq!(reply.raw_results(), "[1,2,3,4,5]");
    assert_eq!(bench.get("/others"), "0");
    assert_eq!(bench.get("/wait"), "false");
    assert_eq!(bench.get("/with"), "[0,true]");
}

#[test]
fn limits_the_number_of_tasks() {
    let mut bench = Bench::new(
        Node::builder("few")
            .max_tasks(2)
            .get_async("/slow", async |cx, _request| {
                cx.sleep(20 * MILLI).await;
                Ok(())
            })
            .get_async("/spawn", async |cx, _request| {
                cx.spawn(async |_cx| Ok(()))?;
                cx.spawn(async |_cx| Ok(()))?;
                Ok(())
            }),
    );
    let answers: Vec<_> = (0..3)
        .map(|_| bench.start("GET", "/slow", &Value::Null, DEADLINE))
        .collect();
    bench.turn_until(|_| answers.iter().all(|answer| answer.borrow().is_some()));
    let is_busy =
        |answer: Answer| matches!(answer, Err(CallError::Refused(reply)) if reply.errorcode == 6);
    let busy = answers
        .into_iter()
        .filter(|answer| is_busy(answer.take().unwrap()));
    assert_eq!(busy.count(), 1);
    assert_eq!(bench.fail("/spawn", &Value::Null).0, 6);
    bench.get("/slow");
}

#[test]
fn wakes_tasks_from_other_threads() {
    let (send, receive) = std::sync::mpsc::channel::<std::task::Waker>();
    let is_done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = std::sync::Arc::clone(&is_done);
    let thread = std::thread::spawn(move || {
        let waker = receive.recv().unwrap();
        std::thread::sleep(10 * MILLI);
        done.store(true, std::sync::atomic::Ordering::Release);
        waker.wake();
    });
    let mut bench = Bench::new(Node::builder("woken").get_async(
        "/wait",
        async move |_cx, _request| {
            std::future::poll_fn(|cx| {
                if is_done.load(std::sync::atomic::Ordering::Acquire) {
                    return std::task::Poll::Ready(());
                }
                send.send(cx.waker().clone()).unwrap();
                std::task::Poll::Pending
            })
            .await;
            Ok(1)
        },
    ));
    let answer = bench.start("GET", "/wait", &Value::Null, DEADLINE);
    let until = Instant::now() + DEADLINE;
    while answer.borrow().is_none() {
        assert!(Instant::now() < until, "timed out");
        let all: &mut dyn Handler = &mut (&mut bench.node, &mut bench.client);
        bench.reactor.turn(Some(DEADLINE), all).unwrap();
    }
    thread.join().unwrap();
}

#[test]
fn refuses_what_cannot_be_registered_or_routed() {
    let error = |builder: Builder| {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        builder
            .build(reactor.net())
            .unwrap_err()
            .message()
            .to_owned()
    };
    let goods = || Node::builder("goods");
    let ok = |_cx: &mut pilcrow::node::ServiceContext<'_>,
              _request: &pilcrow::node::RoutedRequest<'_>| Ok(());
    for (builder, words) in [
        (goods().get("/", ok), ".catch_all()"),
        (goods().get("/{*rest}", ok), ".catch_all()"),
        (goods().get("/{id}", ok), ".catch_all()"),
        (goods().catch_all(), "catch_all() was called before a route"),
        (
            goods().get("/a", ok).get("goods", ok),
            "invalid route GETgoods: urls: not METHOD/path",
        ),
        (goods().get("/a/../b", ok), "urls: a segment .. in the path"),
        (
            goods().route("get", "/a", ok),
            "urls: the method is not in capitals",
        ),
        (goods().get("/a/{id", ok), "invalid route GET/a/{id"),
        (goods().get("/a", ok).get("/a", ok), "invalid route GET/a"),
        (Node::builder("a\nb"), "name has a control character"),
        (
            Node::builder("n".repeat(129)),
            "name too long: 129 bytes, at most 128",
        ),
        (goods().error_codes([100, 99]), "own codes start at 100"),
        (
            goods().listen("127.0.0.1"),
            "invalid address of the listener, \"127.0.0.1\": missing port",
        ),
        (
            goods().listen("no-such-host.invalid:9010"),
            "cannot resolve the address of the listener, no-such-host.invalid:9010",
        ),
        (
            goods().distributor("distributor"),
            "invalid address of the Distributor, \"distributor\": missing port",
        ),
        (
            goods().get("/a", ok).state(()),
            "state() was called after a handler",
        ),
    ] {
        let message = error(builder);
        assert!(message.contains(words), "{message}");
    }
    let mut bench = Bench::new(
        goods()
            .get("/{*rest}", |_cx, request| {
                Ok(request.path_param("rest").map(str::to_owned))
            })
            .catch_all(),
    );
    assert_eq!(bench.get("/a/b"), r#""a/b""#);

    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = goods().listen(addr).build(reactor.net()).unwrap_err();
    assert!(
        error
            .message()
            .contains(&format!("cannot listen on {addr}")),
        "{error}"
    );
}

#[test]
fn a_second_stop_does_not_wait_for_requests() {
    const HOUR: Duration = Duration::from_secs(3600);
    let stop = Stop::new();
    let from_handler = stop.clone();
    Node::builder("slow")
        .listen("127.0.0.1:0")
        .drain_timeout(HOUR)
        .get_async("/slow", async move |cx, _request| {
            from_handler.stop();
            let second = from_handler.clone();
            cx.spawn(async move |cx: TaskContext| {
                cx.sleep(10 * MILLI).await;
                second.stop();
                Ok(())
            })?;
            cx.sleep(HOUR).await;
            Ok(())
        })
        .on_start(|cx| {
            let addr = cx.local_addr().unwrap();
            cx.get("/slow")
                .to(addr)
                .timeout(HOUR)
                .then(|_cx, _result| {});
        })
        .run_until(stop)
        .unwrap();
}

#[test]
fn looks_up_names_of_its_address_and_of_distributors() {
    let mut reactor = Reactor::new(Limits::default()).unwrap();
    let config = distributor::Config::default();
    let mut distributor = Distributor::new(config);
    let addr = distributor
        .listen(reactor.net(), ([127, 0, 0, 1], 0).into())
        .unwrap();
    let accepted = Rc::new(Cell::new(false));
    let is_accepted = Rc::clone(&accepted);
    let mut node = Node::builder("named")
        .listen("localhost:0")
        // Looked up on a thread, and without an address.
        .distributor("no-such-host.invalid:9000")
        .distributor(format!("localhost:{}", addr.port()))
        .on_event(move |_cx, event| {
            if matches!(event, Event::Link(LinkState::Registered)) {
                accepted.set(true);
            }
        })
        .build(reactor.net())
        .unwrap();
    let listening = node.local_addr(reactor.net()).unwrap();
    assert_eq!(listening.ip().to_string(), "127.0.0.1");
    let until = Instant::now() + DEADLINE;
    while !is_accepted.get() {
        assert!(Instant::now() < until, "timed out");
        let all = &mut (&mut node, &mut distributor);
        reactor.turn(Some(10 * MILLI), all).unwrap();
    }
}

#[test]
fn runs_until_it_is_stopped() {
    let stop = Stop::new();
    let events = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&events);
    let from_thread = stop.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(10 * MILLI);
        from_thread.stop();
    });
    Node::builder("short")
        .listen("127.0.0.1:0")
        .on_event(move |_cx, event| seen.borrow_mut().push(format!("{event:?}")))
        .run_until(stop)
        .unwrap();
    thread.join().unwrap();

    // A handler stops it too; its own task of the background does not keep it.
    let ends = Rc::new(Cell::new(false));
    let started = Rc::clone(&ends);
    Node::builder("shorter")
        .on_start(move |cx| {
            cx.spawn(async move |cx| {
                started.set(true);
                cx.with(|cx| cx.shut_down(SECOND)).await;
                cx.sleep(Duration::from_secs(3600)).await;
                Ok(())
            })
            .unwrap();
        })
        .run_until(Stop::new())
        .unwrap();
    assert!(ends.get());
    assert!(
        !events
            .borrow()
            .iter()
            .any(|event| *event == format!("{:?}", Event::Link(LinkState::Lost)))
    );
}
