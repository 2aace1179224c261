//! Which addresses a tenant's URL may lead to: the public internet, and what configuration allows.
//!
//! An address is judged in its canonical form: an IPv4 address that is mapped into IPv6 or carried through NAT64 is
//! judged as the IPv4 address that it reaches. Of IPv4, everything in IANA's special-purpose registry is refused
//! (RFC 6890 and its updates); of IPv6, everything outside global unicast (2000::/3), and within it what is
//! documentation or a tunnel, whose embedded addresses could lead anywhere. Metadata services of clouds hand out
//! credentials, so they are refused whatever is configured.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::target::{Host, Target};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(head: [u16; 4], tail: [u16; 4], prefix: u8) -> IpNet {
    let address = Ipv6Addr::new(
        head[0], head[1], head[2], head[3], tail[0], tail[1], tail[2], tail[3],
    );
    IpNet::V6(Ipv6Net::new_assert(address, prefix))
}

/// Addresses at which clouds serve credentials or take over a machine. Most are also private; not all.
const METADATA: [(IpNet, &str); 9] = [
    (v4(169, 254, 169, 254, 32), "the metadata service of most clouds"),
    (v4(169, 254, 170, 2, 32), "the credentials service of AWS ECS"),
    (v4(169, 254, 170, 23, 32), "the credentials service of AWS EKS"),
    (v4(168, 63, 129, 16, 32), "the platform service of Azure"),
    (
        v4(100, 100, 100, 200, 32),
        "the metadata service of Alibaba Cloud",
    ),
    (v4(192, 0, 0, 192, 32), "the metadata service of Oracle Cloud"),
    (
        v6([0xfd00, 0xec2, 0, 0], [0, 0, 0, 0x254], 128),
        "the metadata service of AWS",
    ),
    (
        v6([0xfd00, 0xec2, 0, 0], [0, 0, 0, 0x23], 128),
        "the credentials service of AWS EKS",
    ),
    (
        v6([0xfd20, 0xce, 0, 0], [0, 0, 0, 0x254], 128),
        "the metadata service of Google Cloud",
    ),
];

/// Addresses that are not the public internet.
const SPECIAL: [(IpNet, &str); 25] = [
    (v4(0, 0, 0, 0, 8), "this network (RFC 791)"),
    (v4(10, 0, 0, 0, 8), "private (RFC 1918)"),
    (v4(100, 64, 0, 0, 10), "shared by carrier-grade NAT (RFC 6598)"),
    (v4(127, 0, 0, 0, 8), "loopback (RFC 1122)"),
    (v4(169, 254, 0, 0, 16), "link-local (RFC 3927)"),
    (v4(172, 16, 0, 0, 12), "private (RFC 1918)"),
    (v4(192, 0, 0, 0, 24), "IETF protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0, 24), "documentation (RFC 5737)"),
    (v4(192, 88, 99, 0, 24), "6to4 relays (RFC 7526)"),
    (v4(192, 168, 0, 0, 16), "private (RFC 1918)"),
    (v4(198, 18, 0, 0, 15), "benchmarking (RFC 2544)"),
    (v4(198, 51, 100, 0, 24), "documentation (RFC 5737)"),
    (v4(203, 0, 113, 0, 24), "documentation (RFC 5737)"),
    (v4(224, 0, 0, 0, 4), "multicast (RFC 1112)"),
    (v4(240, 0, 0, 0, 4), "reserved or broadcast (RFC 1112)"),
    (v6([0; 4], [0, 0, 0, 0], 128), "unspecified (RFC 4291)"),
    (v6([0; 4], [0, 0, 0, 1], 128), "loopback (RFC 4291)"),
    (v6([0xfc00, 0, 0, 0], [0; 4], 7), "unique local (RFC 4193)"),
    (v6([0xfe80, 0, 0, 0], [0; 4], 10), "link-local (RFC 4291)"),
    (v6([0xfec0, 0, 0, 0], [0; 4], 10), "site-local (RFC 3879)"),
    (v6([0xff00, 0, 0, 0], [0; 4], 8), "multicast (RFC 4291)"),
    (
        v6([0x2001, 0, 0, 0], [0; 4], 23),
        "IETF protocol assignments, Teredo among them (RFC 2928)",
    ),
    (v6([0x2001, 0xdb8, 0, 0], [0; 4], 32), "documentation (RFC 3849)"),
    (
        v6([0x2002, 0, 0, 0], [0; 4], 16),
        "6to4, which embeds an IPv4 address (RFC 7526)",
    ),
    (v6([0x3fff, 0, 0, 0], [0; 4], 20), "documentation (RFC 9637)"),
];

const GLOBAL_UNICAST: IpNet = v6([0x2000, 0, 0, 0], [0; 4], 3);
const NAT64: IpNet = v6([0x64, 0xff9b, 0, 0], [0; 4], 96);

/// A private network, or one port of it, that sources may be fetched from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AllowedNet {
    net: IpNet,
    port: Option<u16>,
}

/// A text that is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a network: write 10.1.0.0/16, 192.168.1.7, fd00::/8, or with one port 127.0.0.1:8089, 10.1.0.0/16:443 or [::1]:8089"
)]
pub struct AllowedNetError;

/// Decides which addresses may be connected to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworkGuard {
    allowed: Vec<AllowedNet>,
}

/// An address that may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not a public address: {kind}")]
pub struct RefusedAddress {
    /// The address as it was to be connected to.
    pub address: SocketAddr,
    /// Why it is refused.
    pub kind: &'static str,
}

impl NetworkGuard {
    /// A guard that admits the public internet and `allowed`.
    #[must_use]
    pub fn new(allowed: Vec<AllowedNet>) -> Self {
        Self { allowed }
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    /// When it is not public and not allowed, or a metadata service.
    pub fn admit(&self, address: SocketAddr) -> Result<(), RefusedAddress> {
        let refused = |kind| Err(RefusedAddress { address, kind });
        let ip = canonical(address.ip());
        if let Some(kind) = lookup(&METADATA, ip) {
            return refused(kind);
        }
        match special(ip) {
            Some(kind) if !self.allows(ip, address.port()) => refused(kind),
            _ => Ok(()),
        }
    }

    /// Judges a URL whose host is an address. A name is judged when it has been resolved.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn admit_literal(&self, target: &Target) -> Result<(), RefusedAddress> {
        match target.host() {
            Host::Address(ip) => self.admit(SocketAddr::new(*ip, target.port())),
            Host::Name(_) => Ok(()),
        }
    }

    /// Whether `address` is one of the private addresses that the operator allows.
    #[must_use]
    pub fn allows_private(&self, address: SocketAddr) -> bool {
        let ip = canonical(address.ip());
        special(ip).is_some() && self.allows(ip, address.port())
    }

    fn allows(&self, ip: IpAddr, port: u16) -> bool {
        self.allowed
            .iter()
            .any(|allowed| allowed.net.contains(&ip) && allowed.port.is_none_or(|p| p == port))
    }
}

/// The address that packets for `ip` end up at.
fn canonical(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    match ip {
        IpAddr::V6(v6) if NAT64.contains(&ip) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => ip,
    }
}

/// What kind of special address `ip` is; `None` for a public one.
fn special(ip: IpAddr) -> Option<&'static str> {
    lookup(&SPECIAL, ip).or_else(|| match ip {
        IpAddr::V6(_) if !GLOBAL_UNICAST.contains(&ip) => Some("outside global unicast (RFC 4291)"),
        _ => None,
    })
}

fn lookup(table: &[(IpNet, &'static str)], ip: IpAddr) -> Option<&'static str> {
    table
        .iter()
        .find(|(net, _)| net.contains(&ip))
        .map(|(_, kind)| *kind)
}

impl FromStr for AllowedNet {
    type Err = AllowedNetError;

    fn from_str(text: &str) -> Result<Self, AllowedNetError> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self {
                net: IpNet::from(socket.ip()),
                port: Some(socket.port()),
            });
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self {
                net: IpNet::from(ip),
                port: None,
            });
        }
        let (address, rest) = text.split_once('/').ok_or(AllowedNetError)?;
        let (prefix, port) = match rest.split_once(':') {
            Some((prefix, port)) => (prefix, Some(port.parse().map_err(|_| AllowedNetError)?)),
            None => (rest, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| AllowedNetError)?;
        let prefix = prefix.parse().map_err(|_| AllowedNetError)?;
        let net = IpNet::new(ip, prefix).map_err(|_| AllowedNetError)?;
        // 10.1.2.3/8 may have been meant as 10.1.2.3 or as 10.0.0.0/8; the wider guess would open a network.
        if net.addr() == net.network() {
            Ok(Self { net, port })
        } else {
            Err(AllowedNetError)
        }
    }
}

impl fmt::Display for AllowedNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.net),
            None => self.net.fmt(f),
        }
    }
}

impl Serialize for AllowedNet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AllowedNet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
