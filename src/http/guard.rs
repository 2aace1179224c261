//! What stands around the permission check of every request: before it the proof of origin, beside it the counts of
//! refused credentials and of commands, and on every answer that TLS is asked for.
//!
//! Nothing here knows who may do what, and nothing here waits: counts are this process's own. A limit on refused
//! credentials never refuses a good one, so that nobody behind a shared address can lock the others out; it makes
//! guessing (of 256 bits) and noise cheap to answer and visible as 429.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use counterfoil_events::timestamp::SystemClock;
use warp::http::header::STRICT_TRANSPORT_SECURITY;
use warp::http::{HeaderMap, HeaderValue, Method};

use super::answer::Response;
use super::auth::Principal;
use super::client_address::TrustedProxies;
use super::origin::{OpenUntil, OriginProof};
use super::problem::{self, ApiError};
use crate::config::Config;
use crate::limits::{LocalLimiter, Rate, Verdict};

/// Principals and addresses that a process counts at one time.
const ENTRIES_MAX: usize = 50_000;

/// See the module. Without anything configured, as in tests of other things, it lets everything pass.
pub struct Guard {
    origin: Option<OriginProof>,
    commands: Option<Rate>,
    refused_credentials: Option<Rate>,
    counts: LocalLimiter,
    transport_security: Option<HeaderValue>,
    proxies: TrustedProxies,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            origin: None,
            commands: None,
            refused_credentials: None,
            counts: LocalLimiter::new(ENTRIES_MAX),
            transport_security: None,
            proxies: TrustedProxies::default(),
        }
    }
}

impl Guard {
    /// As configured.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let max_age_s = config.http.hsts_max_age_s;
        let text = format!("max-age={max_age_s}; includeSubDomains");
        Self {
            origin: config.origin.proof(Arc::new(SystemClock)),
            commands: config.limits.commands(),
            refused_credentials: config.limits.refused_credentials(),
            transport_security: HeaderValue::from_str(&text).ok().filter(|_| max_age_s > 0),
            proxies: TrustedProxies::new(config.http.trusted_proxies.clone()),
            ..Self::default()
        }
    }

    /// With this proof asked for.
    #[must_use]
    pub fn with_origin(mut self, origin: OriginProof) -> Self {
        self.origin = Some(origin);
        self
    }

    /// With the proof suspended as long as this says.
    #[must_use]
    pub fn origin_unless(mut self, open_until: OpenUntil) -> Self {
        self.origin = self.origin.map(|origin| origin.unless(open_until));
        self
    }

    /// Refuses what has not come through the edge.
    pub(super) fn origin(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        match &self.origin {
            Some(origin) => origin.check(method, path, headers),
            None => Ok(()),
        }
    }

    /// Who sent a request, behind proxies of ours.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        self.proxies.client(peer, headers)
    }

    /// The refusal of a credential as it is answered: beyond the rate of its address, 429.
    pub(super) fn refused(&self, error: ApiError, peer: Option<SocketAddr>) -> ApiError {
        let counted = self.refused_credentials.zip(peer.map(|peer| peer.ip()));
        match counted.filter(|_| error.status() == 401) {
            Some((rate, address)) => self.count_refused(error, address, rate),
            None => error,
        }
    }

    fn count_refused(&self, error: ApiError, address: IpAddr, rate: Rate) -> ApiError {
        let verdict = self.counts.count(&format!("address:{}", network(address)), rate);
        match verdict.allowed {
            true => error,
            false => beyond("too many refused credentials from this address", &verdict),
        }
    }

    /// Counts a command of this principal.
    pub(super) fn command(&self, principal: &Principal, method: &Method) -> Result<(), ApiError> {
        let Some(rate) = self.commands.filter(|_| is_command(principal, method)) else {
            return Ok(());
        };
        let verdict = self
            .counts
            .count(&format!("principal:{}", principal.scope()), rate);
        match verdict.allowed {
            true => Ok(()),
            false => Err(beyond("too many commands by this caller", &verdict)),
        }
    }

    /// What every answer says of the transport.
    pub(super) fn seal(&self, response: &mut Response) {
        if let Some(value) = &self.transport_security {
            response
                .headers_mut()
                .insert(STRICT_TRANSPORT_SECURITY, value.clone());
        }
    }
}

/// Agents ask for completions, which have counts of their own, shared by all processes.
fn is_command(principal: &Principal, method: &Method) -> bool {
    let counted = !matches!(principal, Principal::Anonymous | Principal::Agent(_));
    counted && method != Method::GET && method != Method::HEAD
}

/// Whoever has one IPv6 address usually has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

fn beyond(what: &str, verdict: &Verdict) -> ApiError {
    problem::TOO_MANY_REQUESTS
        .detail(format!("{what}; wait as long as Retry-After says"))
        .retry_after(verdict.retry_after)
}
