//! Each limit, reached through a real socket, beside a node that must not be disturbed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Distributor, in_background, names, wait_until};

/// A registered node that stays within all limits.
struct Bystander(Client);

impl Bystander {
    fn join(distributor: &Distributor) -> Bystander {
        Bystander(distributor.join("bystander", 1))
    }

    /// Fails unless the node is still connected and listed, and receives changes.
    #[track_caller]
    fn assert_undisturbed(&mut self, distributor: &Distributor) {
        static PROBES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("probe-{}", PROBES.fetch_add(1, Ordering::Relaxed));
        let probe = distributor.join(&name, 1);
        let has_probe = |names: &[String]| names.contains(&name) && names[0] == "bystander";
        self.0.wait_for_list("the probe", has_probe);
        drop(probe);
        self.0
            .wait_for_list("no probe", |names| !names.contains(&name));
    }
}

/// Fails unless the client receives this errorcode and is then closed.
#[track_caller]
fn assert_refused(client: &mut Client, errorcode: u64) {
    let frames = client.read_to_end();
    let last = frames.last().expect("the reason is sent");
    assert_eq!(last["errorcode"], errorcode, "{last}");
}

fn get_of(bytes: usize) -> Vec<u8> {
    let bare = r#"{"uri":"/distributes","method":"GET","key":"query","pad":""}"#;
    bare.replace(
        "\"\"}",
        &format!("\"{}\"}}", "x".repeat(bytes - bare.len())),
    )
    .into_bytes()
}

/// Params of this length, with this name.
fn params_of(name: &str, bytes: usize) -> Value {
    let mut params = json!({"port": 1, "name": name, "pad": ""});
    params["pad"] = "x".repeat(bytes - params.to_string().len()).into();
    params
}

/// Reads up to the first frame that contains `needle`. Returns the number of frames read.
#[track_caller]
fn read_to(client: &mut Client, needle: &str) -> usize {
    (1..)
        .find(|_| {
            client
                .next_text()
                .expect("the connection is open")
                .contains(needle)
        })
        .unwrap()
}

/// Returns the resident memory, in KiB.
fn memory_of(distributor: &Distributor) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", distributor.program.pid()));
    let status = status.unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn rejects_a_frame_one_byte_too_large_before_its_end() {
    for (flags, limit) in [(&[][..], 65536), (&["--max-frame-bytes", "1000"], 1000)] {
        let distributor = Distributor::start(flags);
        let mut bystander = Bystander::join(&distributor);

        let mut fits = distributor.connect();
        let whole = [&get_of(limit)[..], "¶".as_bytes()].concat();
        fits.send_raw(&whole);
        assert_eq!(fits.next()["key"], "query");
        // White space before a frame and half a frame end after it do not count.
        fits.send_raw([b' '; 2000]);
        fits.send_raw(&whole[..limit + 1]);
        bystander.assert_undisturbed(&distributor);
        fits.send_raw(&whole[limit + 1..]);
        assert_eq!(fits.next()["key"], "query");

        for piece in [limit + 1, 700] {
            let mut over = distributor.connect();
            for piece in get_of(limit + 1).chunks(piece) {
                over.send_raw(piece);
            }
            assert_refused(&mut over, 4);
        }
        distributor
            .program
            .wait_for_log(&["WARN", "closed", "too large"]);
        fits.request_list();
        bystander.assert_undisturbed(&distributor);
    }
}

#[test]
fn measures_a_frame_alike_in_one_piece_and_in_two() {
    let distributor = Distributor::start(&["--max-frame-bytes", "1000"]);
    let mut bystander = Bystander::join(&distributor);
    for padding in [100, 949, 950, 1500] {
        let frame = [&get_of(70)[..], &vec![b' '; padding], "¶".as_bytes()].concat();
        let mut outcome = |cut: usize| {
            let mut client = distributor.connect();
            let (head, tail) = frame.split_at(cut);
            client.send_raw(head);
            bystander.0.request_list();
            client.send_raw(tail);
            match client.next_text() {
                Some(text) => text.contains("query"),
                None => false,
            }
        };
        let (whole, cut) = (outcome(frame.len()), outcome(frame.len() - 1));
        assert_eq!(
            whole, cut,
            "{padding} bytes of white space after a frame of 70"
        );
    }
}

#[test]
fn limits_the_time_of_a_frame_that_trickles_in() {
    let distributor = Distributor::start(&["--frame-timeout", "300ms"]);
    let mut bystander = Bystander::join(&distributor);
    let mut slow = distributor.connect();
    let mut stream = slow.stream.try_clone().unwrap();
    let dribbled = in_background(move || {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until && stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_refused(&mut slow, 7);
    dribbled.recv_timeout(DEADLINE).unwrap();
    distributor
        .program
        .wait_for_log(&["WARN", "closed", "not completed in time"]);
    bystander.assert_undisturbed(&distributor);
}

#[test]
fn closes_only_silent_connections_after_the_first_byte_timeout() {
    // Long enough for the first bytes of the others to be read in time on a busy machine.
    let distributor = Distributor::start(&["--first-byte-timeout", "2s"]);
    let mut brief = Client::connect(distributor.addr);
    brief.send(&json!({"errorcode": 0}));
    let mut bystander = Client::connect(distributor.addr);
    bystander.register("bystander", 1);
    let mut silent = distributor.connect();
    assert_refused(&mut silent, 7);
    distributor
        .program
        .wait_for_log(&["WARN", "closed", "nothing received"]);
    brief.request_list();
    Bystander(bystander).assert_undisturbed(&distributor);
}

#[test]
fn limits_the_size_of_a_registration() {
    let name = |name: String| json!({"port": 1, "name": name});
    let urls = |count: usize, bytes: usize| {
        let url = format!("GET/{}", "x".repeat(bytes - 4));
        json!({"port": 1, "name": "node", "urls": vec![url; count]})
    };
    let params = |bytes| params_of("node", bytes);
    for (flags, fits, too_much) in [
        (&[][..], name("n".repeat(128)), name("n".repeat(129))),
        (
            &["--max-name-bytes", "10"],
            name("ööööö".into()),
            name("ööööö1".into()),
        ),
        (&[], urls(256, 5), urls(257, 5)),
        (&["--max-urls", "2"], urls(2, 5), urls(3, 5)),
        (&[], urls(3, 2048), urls(3, 2049)),
        (&["--max-url-bytes", "13"], urls(3, 13), urls(3, 14)),
        (&[], params(16384), params(16385)),
        (
            &["--max-registration-bytes", "100"],
            params(100),
            params(101),
        ),
    ] {
        let distributor = Distributor::start(flags);
        let mut bystander = Bystander::join(&distributor);
        let mut client = distributor.connect();
        client.post(&fits);
        let listed = vec!["bystander", fits["name"].as_str().unwrap()];
        assert_eq!(client.next_list(), listed);
        assert_eq!(bystander.0.next_list(), listed);

        let mut joiner = distributor.connect();
        joiner.post(&too_much);
        assert_refused(&mut joiner, 4);
        // A registered client keeps its entry.
        client.post(&too_much);
        assert_eq!(client.next_errorcode(), 4);
        client.send(&json!({"uri": "/distributes", "method": "GET", "key": 1}));
        assert_eq!(client.next_list(), listed);
        drop(client);
        assert_eq!(bystander.0.next_list(), ["bystander"]);
        distributor
            .program
            .wait_for_log(&["WARN", "packet rejected", "errorcode=4"]);
        bystander.assert_undisturbed(&distributor);
    }
}

#[test]
fn limits_the_depth_of_params() {
    let distributor = Distributor::start(&["--max-depth", "3"]);
    let mut bystander = Bystander::join(&distributor);
    let mut client = distributor.connect();
    client.post(&json!({"port": 1, "name": "deep", "x": [{"y": [1]}]}));
    assert_eq!(client.next_errorcode(), 1);
    client.post(&json!({"port": 1, "name": "deep", "x": [{"y": 1}]}));
    assert_eq!(client.next_list(), ["bystander", "deep"]);
    bystander.assert_undisturbed(&distributor);
}

#[test]
fn rejects_registrations_when_the_registry_is_full() {
    let entry = r#"{"port":1,"name":"bystander","urls":["GET/bystander"],"host":"127.0.0.1"},"#;
    let bytes = (entry.len() * 2).to_string();
    for flags in [["--max-entries", "2"], ["--max-list-bytes", &bytes]] {
        let distributor = Distributor::start(&flags);
        let mut bystander = Bystander::join(&distributor);
        let second = distributor.join("second---", 1);
        for _ in 0..3 {
            let mut joiner = distributor.connect();
            joiner.register("third----", 1);
            assert_refused(&mut joiner, 4);
        }
        distributor
            .program
            .wait_for_log(&["WARN", "packet rejected", "errorcode=4"]);
        drop(second);
        bystander
            .0
            .wait_for_list("room", |names| names == ["bystander"]);
        // A registered node can register anew although there is no room for others.
        bystander.0.register("bystander", 1);
        bystander.assert_undisturbed(&distributor);
    }
}

#[test]
fn refuses_connections_beyond_the_limit_with_a_reason() {
    let distributor = Distributor::start(&["--max-connections", "3"]);
    let mut bystander = Bystander::join(&distributor);
    let mut others = [distributor.join("a", 1), distributor.join("b", 1)];
    // More are refused at once than receive a reason.
    let mut crowd: Vec<Client> = (0..50).map(|_| Client::connect(distributor.addr)).collect();
    let refused_with_reason = crowd.iter_mut().map(Client::read_to_end).filter(|frames| {
        assert!(
            frames.iter().all(|frame| frame["errorcode"] == 6),
            "{frames:?}"
        );
        frames.len() == 1
    });
    assert!(refused_with_reason.count() > 0);
    drop(crowd);
    distributor
        .program
        .wait_for_log(&["WARN", "connections refused", "limit=3"]);
    for other in &mut others {
        other.request_list();
    }
    drop(others);
    bystander
        .0
        .wait_for_list("room", |names| names == ["bystander"]);
    wait_until("a new one to be accepted", || {
        let mut client = Client::connect(distributor.addr);
        client
            .next_text()
            .is_some_and(|text| text.contains("params"))
    });
    bystander.0.request_list();
}

#[test]
fn closes_clients_whose_unread_replies_exceed_the_limit() {
    let distributor = Distributor::start(&["--max-unsent-bytes", "20000"]);
    let mut bystander = Bystander::join(&distributor);
    let mut deaf = Client::connect_narrow(distributor.addr);
    // The reply repeats the key.
    let packet = json!({"uri": "/nothing", "method": "GET", "key": "x".repeat(10_000)});
    let until = Instant::now() + DEADLINE;
    let is_closed =
        |line: &String| line.contains("closed") && line.contains("too much unsent data");
    while !distributor.program.stderr().iter().any(is_closed) {
        assert!(Instant::now() < until, "it was never closed");
        deaf.send(&packet);
    }
    distributor.program.wait_for_log(&[
        "WARN",
        "too much unsent data",
        &deaf.local_port().to_string(),
    ]);
    bystander.assert_undisturbed(&distributor);
}

/// Returns a client that is registered with a long entry and reads nothing more.
fn deaf_node(distributor: &Distributor, bytes: usize) -> Client {
    let mut deaf = Client::connect_narrow(distributor.addr);
    deaf.post(&params_of("deaf", bytes));
    read_to(&mut deaf, "deaf");
    deaf
}

#[test]
fn closes_clients_that_stop_reading_without_delaying_pushes_to_others() {
    let distributor = Distributor::start(&["--write-timeout", "500ms"]);
    let mut bystander = Bystander::join(&distributor);
    let deaf = deaf_node(&distributor, 15_000);
    let mut changing = distributor.connect();
    let until = Instant::now() + DEADLINE;
    let is_closed = |line: &String| line.contains("WARN") && line.contains("peer stopped reading");
    for revision in 0.. {
        let name = format!("revision-{revision}.");
        changing.post(&params_of(&name, 15_000));
        for client in [&mut changing, &mut bystander.0] {
            read_to(client, &name);
        }
        if distributor.program.stderr().iter().any(is_closed) {
            break;
        }
        assert!(Instant::now() < until, "it was never closed");
    }
    distributor.program.wait_for_log(&[
        "WARN",
        "peer stopped reading",
        &deaf.local_port().to_string(),
    ]);
    changing.register("last", 1);
    bystander
        .0
        .wait_for_list("no deaf", |names| names == ["bystander", "last"]);
    bystander.assert_undisturbed(&distributor);
}

#[test]
fn keeps_at_most_one_list_for_a_node_that_never_reads() {
    let flags = [
        "--write-timeout",
        "10m",
        "--max-registration-bytes",
        "60000",
    ];
    let distributor = Distributor::start(&flags);
    let mut bystander = Bystander::join(&distributor);
    let deaf = deaf_node(&distributor, 60_000);
    let mut changing = distributor.connect();
    let mut change = |revisions: std::ops::Range<usize>| {
        for revision in revisions {
            let name = format!("revision-{revision}.");
            changing.post(&params_of(&name, 60_000));
            read_to(&mut changing, &name);
            read_to(&mut bystander.0, &name);
        }
        memory_of(&distributor)
    };
    let before = change(0..100);
    let after = change(100..500);
    // Each of these 400 lists was 120 kB.
    assert!(after < before + 12_000, "{before} KiB, then {after} KiB");
    drop(deaf);
    bystander
        .0
        .wait_for_list("no deaf", |names| names.len() == 2);
    bystander.assert_undisturbed(&distributor);
}

#[test]
fn serves_more_connections_than_one_turn_accepts() {
    let distributor = Distributor::start(&["--max-accepts-per-turn", "2"]);
    let mut bystander = Bystander::join(&distributor);
    distributor.program.freeze();
    let mut crowd: Vec<Client> = (0..100)
        .map(|_| Client::connect(distributor.addr))
        .collect();
    distributor.program.thaw();
    for client in &mut crowd {
        assert_eq!(client.next_list(), ["bystander"]);
    }
    bystander.assert_undisturbed(&distributor);
}

#[test]
fn serves_a_flood_of_requests_without_delaying_others() {
    let small_turns = [
        "--max-frames-per-turn",
        "1",
        "--max-read-bytes-per-turn",
        "512",
    ];
    for flags in [&[][..], &small_turns] {
        flood(&Distributor::start(flags));
    }
}

fn flood(distributor: &Distributor) {
    let mut bystander = Bystander::join(distributor);
    let flood = distributor.connect();
    let mut sender = flood.stream.try_clone().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let is_over_here = Arc::clone(&is_over);
    let answered = Arc::new(AtomicU64::new(0));
    let answered_so_far = Arc::clone(&answered);
    let sent = in_background(move || {
        let mut sent = 0_u64;
        while !is_over_here.load(Ordering::Relaxed) || sent < 5000 {
            // There is always more to do, but too few unread replies to be closed for.
            if sent - answered_so_far.load(Ordering::Relaxed) > 2000 {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            let frames: String = (sent..sent + 100)
                .map(|key| format!("{{\"key\":{key}}}¶"))
                .collect();
            sender.write_all(frames.as_bytes()).unwrap();
            sent += 100;
        }
        sender
            .write_all(r#"{"uri":"/distributes","method":"GET","key":"end"}¶"#.as_bytes())
            .unwrap();
        sent
    });
    let all_answered = in_background(move || {
        let mut flood = flood;
        loop {
            let answer = flood.next();
            if answer["key"] == "end" {
                return (answered.load(Ordering::Relaxed), names(&answer));
            }
            let number = answered.fetch_add(1, Ordering::Relaxed);
            let read = (&answer["key"], &answer["errorcode"]);
            assert_eq!(read, (&json!(number), &json!(2)));
        }
    });

    // Meanwhile others register, and receive each other's entries.
    for _ in 0..10 {
        bystander.assert_undisturbed(distributor);
    }
    is_over.store(true, Ordering::Relaxed);
    let sent = sent.recv_timeout(DEADLINE).unwrap();
    let (answered, listed) = all_answered.recv_timeout(DEADLINE).unwrap();
    assert_eq!((answered, listed), (sent, vec!["bystander".to_owned()]));
    bystander.assert_undisturbed(distributor);
}

#[test]
fn pushes_changes_while_clients_request_lists_without_pause() {
    let flags = ["--max-frame-bytes", "700000"];
    let room = ["--max-registration-bytes", "600000"];
    let distributor = Distributor::start(&[flags, room].concat());
    let mut bystander = distributor.connect();
    bystander.post(&params_of("bystander", 500_000));
    bystander.wait_for_list("itself", |names| names == ["bystander"]);

    let addr = distributor.addr;
    let request_lists = move || -> std::io::Result<()> {
        const GETS: usize = 20;
        let get = r#"{"uri":"/distributes","method":"GET","key":1}¶"#;
        let mut stream = TcpStream::connect(addr)?;
        let mut bytes = vec![0; 1 << 18];
        loop {
            stream.write_all(get.repeat(GETS).as_bytes())?;
            let mut left = GETS * 500_000;
            while left > 0 {
                match stream.read(&mut bytes)? {
                    0 => return Ok(()),
                    count => left = left.saturating_sub(count),
                }
            }
        }
    };
    for _ in 0..40 {
        // Until the Distributor ends.
        thread::spawn(request_lists);
    }
    for number in 0..4 {
        let name = format!("node-{number}");
        let mut node = distributor.connect();
        node.register(&name, 1);
        for client in [&mut node, &mut bystander] {
            read_to(client, &name);
        }
    }
}
