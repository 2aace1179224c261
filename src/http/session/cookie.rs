//! The cookie of a session (RFC 6265bis).
//!
//! `__Host-`: browsers take it over TLS alone, for this host alone and for all of its paths, so that no sibling domain
//! can plant one. `HttpOnly`: scripts never see it. `SameSite=Strict`: it comes with requests of our own pages alone; a
//! console is a page that is loaded without it and asks by itself, so nothing is lost by that.

use counterfoil_events::user::SESSION_LIFE;
use warp::http::header::COOKIE;
use warp::http::{HeaderMap, HeaderValue};

use crate::http::problem::ApiError;

/// What kind of cookie holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieKind {
    /// Over TLS.
    Secure,
    /// Over plain HTTP on a loopback address, for development.
    Insecure,
}

impl CookieKind {
    fn name(self) -> &'static str {
        match self {
            Self::Secure => "__Host-counterfoil_session",
            Self::Insecure => "counterfoil_session",
        }
    }

    fn attributes(self) -> &'static str {
        match self {
            Self::Secure => "Path=/; Secure; HttpOnly; SameSite=Strict",
            Self::Insecure => "Path=/; HttpOnly; SameSite=Strict",
        }
    }

    /// What a request shows. None when there is none, or more than one: of two, one is somebody else's.
    #[must_use]
    pub fn shown(self, headers: &HeaderMap) -> Option<&str> {
        let pairs = headers.get_all(COOKIE).iter();
        let pairs = pairs.filter_map(|value| value.to_str().ok());
        let mut found = pairs
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// The header that gives a browser a session.
    ///
    /// # Errors
    /// A text that cannot stand in a header: a fault of ours.
    pub fn set(self, text: &str) -> Result<HeaderValue, ApiError> {
        let (name, attributes) = (self.name(), self.attributes());
        let life_s = SESSION_LIFE.as_secs();
        let cookie = format!("{name}={text}; {attributes}; Max-Age={life_s}");
        let mut value = HeaderValue::from_str(&cookie).map_err(ApiError::internal)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The header that takes it away.
    ///
    /// # Errors
    /// Never, but for a fault of ours.
    pub fn clear(self) -> Result<HeaderValue, ApiError> {
        let cookie = format!("{}=; {}; Max-Age=0", self.name(), self.attributes());
        HeaderValue::from_str(&cookie).map_err(ApiError::internal)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_a_requests_cookies_the_one_session_is_read_and_of_two_none() {
        let read = |values: &[&str]| {
            let pairs = values
                .iter()
                .map(|value| (COOKIE, HeaderValue::from_str(value).unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, value);
            }
            CookieKind::Secure.shown(&headers).map(str::to_owned)
        };
        let ours = "__Host-counterfoil_session=cfs_x";
        assert_eq!(read(&[ours]).as_deref(), Some("cfs_x"));
        assert_eq!(
            read(&["a=b; __Host-counterfoil_session=cfs_x; c=d"]).as_deref(),
            Some("cfs_x")
        );
        assert_eq!(read(&["a=b", ours]).as_deref(), Some("cfs_x"));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["a=b"]), None);
        // The name of development, or of anybody else, is not taken for it.
        assert_eq!(read(&["counterfoil_session=cfs_x"]), None);
        assert_eq!(read(&[ours, "__Host-counterfoil_session=cfs_y"]), None);
        assert_eq!(
            read(&["__Host-counterfoil_session=cfs_x; __Host-counterfoil_session=cfs_y"]),
            None
        );
    }

    #[test]
    fn the_cookie_is_bound_to_its_host_and_hidden_from_scripts() {
        let secure = CookieKind::Secure.set("cfs_x").unwrap();
        assert_eq!(
            secure,
            "__Host-counterfoil_session=cfs_x; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=43200"
        );
        assert!(secure.is_sensitive());
        let cleared = CookieKind::Insecure.clear().unwrap();
        assert_eq!(
            cleared,
            "counterfoil_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
    }
}
