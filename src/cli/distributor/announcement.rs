//! The text on standard output at the start: lines for programs, or a block for people.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::admin_listener::AdminAddresses;
use crate::cli::program::SERVING;
use crate::cli::value::shown_path;
use crate::distributor::Distributor;

/// Addresses of a Distributor that has started, and what to do next.
pub(super) struct Announcement<'a> {
    /// Addresses for nodes.
    pub(super) nodes: &'a [SocketAddr],
    pub(super) admin: &'a AdminAddresses,
    /// The state file.
    pub(super) state: Option<&'a Path>,
}

impl Announcement<'_> {
    /// Returns a line for each address, and one that ends them.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        if let AdminAddresses::Bound(addresses) = self.admin {
            for address in addresses {
                let _ = writeln!(text, "http on http://{address}/");
            }
        }
        for address in self.nodes {
            let _ = writeln!(text, "listening on {address}");
        }
        text + SERVING
    }

    /// Returns at most five lines: the addresses, the page, the state file, and how to register a
    /// first node. The command is alone on its line, so that it can be selected at once.
    pub(super) fn block(&self, distributor: &Distributor, has_tokens: bool) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        let page = match self.admin {
            AdminAddresses::Bound(addresses) => urls(addresses),
            AdminAddresses::Off(why) => format!("off: {why}"),
        };
        let state = match self.state {
            Some(path) => shown_path(path),
            None => "none: the list is not kept across restarts; --state FILE keeps it".to_owned(),
        };
        let may_register = |address: IpAddr| distributor.may_see(address, None);
        let next = match first_node(self.nodes, has_tokens, may_register) {
            Some((command, false)) => {
                format!("To register a first node, run in another terminal:\n{command}")
            }
            Some((command, true)) => format!(
                "To register a first node, set its TOKEN and run in another terminal:\n{command}"
            ),
            None => "Nodes can register from the addresses in --allow-from".to_owned(),
        };
        format!(
            "listening on {}\n\
             admin page   {page}\n\
             state file   {state}\n\
             serving; Ctrl-C stops it. {next}\n",
            nodes.join(" and ")
        )
    }
}

/// Returns the URLs of these addresses. The two loopback addresses are one, of localhost.
fn urls(addresses: &[SocketAddr]) -> String {
    let mut urls = Vec::new();
    for address in addresses.iter().copied().map(reachable) {
        let url = format!("http://{}:{}/", host(address, addresses), address.port());
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls.join(" and ")
}

/// Returns a command that registers a node from this machine, and whether it needs a token. `None`
/// if this machine may not register nodes.
fn first_node(
    nodes: &[SocketAddr],
    has_tokens: bool,
    may_register: impl Fn(IpAddr) -> bool,
) -> Option<(String, bool)> {
    let mut targets = nodes.iter().copied().map(reachable);
    // The kernel connects to an address of this machine from the same address.
    let admitted = targets.clone().find(|target| may_register(target.ip()));
    let needs_token = admitted.is_none();
    let target = match admitted {
        Some(target) => target,
        None if has_tokens => targets.next()?,
        None => return None,
    };
    let session = if needs_token {
        r#","session":{"version":1,"token":"TOKEN"}"#
    } else {
        ""
    };
    let host = host(target, nodes).trim_matches(['[', ']']).to_owned();
    let command = format!(
        r#"printf '{{"uri":"/distributes","method":"POST","key":0,"params":{{"port":9010,"name":"goods","urls":["GET/goods"]}}{session}}}¶' | nc {host} {}"#,
        target.port()
    );
    Some((command, needs_token))
}

/// Returns an address by which this machine reaches a listener.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        listener.set_ip(if listener.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    listener
}

/// Returns the host of an address: localhost if there are listeners on both loopback addresses.
fn host(address: SocketAddr, listeners: &[SocketAddr]) -> String {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let listens = |ip: &IpAddr| listeners.contains(&SocketAddr::new(*ip, address.port()));
    if loopback.contains(&address.ip()) && loopback.iter().all(listens) {
        return "localhost".to_owned();
    }
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributor::Config;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn command(nodes: &[&str], has_tokens: bool, admitted: &[&str]) -> Option<(String, bool)> {
        let admits = |ip: IpAddr| admitted.contains(&&*ip.to_string());
        let (command, needs_token) = first_node(&addresses(nodes), has_tokens, admits)?;
        assert_eq!(command.contains(r#""token":"TOKEN""#), needs_token);
        let (_, after) = command.split_once(" | nc ").unwrap();
        Some((after.to_owned(), needs_token))
    }

    #[test]
    fn prints_at_most_five_lines() {
        let nodes = addresses(&["127.0.0.1:9000", "[::1]:9000"]);
        let admin = AdminAddresses::Bound(addresses(&["127.0.0.1:9001", "[::1]:9001"]));
        let announcement = Announcement {
            nodes: &nodes,
            admin: &admin,
            state: None,
        };
        let block = announcement.block(&Distributor::new(Config::default()), false);
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "listening on 127.0.0.1:9000 and [::1]:9000",
                "admin page   http://localhost:9001/",
                "state file   none: the list is not kept across restarts; --state FILE keeps it",
                "serving; Ctrl-C stops it. To register a first node, run in another terminal:",
            ]
        );
        assert!(lines[4].starts_with("printf '{") && lines[4].ends_with("}¶' | nc localhost 9000"));
        assert_eq!(lines.len(), 5);
        assert_eq!(
            announcement.lines(),
            "http on http://127.0.0.1:9001/\nhttp on http://[::1]:9001/\n\
             listening on 127.0.0.1:9000\nlistening on [::1]:9000\n\
             serving; SIGINT or SIGTERM stops it\n"
        );
    }

    #[test]
    fn first_node_connects_to_an_address_that_admits_it() {
        let local = ["127.0.0.1", "::1"];
        for (nodes, has_tokens, admitted, expected) in [
            (
                &["127.0.0.1:7"][..],
                false,
                &local[..],
                Some(("127.0.0.1 7", false)),
            ),
            (&["[::1]:7"], false, &local, Some(("::1 7", false))),
            (
                &["[::1]:7", "127.0.0.1:7"],
                false,
                &local,
                Some(("localhost 7", false)),
            ),
            (
                &["127.0.0.1:7", "[::1]:8"],
                false,
                &local,
                Some(("127.0.0.1 7", false)),
            ),
            (&["0.0.0.0:7"], false, &local, Some(("127.0.0.1 7", false))),
            (
                &["127.0.0.1:7", "10.0.0.5:7"],
                false,
                &["10.0.0.5"],
                Some(("10.0.0.5 7", false)),
            ),
            (&["127.0.0.1:7"], true, &[], Some(("127.0.0.1 7", true))),
            (&["127.0.0.1:7"], false, &[], None),
        ] {
            let expected = expected.map(|(target, token)| (target.to_owned(), token));
            assert_eq!(command(nodes, has_tokens, admitted), expected, "{nodes:?}");
        }
    }

    #[test]
    fn page_is_at_an_address_that_a_browser_can_open() {
        for (bound, expected) in [
            (&["127.0.0.1:7"][..], "http://127.0.0.1:7/"),
            (&["0.0.0.0:7"], "http://127.0.0.1:7/"),
            (
                &["[::1]:7", "10.0.0.5:8"],
                "http://[::1]:7/ and http://10.0.0.5:8/",
            ),
        ] {
            assert_eq!(urls(&addresses(bound)), expected);
        }
    }
}
