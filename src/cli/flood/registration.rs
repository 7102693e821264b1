//! What nodes of a run send to a Distributor.

use std::io::{self, Write};

/// How a node registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Registration {
    /// Not at all.
    Silent,
    /// Without a session.
    Plain,
    /// With a session that watches this.
    Session(&'static str),
}

/// What nodes of a kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) registration: Registration,
    /// They register without a port, and are not listed.
    pub(crate) unlisted: bool,
}

/// Joiners are there to be heard of, and watch nothing.
pub(crate) const JOINER: Profile = Profile {
    registration: Registration::Session("none"),
    unlisted: false,
};

/// Writes a registration, which has the same length for all nodes of a kind.
pub(crate) fn write(mut out: impl Write, name: &str, profile: Profile) -> io::Result<()> {
    out.write_all(br#"{"uri":"/distributes","method":"POST","key":1,"params":{"#)?;
    if !profile.unlisted {
        out.write_all(br#""port":9010,"#)?;
    }
    write!(out, r#""name":"{name}","urls":["GET/{name}"]}}"#)?;
    if let Registration::Session(watch) = profile.registration {
        write!(out, r#","session":{{"version":1,"watch":"{watch}"}}"#)?;
    }
    out.write_all(b"}")
}

/// Writes a heartbeat, or with the key `null` the acknowledgement of an update.
pub(crate) fn write_heartbeat(mut out: impl Write, key: &str, rev: Option<u64>) -> io::Result<()> {
    let head = r#"{"uri":"/distributes/heartbeat","method":"POST""#;
    let rev = rev.unwrap_or_default();
    write!(out, r#"{head},"key":{key},"session":{{"rev":{rev}}}}}"#)
}
