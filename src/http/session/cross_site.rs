//! Requests that another site has a browser send (CSRF): refused where a session is the credential, since a browser adds
//! its cookie to whatever it sends. Whoever sends a bearer token has it, and is not asked.
//!
//! Three things must agree, because each alone has failed somewhere: `SameSite=Strict` on the cookie fails with a sibling
//! domain, which is the same site; `Origin` and `Sec-Fetch-Site`, which browsers set and scripts cannot, fail with
//! browsers or proxies that drop them, so one of them has to be there; the token in `X-CSRF-Token`, which no other site
//! can read or guess, fails where a page of ours leaks it. The token is derived from the cookie, so nothing is kept for
//! it and each session has its own.
//!
//! A `GET` changes nothing and is not asked; one that would become a WebSocket is, because browsers let any site open
//! one. It cannot send a header of its own, so of it only the first two are asked.

use warp::http::header::{HOST, ORIGIN};
use warp::http::{HeaderMap, Method};

/// The header with the token.
pub const X_CSRF_TOKEN: &str = "x-csrf-token";
const SEC_FETCH_SITE: &str = "sec-fetch-site";
const CONTEXT: &str = "counterfoil 2026 csrf token v1";

/// Why a request may be another site's; for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrossSite {
    /// The browser says so.
    #[error("Sec-Fetch-Site is not same-origin")]
    Site,
    /// The browser names another origin.
    #[error("Origin is another one")]
    Origin,
    /// Nothing says where it comes from.
    #[error("neither Origin nor Sec-Fetch-Site is there")]
    Unsaid,
    /// The page does not know the session.
    #[error("X-CSRF-Token is missing or wrong")]
    Token,
}

/// A request, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// Whether it asks for a WebSocket.
    pub upgrades: bool,
}

/// The token of a session: 64 hexadecimal digits.
#[must_use]
pub fn token_of(session: &str) -> String {
    derived(session).to_hex().to_string()
}

fn derived(session: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, session.as_bytes()))
}

/// Makes sure that a request comes from a page of our own.
///
/// # Errors
/// What speaks against it.
pub fn check(asked: Asked<'_>, session: &str, own_origin: Option<&str>) -> Result<(), CrossSite> {
    let reads = asked.method == Method::GET || asked.method == Method::HEAD;
    if reads && !asked.upgrades {
        return Ok(());
    }
    from_own_page(asked.headers, own_origin)?;
    if reads {
        return Ok(());
    }
    let shown = one(asked.headers, X_CSRF_TOKEN).ok().flatten();
    let shown = shown.and_then(|text| blake3::Hash::from_hex(text).ok());
    // `blake3::Hash` compares in constant time.
    match shown {
        Some(shown) if shown == derived(session) => Ok(()),
        _ => Err(CrossSite::Token),
    }
}

fn from_own_page(headers: &HeaderMap, own_origin: Option<&str>) -> Result<(), CrossSite> {
    let site = one(headers, SEC_FETCH_SITE).map_err(|()| CrossSite::Site)?;
    if site.is_some_and(|site| site != "same-origin") {
        return Err(CrossSite::Site);
    }
    let origin = one(headers, ORIGIN.as_str()).map_err(|()| CrossSite::Origin)?;
    match (origin, site) {
        (Some(origin), _) if !is_own(origin, headers, own_origin) => Err(CrossSite::Origin),
        (None, None) => Err(CrossSite::Unsaid),
        _ => Ok(()),
    }
}

/// As configured; else its host is the one that the request names.
fn is_own(origin: &str, headers: &HeaderMap, own_origin: Option<&str>) -> bool {
    if let Some(own) = own_origin {
        return origin == own;
    }
    let host = one(headers, HOST.as_str()).ok().flatten();
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == host
}

/// A header that is there once or not at all.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use warp::http::{HeaderName, HeaderValue};

    use super::*;

    const SESSION: &str = "cfs_01234567_abc";
    const OWN: &str = "https://console.example";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn checked(
        method: &Method,
        upgrades: bool,
        pairs: &[(&str, &str)],
        own: Option<&str>,
    ) -> Result<(), CrossSite> {
        let headers = headers(pairs);
        let asked = Asked {
            method,
            headers: &headers,
            upgrades,
        };
        check(asked, SESSION, own)
    }

    #[test]
    fn a_command_needs_an_origin_of_ours_and_the_sessions_token() {
        let token = token_of(SESSION);
        let csrf = (X_CSRF_TOKEN, token.as_str());
        let (site, cross) = ((SEC_FETCH_SITE, "same-origin"), (SEC_FETCH_SITE, "cross-site"));
        let (own, other) = (("origin", OWN), ("origin", "https://evil.example"));
        type Case<'c> = (&'c [(&'c str, &'c str)], Result<(), CrossSite>);
        let cases: &[Case<'_>] = &[
            (&[site, own, csrf], Ok(())),
            (&[own, csrf], Ok(())),
            (&[site, csrf], Ok(())),
            (&[csrf], Err(CrossSite::Unsaid)),
            (&[cross, own, csrf], Err(CrossSite::Site)),
            (&[(SEC_FETCH_SITE, "same-site"), own, csrf], Err(CrossSite::Site)),
            (&[(SEC_FETCH_SITE, "none"), own, csrf], Err(CrossSite::Site)),
            (&[site, cross, own, csrf], Err(CrossSite::Site)),
            (&[site, other, csrf], Err(CrossSite::Origin)),
            (&[other, csrf], Err(CrossSite::Origin)),
            (&[own, other, csrf], Err(CrossSite::Origin)),
            (&[("origin", "null"), csrf], Err(CrossSite::Origin)),
            (
                &[("origin", "https://console.example.evil.example"), csrf],
                Err(CrossSite::Origin),
            ),
            (
                &[("origin", "http://console.example"), csrf],
                Err(CrossSite::Origin),
            ),
            (&[site, own], Err(CrossSite::Token)),
            (&[site, own, (X_CSRF_TOKEN, "")], Err(CrossSite::Token)),
            (&[site, own, csrf, csrf], Err(CrossSite::Token)),
            (
                &[site, own, (X_CSRF_TOKEN, &token_of("cfs_01234567_abd"))],
                Err(CrossSite::Token),
            ),
        ];
        for (pairs, expected) in cases {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(
                    checked(&method, false, pairs, Some(OWN)),
                    *expected,
                    "{method} {pairs:?}"
                );
            }
            // Reading is not asked about anything.
            assert_eq!(
                checked(&Method::GET, false, pairs, Some(OWN)),
                Ok(()),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn without_a_configured_origin_it_is_the_host_that_the_request_names() {
        let token = token_of(SESSION);
        let ask = |origin: &str, host: &str| {
            let pairs = [("origin", origin), ("host", host), (X_CSRF_TOKEN, token.as_str())];
            checked(&Method::POST, false, &pairs, None)
        };
        assert_eq!(ask("http://127.0.0.1:8080", "127.0.0.1:8080"), Ok(()));
        assert_eq!(
            ask("http://127.0.0.1:8081", "127.0.0.1:8080"),
            Err(CrossSite::Origin)
        );
        assert_eq!(ask("null", "null"), Err(CrossSite::Origin));
    }

    #[test]
    fn a_websocket_of_another_site_is_refused_and_of_ours_needs_no_token() {
        let ask = |pairs: &[(&str, &str)]| checked(&Method::GET, true, pairs, Some(OWN));
        assert_eq!(ask(&[("origin", OWN)]), Ok(()));
        assert_eq!(ask(&[("origin", "https://evil.example")]), Err(CrossSite::Origin));
        assert_eq!(ask(&[]), Err(CrossSite::Unsaid));
    }
}
