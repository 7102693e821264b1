//! Who may register, and is sent the list.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};

use super::Distributor;
use super::session::Session;
use crate::protocol::{ErrorCode, Packet, Refusal, Registration, Token};
use crate::reactor::{Close, ConnId, Net};

/// Who is admitted: whose address is in a range, and who has a token. With neither, everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Addresses that need no token.
    pub ranges: Vec<AddressRange>,
    /// Tokens that admit from any address.
    pub tokens: Option<Tokens>,
}

impl Access {
    /// Whether everybody is admitted.
    pub fn is_open(&self) -> bool {
        self.ranges.is_empty() && self.tokens.is_none()
    }

    pub(super) fn of_address(&self, address: IpAddr) -> Option<Admission> {
        let in_range = || self.ranges.iter().any(|range| range.contains(address));
        (self.is_open() || in_range()).then_some(Admission::Address)
    }

    pub(super) fn has_token(&self, token: &str) -> bool {
        let tokens = self.tokens.as_ref();
        tokens.is_some_and(|tokens| !tokens.bindings_of(token).is_empty())
    }

    fn of_token(&self, token: &Token<'_>) -> Option<Admission> {
        let bindings = self.tokens.as_ref()?.bindings_of(token.reveal());
        (!bindings.is_empty()).then_some(Admission::Token(bindings))
    }
}

/// By what a connection is admitted. A token that is taken away later does not end it.
#[derive(Clone, Debug)]
pub(super) enum Admission {
    Address,
    Token(Vec<Arc<Binding>>),
}

impl Admission {
    fn allows(&self, registration: &Registration<'_>) -> bool {
        match self {
            Admission::Address => true,
            Admission::Token(bindings) => bindings
                .iter()
                .any(|binding| binding.allows(registration.name(), &registration.urls())),
        }
    }
}

/// A block of addresses, written as `10.0.0.0/8`, or as one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressRange {
    base: IpAddr,
    prefix_bits: u32,
}

impl AddressRange {
    /// Whether the address is one of these. An IPv4 address that is mapped into IPv6 is that IPv4
    /// address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4()
            && leading(address, self.prefix_bits) == leading(self.base, self.prefix_bits)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An IPv4 address that is mapped into IPv6 has these bits before it.
const MAPPED_PREFIX_BITS: u32 = 96;

/// The first bits of an address.
fn leading(address: IpAddr, bits: u32) -> u128 {
    let number = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    number.checked_shr(width(address) - bits).unwrap_or(0)
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<AddressRange, String> {
        let wrong = || "it takes an address or a block of them, as in 10.0.0.0/8".to_owned();
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let is_digits = |bits: &&str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_bits = match bits {
            None => width(base),
            Some(bits) => Some(bits)
                .filter(is_digits)
                .and_then(|bits| bits.parse().ok())
                .filter(|bits| *bits <= width(base))
                .ok_or_else(wrong)?,
        };
        let is_mapped = base.is_ipv6() && base.to_canonical().is_ipv4();
        let prefix_bits = match is_mapped {
            false => prefix_bits,
            // What is left of it after the part that says that it is mapped.
            true => prefix_bits
                .checked_sub(MAPPED_PREFIX_BITS)
                .ok_or_else(wrong)?,
        };
        let base = base.to_canonical();
        Ok(AddressRange { base, prefix_bits })
    }
}

/// Tokens, each bound to what its bearer may register. They are kept as hashes only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    grants: Vec<Grant>,
    short: usize,
}

#[derive(Clone, PartialEq, Eq)]
struct Grant {
    digest: [u8; 32],
    binding: Arc<Binding>,
}

/// What the bearer of a token may register.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Binding {
    /// Empty: any name.
    name_prefix: Box<str>,
    /// None: any url.
    url_prefixes: Vec<Box<str>>,
}

impl Binding {
    fn allows(&self, name: &str, urls: &[impl AsRef<str>]) -> bool {
        let is_bound = |url: &str| {
            self.url_prefixes
                .iter()
                .any(|prefix| has_prefix(url, prefix))
        };
        name.starts_with(&*self.name_prefix)
            && (self.url_prefixes.is_empty() || urls.iter().all(|url| is_bound(url.as_ref())))
    }
}

/// Whether the url begins like this; a prefix without a method is one of the path.
fn has_prefix(url: &str, prefix: &str) -> bool {
    let path = url.find('/').and_then(|slash| url.get(slash..));
    match prefix.starts_with('/') {
        true => path.is_some_and(|path| path.starts_with(prefix)),
        false => url.starts_with(prefix),
    }
}

/// A token that can be guessed is none.
const SHORT_BYTES: usize = 16;
const MAX_BYTES: usize = 512;

impl Tokens {
    /// Reads a file of tokens: one a line, and behind it, if it is bound, the beginning that a name
    /// must have (`*`: any), and those of which each url must have one. A url's beginning is
    /// `METHOD/path`, or `/path` for any method. What follows a `#` at the beginning of a line is a
    /// comment. A token may stand in several lines: then it is enough that one of them allows it.
    ///
    /// The error says which line is wrong, and nothing that stands in it.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let mut tokens = Tokens::default();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(token) = words.next().filter(|token| !token.starts_with('#')) else {
                continue;
            };
            let wrong = |what: &str| Err(format!("line {}: {what}", number + 1));
            if token.len() > MAX_BYTES {
                return wrong("a token has at most 512 bytes");
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return wrong("a token is made of printable ASCII characters");
            }
            let words: Vec<&str> = words.collect();
            if words.iter().any(|word| word.starts_with('#')) {
                return wrong("a comment has a line of its own");
            }
            let mut words = words.into_iter();
            let name_prefix = words.next().filter(|prefix| *prefix != "*");
            let url_prefixes: Vec<Box<str>> = words.map(Into::into).collect();
            if url_prefixes.iter().any(|prefix| !prefix.contains('/')) {
                return wrong("the beginning of a url is METHOD/path, or /path for any method");
            }
            tokens.short += usize::from(token.len() < SHORT_BYTES);
            tokens.grants.push(Grant {
                digest: Sha256::digest(token).into(),
                binding: Arc::new(Binding {
                    name_prefix: name_prefix.unwrap_or_default().into(),
                    url_prefixes,
                }),
            });
        }
        Ok(tokens)
    }

    /// Adds those of another file.
    pub fn extend(&mut self, other: Tokens) {
        self.grants.extend(other.grants);
        self.short += other.short;
    }

    /// How many lines with a token there are.
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// How many tokens have fewer than 16 bytes.
    pub fn short(&self) -> usize {
        self.short
    }

    /// What this token is bound to; empty if it is none of these. Takes the same time whatever it
    /// has in common with one of them: what is compared are hashes, all of them, to their end.
    fn bindings_of(&self, token: &str) -> Vec<Arc<Binding>> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.grants
            .iter()
            .filter(|grant| constant_time_eq_32(&grant.digest, &digest))
            .map(|grant| Arc::clone(&grant.binding))
            .collect()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.len())
    }
}

impl Distributor {
    /// Takes other tokens from now on. Connections that were admitted stay.
    pub fn set_tokens(&mut self, tokens: Tokens) {
        self.config.access.tokens = Some(tokens);
    }

    /// Admits a connection that registers, if it may.
    pub(super) fn admit(&mut self, conn: ConnId, token: Option<&Token<'_>>) -> Result<(), Refusal> {
        let access = &self.config.access;
        let Some(session) = self.sessions.get_mut(conn) else {
            return Ok(());
        };
        match (&session.admission, token) {
            // Who needs no token may have any.
            (Some(Admission::Address), _) | (Some(Admission::Token(_)), None) => {}
            (None, None) => return Err(not_admitted("a token is needed here: session.token")),
            (_, Some(token)) => match access.of_token(token) {
                Some(admission) => session.admission = Some(admission),
                None => return Err(not_admitted("this token admits nobody")),
            },
        }
        if let Some(token) = token {
            session.token = Some(Box::new(self.salt.mark(token.reveal())));
        }
        Ok(())
    }

    /// Whether what admits the connection allows what it registers.
    pub(super) fn check_binding(
        &self,
        conn: ConnId,
        registration: &Registration<'_>,
    ) -> Result<(), Refusal> {
        let session = self.sessions.get(conn);
        match session.and_then(|session| session.admission.as_ref()) {
            Some(admission) if admission.allows(registration) => Ok(()),
            _ => Err(not_admitted("the token is bound to other names or urls")),
        }
    }

    /// Closes the connections that were not admitted in the time that others have to say anything at
    /// all: whatever they said instead, they hold the place of somebody who may come in.
    pub(super) fn drop_unadmitted(&mut self, net: &mut Net) {
        let (now, allowed) = (net.now(), net.limits().first_byte_timeout);
        let is_late = |session: &Session| {
            session.admission.is_none() && now.saturating_since(session.connected_at) > allowed
        };
        let late: Vec<ConnId> = self
            .sessions
            .iter()
            .filter(|(_, session)| is_late(session))
            .map(|(conn, _)| conn)
            .collect();
        for conn in late {
            let why = Refusal {
                code: ErrorCode::DeadlinePassed,
                message: format!("no token came within {allowed:?}").into(),
            };
            self.refuse(net, conn, &Packet::default(), b"", &why);
            net.close(conn, Close::AfterFlush);
        }
    }
}

pub(super) fn not_admitted(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::NotAllowed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_blocks_of_one_family() {
        let contains = |range: &str, address: &str| {
            let range: AddressRange = range.parse().unwrap();
            range.contains(address.parse().unwrap())
        };
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.255.0.1", "9.255.255.255"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::1", "127.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            assert!(contains(range, inside), "{range} {inside}");
            assert!(!contains(range, outside), "{range} {outside}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "::ffff:10.0.0.0/95",
            "x/8",
        ] {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
        }
    }

    const FILE: &str = "\
# of everybody
aaaaaaaaaaaaaaaa
   bbbbbbbbbbbbbbbb goods
cccccccccccccccc * GET/goods /public

dddddddddddddddd goods- POST/goods
dddddddddddddddd members-\t/members
";

    fn allows(tokens: &Tokens, token: &str, name: &str, urls: &[&str]) -> bool {
        let bindings = tokens.bindings_of(token);
        bindings.iter().any(|binding| binding.allows(name, urls))
    }

    #[test]
    fn a_token_is_bound_to_the_beginnings_of_names_and_urls() {
        let tokens = Tokens::parse(FILE).unwrap();
        assert_eq!((tokens.len(), tokens.short()), (5, 0));
        for (token, name, urls) in [
            ("aaaaaaaaaaaaaaaa", "", &["GET/x"][..]),
            ("bbbbbbbbbbbbbbbb", "goods-7", &["GET/x"]),
            ("cccccccccccccccc", "any", &["GET/goods/7", "PUT/public"]),
            ("cccccccccccccccc", "any", &[]),
            ("dddddddddddddddd", "goods-1", &["POST/goods"]),
            (
                "dddddddddddddddd",
                "members-1",
                &["GET/members", "POST/members/x"],
            ),
        ] {
            assert!(
                allows(&tokens, token, name, urls),
                "{token} {name} {urls:?}"
            );
        }
        for (token, name, urls) in [
            ("", "", &[][..]),
            ("#", "", &[]),
            ("aaaaaaaaaaaaaaa", "", &[]),
            ("aaaaaaaaaaaaaaaaa", "", &[]),
            ("bbbbbbbbbbbbbbbb", "good", &[]),
            ("cccccccccccccccc", "any", &["GET/goods", "POST/goods"]),
            ("cccccccccccccccc", "any", &["GET/x/public"]),
            ("dddddddddddddddd", "goods-1", &["GET/members"]),
        ] {
            assert!(
                !allows(&tokens, token, name, urls),
                "{token} {name} {urls:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_tokens() {
        let long = "x".repeat(513);
        for text in [
            "ok\nsecret name goods",
            "ok\nsecrét",
            "ok\nsecret #goods",
            "ok\nsecret * /goods # goods",
            &format!("\n{long}"),
        ] {
            let mistake = Tokens::parse(text).unwrap_err();
            assert!(mistake.starts_with("line 2: "), "{mistake}");
            assert!(
                !mistake.contains("secr") && !mistake.contains("goods"),
                "{mistake}"
            );
        }
        let tokens = Tokens::parse("secret").unwrap();
        assert_eq!(
            (tokens.short(), format!("{tokens:?}")),
            (1, "Tokens(1)".to_owned())
        );
    }
}
