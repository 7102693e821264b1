//! The nodes of a run: their names, and what they send to a Distributor.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Member(usize),
    Joiner(usize),
}

/// The names of this run's nodes: unlike those of all others, and all of the same length.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new() -> Names {
        let random = RandomState::new().build_hasher().finish();
        Names {
            prefix: format!("flood-{:06x}-", random & 0xff_ffff),
        }
    }

    pub(crate) fn of(&self, node: Node) -> String {
        let (letter, number) = match node {
            Node::Member(number) => ('w', number),
            Node::Joiner(number) => ('j', number),
        };
        format!("{}{letter}{number:08}", self.prefix)
    }

    pub(crate) fn parse(&self, name: &str) -> Option<Node> {
        let (letter, number) = name.strip_prefix(&self.prefix)?.split_at_checked(1)?;
        let number = number.parse().ok()?;
        match letter {
            "w" => Some(Node::Member(number)),
            "j" => Some(Node::Joiner(number)),
            _ => None,
        }
    }
}

/// How nodes register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Watch {
    /// Without a session: whole lists
    Plain,
    /// With a session: whole lists
    List,
    /// With a session: what changed
    Delta,
    /// With a session: nothing.
    #[value(skip)]
    Nothing,
}

/// What nodes of a kind have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// `None` if they do not register.
    pub(crate) watch: Option<Watch>,
    /// They register without a port, and are not listed.
    pub(crate) unlisted: bool,
}

/// Joiners are there to be heard of, and watch nothing.
pub(crate) const JOINER: Profile = Profile {
    watch: Some(Watch::Nothing),
    unlisted: false,
};

impl Profile {
    /// Returns what they watch in their sessions, if they have one.
    pub(crate) fn session(self) -> Option<&'static str> {
        match self.watch? {
            Watch::Plain => None,
            Watch::List => Some("list"),
            Watch::Delta => Some("delta"),
            Watch::Nothing => Some("none"),
        }
    }

    /// Writes a registration, which has the same length for all nodes of a kind.
    pub(crate) fn write_registration(self, mut out: impl Write, name: &str) -> io::Result<()> {
        out.write_all(br#"{"uri":"/distributes","method":"POST","key":1,"params":{"#)?;
        if !self.unlisted {
            out.write_all(br#""port":9010,"#)?;
        }
        write!(out, r#""name":"{name}","urls":["GET/{name}"]}}"#)?;
        if let Some(watch) = self.session() {
            write!(out, r#","session":{{"version":1,"watch":"{watch}"}}"#)?;
        }
        out.write_all(b"}")
    }
}

/// Writes a heartbeat, or with the key `null` the acknowledgement of an update.
pub(crate) fn write_heartbeat(mut out: impl Write, key: &str, rev: Option<u64>) -> io::Result<()> {
    let head = r#"{"uri":"/distributes/heartbeat","method":"POST""#;
    let rev = rev.unwrap_or_default();
    write!(out, r#"{head},"key":{key},"session":{{"rev":{rev}}}}}"#)
}
