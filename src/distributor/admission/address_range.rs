//! Ranges of addresses.

use std::net::IpAddr;
use std::str::FromStr;

/// A block of IP addresses, written as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressRange {
    base: IpAddr,
    /// Length of the prefix of the IPv6 address; for IPv4, of the mapped address.
    prefix_bits: u32,
}

/// Length of the prefix of IPv4-mapped IPv6 addresses.
const MAPPED_PREFIX_BITS: u32 = 96;

impl AddressRange {
    /// Returns whether the block contains `address`. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let differing = ipv6_bits(address) ^ ipv6_bits(self.base);
        address.is_ipv4() == self.base.is_ipv4()
            && differing.checked_shr(128 - self.prefix_bits).unwrap_or(0) == 0
    }
}

fn ipv6_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<AddressRange, String> {
        parse(text).ok_or_else(|| {
            format!("invalid address range {text:?}: write an address or a block as in 10.0.0.0/8")
        })
    }
}

fn parse(text: &str) -> Option<AddressRange> {
    let (base, bits) = match text.split_once('/') {
        Some((base, bits)) => (base, Some(bits)),
        None => (text, None),
    };
    let base: IpAddr = base.parse().ok()?;
    let before_prefix = if base.is_ipv4() {
        MAPPED_PREFIX_BITS
    } else {
        0
    };
    let prefix_bits = match bits {
        None => 128,
        // `parse` alone would accept a sign.
        Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            before_prefix + bits.parse::<u8>().map(u32::from).ok()?
        }
        Some(_) => return None,
    };
    let base = base.to_canonical();
    let shortest = if base.is_ipv4() {
        MAPPED_PREFIX_BITS
    } else {
        0
    };
    let range = AddressRange { base, prefix_bits };
    (shortest..=128).contains(&prefix_bits).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_addresses_of_its_block_and_family() {
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
}
