//! A URL that may be fetched: http or https, no credentials, and a host in its one ordinary spelling.
//!
//! URL parsers are generous: `http://2130706433/`, `http://0x7f.1/` and `http://①②⑦.0.0.1/` all mean 127.0.0.1. The
//! guard judges what the parser made of it, so none of them slips through; all the same, a host that is not
//! written as what it means is refused, because nobody writes it so in good faith.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

/// Longest URL that is read.
const MAX_URL_BYTES: usize = 2_000;

/// A URL that is well formed in our narrow sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    url: Url,
    host: Host,
    port: u16,
}

/// Where a URL leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, yet to be resolved; in lower case.
    Name(String),
}

/// A URL that is not fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Over the limit.
    #[error("the URL has {bytes} bytes; at most {MAX_URL_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that parsers silently drop or rewrite.
    #[error("the URL holds a space, a control character or a backslash (character {character})")]
    Character {
        /// Where, from 1.
        character: usize,
    },
    /// Another scheme.
    #[error("the URL must begin with http:// or https://")]
    Scheme,
    /// Not a URL.
    #[error("the URL is malformed: look at its host and port")]
    Malformed,
    /// A user name or password.
    #[error("the URL holds credentials before an @: they would stand in the log; leave them out")]
    Credentials,
    /// A host that is written unlike what it means.
    #[error(
        "the host is not written plainly: write an IPv4 address as four decimal numbers, and a name in ASCII letters"
    )]
    OddHost,
    /// Port 0.
    #[error("port 0 cannot be connected to")]
    Port,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is malformed, or not plainly an http or https URL without credentials.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong { bytes: text.len() });
        }
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        if let Some(index) = text.chars().position(odd) {
            return Err(TargetError::Character { character: index + 1 });
        }
        let authority = authority(text)?;
        let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        let host = host(&url, authority)?;
        let port = url
            .port_or_known_default()
            .filter(|port| *port != 0)
            .ok_or(TargetError::Port)?;
        Ok(Self { url, host, port })
    }

    /// The URL, normalised.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where it leads.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port that is connected to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is fetched over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The part between `//` and the path, as written.
fn authority(text: &str) -> Result<&str, TargetError> {
    let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(TargetError::Scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Ok(&rest[..end])
}

/// The host, if `authority` spells it as the parser understood it.
fn host(url: &Url, authority: &str) -> Result<Host, TargetError> {
    let understood = url.host_str().ok_or(TargetError::OddHost)?;
    if let Some(bracketed) = understood.strip_prefix('[') {
        let inner = bracketed.strip_suffix(']').ok_or(TargetError::OddHost)?;
        let ip: Ipv6Addr = inner.parse().map_err(|_| TargetError::OddHost)?;
        return Ok(Host::Address(ip.into()));
    }
    let written = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
    if !written.eq_ignore_ascii_case(understood) {
        return Err(TargetError::OddHost);
    }
    match understood.parse::<IpAddr>() {
        Ok(ip) => Ok(Host::Address(ip)),
        Err(_) => Ok(Host::Name(understood.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> TargetError {
        Target::parse(text).expect_err(text)
    }

    #[test]
    fn a_plain_url_is_taken_apart() {
        for (text, host, port, https) in [
            ("http://example.org/a?b=c", "example.org", 80, false),
            ("HTTPS://Example.ORG/", "example.org", 443, true),
            ("https://example.org:8443", "example.org", 8443, true),
            ("http://8.8.8.8/", "8.8.8.8", 80, false),
            ("http://[2606:4700::1]:81/", "2606:4700::1", 81, false),
            ("http://[2606:4700:0:0::1]/", "2606:4700::1", 80, false),
            (
                "http://xn--exmple-cua.org/?user=a@b",
                "xn--exmple-cua.org",
                80,
                false,
            ),
        ] {
            let target = Target::parse(text).unwrap();
            let parts = (target.host().to_string(), target.port(), target.is_https());
            assert_eq!(parts, (host.to_owned(), port, https), "{text}");
        }
    }

    #[test]
    fn only_http_and_https_are_fetched() {
        for text in [
            "",
            "example.org",
            "//example.org/",
            "ftp://example.org/",
            "file:///etc/passwd",
            "gopher://127.0.0.1:6379/_FLUSHALL",
            "http:/example.org",
            "http:example.org",
            "data:text/csv,1",
            "javascript://example.org",
            "unix:///var/run/docker.sock",
        ] {
            assert_eq!(refused(text), TargetError::Scheme, "{text}");
        }
    }

    #[test]
    fn credentials_are_refused_however_they_are_written() {
        for text in [
            "http://user@example.org/",
            "http://user:secret@example.org/",
            "http://:secret@example.org/",
            "http://@example.org/",
            "http://example.org:80@127.0.0.1/",
            "http://example.org@127.0.0.1:80/",
        ] {
            assert_eq!(refused(text), TargetError::Credentials, "{text}");
        }
    }

    #[test]
    fn a_host_in_an_odd_spelling_is_refused() {
        for text in [
            "http://2130706433/",
            "http://017700000001/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.1/",
            "http://127.0.0.1./",
            "http://0/",
            "http://0x0/",
            "http://134744072/",
            "http://0x08.0x08.0x08.0x08/",
            "http://010.8.8.8/",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "http://\u{ff11}27.0.0.1/",
            "http://127\u{3002}0\u{3002}0\u{3002}1/",
            "http://127.0.0.%31/",
            "http://%6c%6f%63alhost/",
            "http://\u{24db}ocalhost/",
            "http://ex\u{e4}mple.org/",
            "http:///example.org/",
        ] {
            assert_eq!(refused(text), TargetError::OddHost, "{text}");
        }
    }

    #[test]
    fn what_no_parser_should_guess_at_is_refused() {
        for (text, character) in [
            ("http://example.org\\@127.0.0.1/", 19),
            ("http://exa\tmple.org/", 11),
            ("http://example.org/\r\nHost: x", 20),
            (" http://example.org/", 1),
            ("http://example.org/\0", 20),
            ("http://example.org/\u{a0}", 20),
        ] {
            assert_eq!(refused(text), TargetError::Character { character }, "{text:?}");
        }
        for text in [
            "http://",
            "http://:80/",
            "http://example.org:99999/",
            "http://[::1/",
            "http://[::1%25eth0]/",
            "http://256.0.0.1/",
            "http://1.2.3.4.5/",
            "http://a b/",
        ] {
            let error = refused(text);
            assert!(
                matches!(error, TargetError::Malformed | TargetError::Character { .. }),
                "{text}: {error}"
            );
        }
        assert_eq!(refused("http://example.org:0/"), TargetError::Port);
        let long = format!("http://example.org/{}", "a".repeat(2_000));
        assert_eq!(refused(&long), TargetError::TooLong { bytes: 2_019 });
    }

    proptest! {
        #[test]
        fn any_text_is_a_target_or_refused_without_a_panic(text in "(http://)?[\\PC]{0,40}") {
            if let Ok(target) = Target::parse(&text) {
                prop_assert!(target.url().username().is_empty());
            }
        }

        #[test]
        fn whatever_spells_an_address_is_read_as_that_address_or_refused(text in "[0-9x.]{1,16}") {
            if let Ok(target) = Target::parse(&format!("http://{text}/")) {
                match target.host() {
                    Host::Address(ip) => prop_assert_eq!(ip.to_string(), text),
                    Host::Name(name) => prop_assert!(name.parse::<IpAddr>().is_err()),
                }
            }
        }
    }
}
