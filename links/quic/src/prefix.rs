//! An address or a range of addresses that a peer may come from: `10.20.0.0/16`, `10.20.0.5`, `2001:db8::/32`.

use std::net::IpAddr;
use std::str::FromStr;

/// One line of `allowed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// A text that is no address and no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{shown}\" is no IP address and no range like 10.20.0.0/16")]
pub struct BadPrefix {
    shown: String,
}

impl Prefix {
    /// Does the address lie in the range? An IPv4 address inside an IPv6 one counts as IPv4.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let (width, range, asked) = match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(asked)) => (32, u128::from(range.to_bits()), u128::from(asked.to_bits())),
            (IpAddr::V6(range), IpAddr::V6(asked)) => (128, range.to_bits(), asked.to_bits()),
            _ => return false,
        };
        let free = width - u32::from(self.bits);
        // A shift by the whole width is undefined for `>>`; a range of no bits holds everything of its family.
        range.checked_shr(free).unwrap_or(0) == asked.checked_shr(free).unwrap_or(0)
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;
    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix { shown: text.chars().filter(|c| !c.is_control()).take(60).collect() };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let address = if bits.is_none() { address.to_canonical() } else { address };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        // `::ffff:10.0.0.0/104` would have to be turned into IPv4 bits: nobody writes it, so nobody may.
        if bits > width || address.to_canonical() != address {
            return Err(bad());
        }
        Ok(Prefix { address, bits })
    }
}

impl<'de> serde::Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        for (range, inside, outside) in [
            ("10.20.0.0/16", "10.20.255.1", "10.21.0.1"),
            ("10.20.0.5", "10.20.0.5", "10.20.0.6"),
            ("10.20.0.5", "::ffff:10.20.0.5", "::10.20.0.5"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:1::9", "2001:db9::"),
            ("::/0", "fe80::1", "10.0.0.1"),
        ] {
            let prefix: Prefix = range.parse().unwrap();
            assert!(prefix.holds(inside.parse().unwrap()), "{range} {inside}");
            assert!(!prefix.holds(outside.parse().unwrap()), "{range} {outside}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "::ffff:10.0.0.0/104", "internet", "10.0.0.0/-1"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
