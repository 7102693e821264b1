//! Packets that are written can be read again, and reading any bytes does no harm.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::script::Script;
use pilcrow::fuzzing::{
    Applied, DrainRequest, Packet, Refusal, Registered, SessionRequest, Stamp, Update, Watch,
    key_of_request, listed_node, refusal, write_delta, write_draining, write_error,
    write_error_reply, write_list, write_reply, write_request, write_session_list,
};
use pilcrow::protocol::{Drained, ErrorCode, Reply, Route, Token, TraceContext};
use pilcrow::reactor::SharedFrame;

/// The input is read as a packet of every kind, and then decides the content of written packets.
pub fn packets(input: &[u8]) {
    read_anything(input);
    let mut script = Script::new(input);
    let (uri, method) = (script.text(), script.text());
    let params = value(&mut script, 0);
    let key = u64::from(script.byte());
    let deadline = (script.pick(2) == 1).then(|| u64::from(script.byte()) << script.pick(56));

    let frame = frame(|out| {
        let route = Route::new(&*method, &*uri);
        write_request(out, &route, key, deadline, &params)
            .expect("writing to memory does not fail");
    });
    let packet = Packet::parse(&frame).expect("a request is a packet");
    assert_eq!(packet.uri().as_deref(), Some(&*uri));
    assert_eq!(packet.method().as_deref(), Some(&*method));
    assert_eq!(packet.deadline_ms(), deadline);
    assert_eq!(
        packet.params().map(parsed),
        Some(params.clone()).filter(|it| !it.is_null())
    );
    let raw_key = key_of_request(packet.key(), packet.params());
    assert_eq!(raw_key, key.to_string());

    let refusal = refusal(script.one_of(&CODES), script.text());
    for (packet, with_key) in [(packet, true), (Packet::default(), false)] {
        let text = self::frame(|out| {
            write_error(out, &packet, &refusal).expect("writing to memory does not fail");
        });
        let reply = Reply::parse(&text).expect("an error is a reply");
        assert_eq!(reply.key(), with_key.then_some(key));
        assert_eq!(reply.errorcode, refusal.code as i64);
        assert_eq!(reply.message(), refusal.message);
    }
    replies(raw_key, key, &params, &refusal);
    sessions(&mut script);
    updates(&mut script);
}

const CODES: [ErrorCode; 3] = [ErrorCode::NotFound, ErrorCode::TooMuch, ErrorCode::Busy];

fn read_anything(input: &[u8]) {
    if let Ok(packet) = Packet::parse(input) {
        let value: Option<Value> = serde_json::from_slice(input).ok();
        assert!(value.is_none_or(|value| value.is_object()));
        let _ = (packet.uri(), packet.method(), packet.deadline_ms());
        if let Some(trace) = packet.trace() {
            let parent = TraceContext::parse(trace.traceparent()).expect("it is valid");
            let state = trace.tracestate().unwrap_or_default();
            assert_eq!(parent.with_state(state), trace, "it is passed on unchanged");
        }
        let _ = key_of_request(packet.key(), packet.params());
        let _ = Applied::parse(packet.session());
        let _ = DrainRequest::parse(packet.params());
        let _ = packet.session().map(SessionRequest::parse);
        let _ = packet.params().map(listed_node);
        let refusal = refusal(ErrorCode::NotFound, "no");
        let frame = frame(|out| {
            write_error(out, &packet, &refusal).expect("writing to memory does not fail")
        });
        assert!(Reply::parse(&frame).is_some(), "an error is JSON");
    }
    let _ = Update::parse(input);
    let _ = Reply::parse(input).map(|reply| (reply.key(), reply.message().len()));
}

fn replies(raw_key: &str, key: u64, params: &Value, refusal: &Refusal) {
    let text =
        frame(|out| write_reply(out, raw_key, params).expect("writing to memory does not fail"));
    let reply = Reply::parse(&text).expect("a reply");
    assert_eq!((reply.key(), reply.errorcode), (Some(key), 0));
    assert_eq!(
        serde_json::from_str::<Value>(reply.raw_results()).ok(),
        Some(params.clone())
    );

    let text = frame(|out| {
        let written = write_error_reply(out, raw_key, refusal.code, &refusal.message);
        written.expect("writing to memory does not fail");
    });
    let reply = Reply::parse(&text).expect("an error reply");
    assert_eq!(
        (reply.key(), reply.errorcode),
        (Some(key), refusal.code as i64)
    );
    assert_eq!(reply.message(), refusal.message);
}

fn sessions(script: &mut Script<'_>) {
    let number = |script: &mut Script<'_>| u64::from(script.byte()) << script.pick(56);
    let some = |script: &mut Script<'_>| (script.pick(2) == 1).then(|| script.text());
    let request = SessionRequest {
        version: 1,
        watch: script.one_of(&[Watch::None, Watch::List, Watch::Delta]),
        instance: (script.pick(2) == 1).then(|| format!("{:x}", script.byte()).into()),
        epoch: some(script).map(Into::into),
        rev: (script.pick(2) == 1).then(|| number(script)),
        token: some(script).map(Token::from),
        only: None,
    };
    let text = serde_json::to_string(&request).expect("it is JSON");
    let raw = RawValue::from_string(text).expect("it is JSON");
    assert_eq!(SessionRequest::parse(&raw), Ok(request));

    let registered = Registered {
        features: Vec::new(),
        only: None,
        id: number(script),
        epoch: script.text().into(),
        rev: number(script),
        heartbeat_ms: number(script),
    };
    let text = frame(|out| {
        write_reply(out, "null", &registered).expect("writing to memory does not fail")
    });
    let reply = Reply::parse(&text).expect("a reply");
    let read = serde_json::from_str::<Registered<'_>>(reply.raw_results());
    assert_eq!(read.ok(), Some(registered));

    let drained = Drained {
        rev: number(script),
        acked: number(script),
        total: number(script),
        unacknowledged: vec![number(script); script.pick(3)],
        untracked: number(script),
    };
    let text =
        frame(|out| write_reply(out, "null", &drained).expect("writing to memory does not fail"));
    let reply = Reply::parse(&text).expect("a reply");
    assert_eq!(
        serde_json::from_str::<Drained>(reply.raw_results()).ok(),
        Some(drained)
    );
}

fn updates(script: &mut Script<'_>) {
    let entries: Vec<(u64, Value)> = (0..script.pick(4))
        .map(|_| (u64::from(script.byte()), value(script, 0)))
        .collect();
    let write_entries = |out: &mut Vec<u8>| {
        let texts: Vec<String> = entries.iter().map(|(_, entry)| entry.to_string()).collect();
        out.extend_from_slice(texts.join(",").as_bytes());
    };
    let write_ids = |out: &mut Vec<u8>| {
        let texts: Vec<String> = entries.iter().map(|(id, _)| id.to_string()).collect();
        out.extend_from_slice(texts.join(",").as_bytes());
    };
    let all = |raw: Vec<&RawValue>| raw.into_iter().map(parsed).collect::<Vec<Value>>();
    let (ids, values): (Vec<u64>, Vec<Value>) = entries.iter().cloned().unzip();
    let (from, rev) = (u64::from(script.byte()), u64::from(script.byte()));
    let (ack, complete) = (script.pick(2) == 1, script.pick(2) == 1);
    let stamp = Stamp {
        epoch: "e1",
        rev,
        ack,
    };

    let text = frame(|out| write_list(out, "0", write_entries));
    match Update::parse(&text) {
        Some(Update::List {
            entries,
            session: None,
        }) => assert_eq!(all(entries), values),
        other => panic!("a list: {other:?}"),
    }
    let text = frame(|out| {
        write_session_list(out, "0", stamp, complete, write_entries, write_ids, |_| {})
    });
    match Update::parse(&text) {
        Some(Update::List {
            entries,
            session: Some(session),
        }) => {
            assert_eq!(all(entries), values);
            assert_eq!(
                (&*session.epoch, session.rev, session.ack),
                ("e1", rev, ack)
            );
            assert_eq!(
                (session.complete, session.ids),
                (Some(complete), ids.clone())
            );
        }
        other => panic!("a list with a session: {other:?}"),
    }
    let left = ids.iter().map(|id| (*id, "closed"));
    let text = frame(|out| write_delta(out, stamp, from, write_entries, left, write_ids, |_| {}));
    match Update::parse(&text) {
        Some(Update::Delta {
            joined,
            left,
            session,
        }) => {
            assert_eq!(all(joined), values);
            assert_eq!(left.iter().map(|left| left.id).collect::<Vec<u64>>(), ids);
            assert_eq!(
                (session.from, session.rev, session.ids),
                (Some(from), rev, ids)
            );
        }
        other => panic!("a delta: {other:?}"),
    }
    let text = frame(|out| write_draining(out, rev).expect("writing to memory does not fail"));
    match Update::parse(&text) {
        Some(Update::Draining { retry_after_ms }) => assert_eq!(retry_after_ms, Some(rev)),
        other => panic!("a planned stop: {other:?}"),
    }
}

/// Writes a packet as one frame, and checks that it has one end.
fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let frame = SharedFrame::new(write);
    let sent = frame
        .as_bytes()
        .strip_suffix("¶".as_bytes())
        .expect("it ends");
    assert!(
        !sent.windows(2).any(|pair| pair == "¶".as_bytes()),
        "it ends twice"
    );
    sent.to_vec()
}

fn parsed(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).expect("it is JSON")
}

fn value(script: &mut Script<'_>, depth: usize) -> Value {
    match script.pick(if depth < 4 { 7 } else { 5 }) {
        0 => Value::Null,
        1 => json!(script.pick(2) == 1),
        2 => json!(i64::from(script.byte()) - 128),
        3 => json!(f64::from(script.byte()) / 4.0),
        4 => json!(script.text()),
        5 => (0..script.pick(4))
            .map(|_| value(script, depth + 1))
            .collect(),
        _ => {
            let fields = (0..script.pick(4)).map(|_| (script.text(), value(script, depth + 1)));
            Value::Object(fields.collect())
        }
    }
}
