//! Packets to a Distributor, each as the text of a whole frame.

use std::fmt::Display;

use serde_json::{Value, json};

/// Appends the end of a frame to a packet.
pub fn frame(packet: impl Display) -> String {
    format!("{packet}¶")
}

/// A registration. `params` is sent unchanged, and null as `session` is left out.
pub fn registration(key: impl Display, params: impl Display, session: &Value) -> String {
    let session = match session {
        Value::Null => String::new(),
        session => format!(r#","session":{session}"#),
    };
    frame(format_args!(
        r#"{{"uri":"/distributes","method":"POST","key":{key},"params":{params}{session}}}"#
    ))
}

/// The session of a registration: what it watches, its instance, the epoch and the revision.
pub fn session(watch: &str, instance: Option<&str>, known: Option<(&str, u64)>) -> Value {
    let mut session = json!({"version": 1, "watch": watch});
    if let Some(instance) = instance {
        session["instance"] = instance.into();
    }
    if let Some((epoch, revision)) = known {
        session["epoch"] = epoch.into();
        session["rev"] = revision.into();
    }
    session
}

/// A heartbeat that acknowledges `revision`, and changes the subscription.
pub fn subscription(key: impl Display, revision: u64, only: &Value) -> String {
    frame(format_args!(
        r#"{{"uri":"/distributes/heartbeat","method":"POST","key":{key},"session":{{"rev":{revision},"only":{only}}}}}"#
    ))
}

/// A request for the list.
pub fn list_request(key: impl Display) -> String {
    frame(format_args!(
        r#"{{"uri":"/distributes","method":"GET","key":{key}}}"#
    ))
}

/// A heartbeat that acknowledges `revision`. Null as `key` asks for no reply.
pub fn heartbeat(key: impl Display, revision: u64) -> String {
    frame(format_args!(
        r#"{{"uri":"/distributes/heartbeat","method":"POST","key":{key},"session":{{"rev":{revision}}}}}"#
    ))
}
