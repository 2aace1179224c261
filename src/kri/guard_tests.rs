//! The guard against a table of addresses and of spellings.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn judge(guard: &NetworkGuard, ip: &str) -> Result<(), &'static str> {
    let address = SocketAddr::new(ip.parse().unwrap(), 80);
    guard.admit(address).map_err(|refused| refused.kind)
}

fn allowing(nets: &[&str]) -> NetworkGuard {
    NetworkGuard::new(nets.iter().map(|net| net.parse().unwrap()).collect())
}

#[test]
fn public_addresses_are_admitted() {
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00::1",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(judge(&NetworkGuard::default(), ip), Ok(()), "{ip}");
    }
}

#[test]
fn every_kind_of_special_address_is_refused_at_both_of_its_ends() {
    for (ips, kind) in [
        (["0.0.0.0", "0.255.255.255"], "this network (RFC 791)"),
        (["10.0.0.0", "10.255.255.255"], "private (RFC 1918)"),
        (
            ["100.64.0.0", "100.127.255.255"],
            "shared by carrier-grade NAT (RFC 6598)",
        ),
        (["127.0.0.1", "127.255.255.255"], "loopback (RFC 1122)"),
        (["169.254.0.0", "169.254.255.255"], "link-local (RFC 3927)"),
        (["172.16.0.0", "172.31.255.255"], "private (RFC 1918)"),
        (
            ["192.0.0.0", "192.0.0.255"],
            "IETF protocol assignments (RFC 6890)",
        ),
        (["192.0.2.0", "192.0.2.255"], "documentation (RFC 5737)"),
        (["192.88.99.0", "192.88.99.1"], "6to4 relays (RFC 7526)"),
        (["192.168.0.0", "192.168.255.255"], "private (RFC 1918)"),
        (["198.18.0.0", "198.19.255.255"], "benchmarking (RFC 2544)"),
        (["198.51.100.0", "198.51.100.255"], "documentation (RFC 5737)"),
        (["203.0.113.0", "203.0.113.255"], "documentation (RFC 5737)"),
        (["224.0.0.0", "239.255.255.255"], "multicast (RFC 1112)"),
        (
            ["240.0.0.0", "255.255.255.255"],
            "reserved or broadcast (RFC 1112)",
        ),
        (["::", "0:0:0:0:0:0:0:0"], "unspecified (RFC 4291)"),
        (["::1", "0:0:0:0:0:0:0:1"], "loopback (RFC 4291)"),
        (["fc00::", "fdff:ffff::1"], "unique local (RFC 4193)"),
        (["fe80::", "febf:ffff::1"], "link-local (RFC 4291)"),
        (["fec0::", "feff:ffff::1"], "site-local (RFC 3879)"),
        (["ff00::", "ff02::1"], "multicast (RFC 4291)"),
        (["2001:db8::", "2001:db8:ffff::1"], "documentation (RFC 3849)"),
        (["3fff::", "3fff:fff::1"], "documentation (RFC 9637)"),
    ] {
        for ip in ips {
            assert_eq!(judge(&NetworkGuard::default(), ip), Err(kind), "{ip}");
        }
    }
}

#[test]
fn an_address_that_carries_another_is_judged_by_where_it_ends_up() {
    for (ip, kind) in [
        ("::ffff:127.0.0.1", "loopback (RFC 1122)"),
        ("::ffff:7f00:1", "loopback (RFC 1122)"),
        ("::ffff:10.0.0.1", "private (RFC 1918)"),
        ("64:ff9b::10.0.0.1", "private (RFC 1918)"),
        ("64:ff9b::7f00:1", "loopback (RFC 1122)"),
        ("64:ff9b::169.254.169.254", "the metadata service of most clouds"),
        ("64:ff9b:1::10.0.0.1", "outside global unicast (RFC 4291)"),
        ("::127.0.0.1", "outside global unicast (RFC 4291)"),
        ("::ffff:0:127.0.0.1", "outside global unicast (RFC 4291)"),
        ("2002:7f00:1::", "6to4, which embeds an IPv4 address (RFC 7526)"),
        ("2002:808:808::", "6to4, which embeds an IPv4 address (RFC 7526)"),
        (
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "IETF protocol assignments, Teredo among them (RFC 2928)",
        ),
        (
            "2001:20::1",
            "IETF protocol assignments, Teredo among them (RFC 2928)",
        ),
        ("100::1", "outside global unicast (RFC 4291)"),
        ("5f00::1", "outside global unicast (RFC 4291)"),
        ("4000::1", "outside global unicast (RFC 4291)"),
    ] {
        assert_eq!(judge(&NetworkGuard::default(), ip), Err(kind), "{ip}");
    }
}

#[test]
fn metadata_services_are_refused_whatever_is_configured() {
    let everything = allowing(&["0.0.0.0/0", "::/0"]);
    for ip in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
    ] {
        assert!(judge(&everything, ip).is_err(), "{ip}");
        assert!(judge(&NetworkGuard::default(), ip).is_err(), "{ip}");
    }
    assert_eq!(judge(&everything, "127.0.0.1"), Ok(()));
    assert_eq!(judge(&everything, "fe80::1"), Ok(()));
}

#[test]
fn configuration_admits_exactly_the_networks_and_ports_that_it_names() {
    let guard = allowing(&["10.1.0.0/16", "127.0.0.1:8089", "[::1]:8089", "fd12::/16:443"]);
    let admits = |address: &str| guard.admit(address.parse().unwrap()).is_ok();
    for address in [
        "10.1.255.255:1",
        "127.0.0.1:8089",
        "[::ffff:10.1.0.1]:80",
        "[::1]:8089",
        "[fd12::9]:443",
    ] {
        assert!(admits(address), "{address}");
    }
    for address in [
        "10.2.0.0:1",
        "127.0.0.1:8090",
        "127.0.0.2:8089",
        "[::1]:80",
        "[fd12::9]:80",
        "[fd13::9]:443",
    ] {
        assert!(!admits(address), "{address}");
    }
}

#[test]
fn a_network_is_read_in_one_way_or_refused() {
    for (text, written) in [
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("192.168.1.7", "192.168.1.7/32"),
        ("127.0.0.1:8089", "127.0.0.1/32:8089"),
        ("10.1.0.0/16:443", "10.1.0.0/16:443"),
        ("[::1]:8089", "::1/128:8089"),
        ("fd00::/8", "fd00::/8"),
    ] {
        let net: AllowedNet = text.parse().unwrap();
        assert_eq!(net.to_string(), written);
        assert_eq!(net.to_string().parse(), Ok(net));
    }
    for text in [
        "",
        "localhost",
        "10.1.2.3/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/8:0x1",
        "10.0.0.0/8:",
        "*",
    ] {
        assert_eq!(text.parse::<AllowedNet>(), Err(AllowedNetError), "{text}");
    }
}

#[test]
fn a_url_that_spells_a_private_address_never_passes_target_and_guard() {
    let guard = NetworkGuard::default();
    for url in [
        "http://127.0.0.1/",
        "http://127.0.0.1:8080/x",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://0177.0.0.01/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://0/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[::1]/",
        "http://[0000:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:0001]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://10.0.0.1/",
        "http://167772161/",
        "http://172.31.0.1/",
        "http://192.168.0.1/",
        "http://3232235521/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://100.64.0.1/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://%31%32%37.0.0.1/",
        "http://user@127.0.0.1/",
        "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http://127.0.0.1#@example.org/",
        "http://127.0.0.1?@example.org/",
        "http:\\\\127.0.0.1/",
        "http:///127.0.0.1/",
        "hTTp://127.0.0.1/",
    ] {
        let passed = Target::parse(url).is_ok_and(|target| guard.admit_literal(&target).is_ok());
        assert!(!passed, "{url}");
    }
}

proptest! {
    #[test]
    fn an_ipv4_address_is_judged_alike_in_each_of_its_carriers(bits: u32) {
        let guard = NetworkGuard::default();
        let plain = Ipv4Addr::from(bits);
        let judge = |ip: IpAddr| guard.admit(SocketAddr::new(ip, 80)).map_err(|refused| refused.kind);
        let nat64 = Ipv6Addr::from((0x64_ff9b_u128 << 96) | u128::from(bits));
        prop_assert_eq!(judge(plain.into()), judge(plain.to_ipv6_mapped().into()));
        prop_assert_eq!(judge(plain.into()), judge(nat64.into()));
    }

    #[test]
    fn what_the_standard_library_calls_special_is_refused(bits: u32) {
        let ip = Ipv4Addr::from(bits);
        let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
            || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified();
        if special {
            prop_assert!(NetworkGuard::default().admit(SocketAddr::new(ip.into(), 80)).is_err());
        }
    }
}
