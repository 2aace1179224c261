//! `[sessions]`: sessions of people at a browser.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::check::Checks;
use crate::http::session::CookieKind;

/// Sessions of people at a browser.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// How long a session may lie idle before it ends. It ends 12 hours after its start in any case.
    pub idle_s: u64,
    /// The console's origin as browsers write it, `https://console.example`; without it, the host that a request names.
    pub origin: Option<String>,
    /// Cookies without TLS, for development on a loopback address.
    pub insecure_cookies: bool,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        // As OWASP's ASVS (V3.3) has it for what is not harmless.
        Self {
            idle_s: 30 * 60,
            origin: None,
            insecure_cookies: false,
        }
    }
}

impl SessionsConfig {
    pub(super) fn check(&self, checks: &mut Checks, address: SocketAddr) {
        // Above the minute in which a use is noted.
        checks.within("sessions.idle_s", self.idle_s, 120..=12 * 60 * 60);
        let plain = |origin: &String| {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            host.is_some_and(|host| {
                let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
                !host.is_empty() && host.bytes().all(sound)
            })
        };
        checks.require(
            "sessions.origin",
            self.origin.as_ref().is_none_or(plain),
            "must be `https://host` or `http://host`, with a port where it is not the usual one, and nothing after it",
        );
        checks.require(
            "sessions.insecure_cookies",
            !self.insecure_cookies || address.ip().is_loopback(),
            "is for a loopback http.address alone",
        );
    }

    /// How long a session may lie idle.
    #[must_use]
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s)
    }

    /// What kind of cookie holds a session.
    #[must_use]
    pub fn cookie(&self) -> CookieKind {
        match self.insecure_cookies {
            true => CookieKind::Insecure,
            false => CookieKind::Secure,
        }
    }
}
