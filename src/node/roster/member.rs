//! One node of a roster.

use std::net::{IpAddr, SocketAddr};

use serde_json::value::RawValue;

use super::ordered::Rank;
use crate::protocol::ListedNode;

/// One node of the view.
#[derive(Clone, Debug)]
pub struct Member {
    /// Entry as the Distributor sent it.
    pub entry: Box<str>,
    /// Parsed fields of the entry.
    pub node: ListedNode,
    /// Address, if the host is an IP address and the port valid. Nodes whose host is a name are
    /// listed here, but not called.
    pub addr: Option<SocketAddr>,
    /// The node is from an earlier view, and not confirmed since the Distributor lost that view.
    pub is_from_before: bool,
    /// The node registered without a session. With a Distributor without sessions, all nodes did.
    pub is_plain: bool,
    pub(super) id: Option<u64>,
    /// Order of arrival in the roster.
    pub(super) number: u64,
}

impl Member {
    pub(super) fn new(entry: &RawValue, id: Option<u64>, is_plain: bool) -> Member {
        let node = ListedNode::parse(entry);
        let host: Option<IpAddr> = node.host.parse().ok();
        Member {
            entry: entry.get().into(),
            // A plain Distributor lists IPv4 addresses mapped into IPv6.
            addr: host
                .map(|host| host.to_canonical())
                .zip(node.port)
                .map(SocketAddr::from),
            node,
            is_from_before: false,
            is_plain,
            id,
            number: 0,
        }
    }

    pub(super) fn listed(self, id: Option<u64>, is_plain: bool) -> Member {
        Member {
            id,
            is_plain,
            is_from_before: false,
            ..self
        }
    }

    pub(super) fn rank(&self) -> Rank {
        Rank {
            id: self.id.unwrap_or(Rank::WITHOUT_ID.id),
            number: self.number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_mapped_address_as_ipv4() {
        let addr = |entry: &str| {
            let entry = RawValue::from_string(entry.to_owned()).unwrap();
            Member::new(&entry, None, false).addr
        };
        let mapped = addr(r#"{"port":"9","host":"::ffff:10.0.0.1"}"#);
        assert_eq!(mapped, "10.0.0.1:9".parse().ok());
        assert_eq!(addr(r#"{"port":9,"host":"a.b"}"#), None);
    }
}
