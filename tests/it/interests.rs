//! Nodes that know only what they call: a Distributor and its nodes on one reactor.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pilcrow::distributor::{Config, Distributor};
use pilcrow::node::{Builder, CallError, Event, Interest, Node, Routes, TaskContext};
use pilcrow::protocol::{Route, Subscription};
use pilcrow::reactor::{Handler, Limits, Reactor};

use crate::support::DEADLINE;

const MILLI: Duration = Duration::from_millis(1);

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Reports of the nodes, as text.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl ToString) {
        self.0.borrow_mut().push(note.to_string());
    }

    fn take(&self) -> Vec<String> {
        let mut notes = self.0.take();
        notes.sort();
        notes
    }
}

struct Town {
    reactor: Reactor,
    distributor: Distributor,
    addr: SocketAddr,
    workers: Vec<Node<Routes>>,
}

impl Town {
    /// Returns a Distributor with two nodes named `goods`, and one named `stock`.
    fn new(notes: &Notes) -> Town {
        let mut reactor = Reactor::new(Limits::default()).unwrap();
        let mut distributor = Distributor::new(Config::default().warm_up(100 * MILLI));
        let addr = distributor.listen(reactor.net(), any_port()).unwrap();
        let workers = Vec::new();
        let mut town = Town {
            reactor,
            distributor,
            addr,
            workers,
        };
        for number in 0..2 {
            let notes = notes.clone();
            let goods = Node::builder("goods")
                .get("/goods/{id}", |_cx, request| {
                    Ok(request.path_param("id").unwrap().len())
                })
                .post("/note", move |cx, request| {
                    notes.add(format!("note {}", request.raw_params()));
                    Ok(cx.no_reply())
                });
            town.add(goods.get(&format!("/goods/{number}/own"), |_cx, _request| Ok(())));
        }
        town.add(Node::builder("stock").get("/stock", |_cx, _request| Ok(7)));
        town.turn_until(|town| {
            let mut nodes = town.workers.iter_mut();
            nodes.all(|node| node.context(town.reactor.net()).is_ready())
        });
        town
    }

    fn add(&mut self, builder: Builder) {
        let builder = builder.listen(any_port()).distributor(self.addr);
        self.workers
            .push(builder.build(self.reactor.net()).unwrap());
    }

    /// Turns until `done`.
    #[track_caller]
    fn turn_until(&mut self, mut done: impl FnMut(&mut Town) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < until, "timed out");
            self.turn();
        }
    }

    fn turn(&mut self) {
        let all: &mut dyn Handler = &mut (&mut self.distributor, &mut self.workers);
        self.reactor.turn(Some(MILLI), all).unwrap();
    }

    /// Returns the names of the nodes that the newest node knows.
    fn known(&mut self) -> Vec<String> {
        let node = self.workers.last_mut().unwrap();
        let cx = node.context(self.reactor.net());
        let mut names: Vec<String> = cx
            .roster()
            .members()
            .map(|member| member.node.name.clone())
            .collect();
        names.sort();
        names
    }
}

/// Returns a node that only calls others, and notes the nodes that join.
fn client(notes: &Notes) -> Builder {
    let notes = notes.clone();
    Node::builder("client").on_event(move |_cx, event| {
        if let Event::Joined(member) = event {
            notes.add(format!("joined {}", member.node.name));
        }
    })
}

#[test]
fn knows_only_the_nodes_that_it_calls() {
    let notes = Notes::default();
    let mut town = Town::new(&notes);
    let of_task = notes.clone();
    // The first call is made before the node is registered.
    town.add(client(&notes).on_start(move |cx| {
        let task = async move |cx: TaskContext| {
            let length: usize = cx.get("/goods/seven").await?.results()?;
            of_task.add(format!("length {length}"));
            let none = cx.get("/none").await.unwrap_err();
            assert!(matches!(none, CallError::Unavailable), "{none}");
            of_task.add("none: unavailable");
            Ok(())
        };
        cx.spawn(task).unwrap();
    }));
    let mut expected = [
        "joined goods",
        "joined goods",
        "length 5",
        "none: unavailable",
    ];
    expected.sort();
    town.turn_until(|_| notes.0.borrow().len() >= 4);
    assert_eq!(notes.take(), expected);
    assert_eq!(town.known(), ["goods", "goods"]);

    // Nodes that join later are known as well, if they match.
    town.add(Node::builder("more").get("/goods/{id}/more", |_cx, _request| Ok(1)));
    town.add(Node::builder("unrelated").get("/unrelated", |_cx, _request| Ok(1)));
    let newest = town.workers.len() - 3;
    let client = town.workers.remove(newest);
    town.workers.push(client);
    town.turn_until(|town| town.known().len() == 3);
    assert_eq!(town.known(), ["goods", "goods", "more"]);
    assert_eq!(notes.take(), ["joined more"]);
}

#[test]
fn calls_of_a_name_and_notifications_wait_for_its_nodes() {
    let notes = Notes::default();
    let mut town = Town::new(&notes);
    let (of_then, of_task) = (notes.clone(), notes.clone());
    town.add(client(&Notes::default()).on_start(move |cx| {
        assert_eq!(cx.notify("goods", &Route::post("/note"), &1), 0);
        cx.get("/goods/x").to_all("goods").then(move |_cx, all| {
            of_then.add(format!(
                "then {}",
                all.iter().filter(|(_, result)| result.is_ok()).count()
            ));
        });
        let task = async move |cx: TaskContext| {
            let all = cx.get("/stock").to_all("stock").await;
            of_task.add(format!(
                "task {}",
                all.iter().filter(|(_, result)| result.is_ok()).count()
            ));
            let all = cx.get("/x").to_all("none").await;
            of_task.add(format!("none {}", all.len()));
            Ok(())
        };
        cx.spawn(task).unwrap();
    }));
    town.turn_until(|_| notes.0.borrow().len() >= 5);
    assert_eq!(
        notes.take(),
        ["none 0", "note 1", "note 1", "task 1", "then 2"]
    );
}

#[test]
fn waits_for_routes_that_are_served_later() {
    let notes = Notes::default();
    let mut town = Town::new(&notes);
    let of_task = notes.clone();
    town.add(client(&Notes::default()).on_start(move |cx| {
        let task = async move |cx: TaskContext| {
            let routes = [Route::get("/stock"), Route::get("/late")];
            of_task.add(cx.wait_for(&routes, DEADLINE).await);
            Ok(())
        };
        cx.spawn(task).unwrap();
    }));
    town.turn_until(|town| town.known() == ["stock"]);
    town.add(Node::builder("late").get("/late", |_cx, _request| Ok(1)));
    town.turn_until(|_| !notes.0.borrow().is_empty());
    assert_eq!(notes.take(), ["true"]);
}

#[test]
fn a_fixed_interest_is_all_that_a_node_knows() {
    let notes = Notes::default();
    let mut town = Town::new(&notes);
    let only = Subscription::new()
        .names(["stock"])
        .prefixes(["GET/goods/1"]);
    for (interest, expected) in [
        (Interest::All, &["goods", "goods", "stock"][..]),
        (Interest::Only(only), &["goods", "stock"]),
        (Interest::Only(Subscription::new()), &[]),
    ] {
        town.add(client(&Notes::default()).subscribe(interest));
        let complete = |town: &mut Town| {
            let node = town.workers.last_mut().unwrap();
            let cx = node.context(town.reactor.net());
            cx.roster().is_complete() && cx.roster().updated_at().is_some()
        };
        town.turn_until(complete);
        let mut known = town.known();
        known.retain(|name| name != "client");
        assert_eq!(known, expected);
    }
}

#[test]
fn knows_all_nodes_after_too_many_calls() {
    let notes = Notes::default();
    let mut town = Town::new(&notes);
    let of_task = notes.clone();
    town.add(client(&Notes::default()).on_start(move |cx| {
        let task = async move |cx: TaskContext| {
            for number in 0..300 {
                let none = cx.get(&format!("/none/{number}")).await;
                assert!(none.is_err());
                let path = format!("/{number}");
                assert!(cx.get(&path).await.is_err());
            }
            let stock: u32 = cx.get("/stock").await?.results()?;
            of_task.add(stock);
            Ok(())
        };
        cx.spawn(task).unwrap();
    }));
    town.turn_until(|_| !notes.0.borrow().is_empty());
    assert_eq!(notes.take(), ["7"]);
    assert_eq!(town.known(), ["client", "goods", "goods", "stock"]);
}
