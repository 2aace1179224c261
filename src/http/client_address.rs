//! Whose request it is, by address: the peer's, or what trusted proxies say.
//!
//! Each proxy appends the address that it was asked from to `X-Forwarded-For`, so the list is to be read from its end,
//! and only as far as proxies of ours wrote it: the last address that is none of theirs is the client's. What stands
//! before it, the client may have invented. Of a peer that is no proxy of ours nothing is read. A part that is no address
//! makes the whole list worthless: then it is the peer's address, so that nobody gets a fresh one by writing nonsense.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;
use warp::http::HeaderMap;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Longest list that is read: more proxies than anybody has in a row.
const MAX_HOPS: usize = 32;

/// A network that proxies are in: `10.0.0.0/8`, `fd00::/8`, `192.0.2.7/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyNetwork(IpNet);

/// A text that names no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network such as 10.0.0.0/8")]
pub struct NotANetwork;

impl TryFrom<String> for ProxyNetwork {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse().map(Self).map_err(|_| NotANetwork)
    }
}

impl ProxyNetwork {
    /// Whether it is the whole internet.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

/// The proxies in front of this process.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<ProxyNetwork>);

impl TrustedProxies {
    /// Those with an address in one of these networks.
    #[must_use]
    pub fn new(networks: Vec<ProxyNetwork>) -> Self {
        Self(networks)
    }

    fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.0.contains(&address))
    }

    /// Who sent a request that came from `peer`. The port is the peer's where the address is; else it is not known, and 0.
    #[must_use]
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if !self.include(peer.ip().to_canonical()) {
            return peer;
        }
        let client = hops(headers).and_then(|hops| self.last_untrusted(&hops));
        client.map_or(peer, |address| SocketAddr::new(address, 0))
    }

    /// Where every hop is a proxy of ours, the first one asked for itself.
    fn last_untrusted(&self, hops: &[IpAddr]) -> Option<IpAddr> {
        let client = hops.iter().rev().find(|address| !self.include(**address));
        client.or(hops.first()).copied()
    }
}

/// All addresses, of all headers of that name, in order; none if one of them cannot be read.
fn hops(headers: &HeaderMap) -> Option<Vec<IpAddr>> {
    let mut hops = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        for part in value.to_str().ok()?.split(',') {
            hops.push(address(part.trim())?);
            if hops.len() > MAX_HOPS {
                return None;
            }
        }
    }
    Some(hops)
}

/// `192.0.2.1`, `2001:db8::1`, and with a port as some proxies write it: `192.0.2.1:80`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: IpAddr = plain.or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use warp::http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.to_owned().try_into().unwrap());
        let proxies = TrustedProxies::new(networks.to_vec());
        let cases: &[(&str, &[&str], &str)] = &[
            // A peer that is no proxy of ours may write what it wants.
            ("192.0.2.7", &[], "192.0.2.7"),
            ("192.0.2.7", &["198.51.100.1"], "192.0.2.7"),
            ("192.0.2.7", &["10.0.0.1"], "192.0.2.7"),
            // One of ours says who asked it.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            // Through two of ours.
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1", "10.0.0.2,10.0.0.3"], "198.51.100.1"),
            // What stands before the last untrusted hop, the client has invented.
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            // Ours alone: the first of them asked.
            ("10.0.0.1", &["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
            // Nothing, or nothing that can be read.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["nonsense, 198.51.100.1"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1,"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1; 198.51.100.2"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.300"], "10.0.0.1"),
        ];
        for (peer, values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
            }
            let peer = SocketAddr::new(peer.parse().unwrap(), 4000);
            let client = proxies.client(peer, &headers);
            let expected: IpAddr = expected.parse().unwrap();
            assert_eq!(client.ip(), expected, "{peer} {values:?}");
        }
    }

    #[test]
    fn a_list_longer_than_any_is_worthless_and_without_proxies_none_is_read() {
        let peer: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let long = vec!["198.51.100.1"; MAX_HOPS + 1].join(",");
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_str(&long).unwrap());
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".to_owned().try_into().unwrap()]);
        assert_eq!(proxies.client(peer, &headers), peer);
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        assert_eq!(TrustedProxies::default().client(peer, &headers), peer);
        assert_eq!(proxies.client(peer, &headers).ip().to_string(), "198.51.100.1");
    }
}
