//! Fetching a document over HTTP on a tenant's behalf. In order:
//!
//! 1. read the URL ([`Target`]): http or https, no credentials, a plain host;
//! 2. resolve the host, once;
//! 3. ask the guard about **every** address found, and stop at the first that it refuses;
//! 4. connect to exactly those addresses: the client is given them and has no resolver of its own, so a name that
//!    changes its mind between check and connection (DNS rebinding) gains nothing;
//! 5. send a source's credential over TLS, or within a network that the operator allows, and refuse redirects: the next
//!    hop would be another URL;
//! 6. read the body as it comes, never holding more than the limit.
//!
//! One deadline covers all of it. No proxy is used, since it would resolve and connect in our place.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING};
use reqwest::{Client, Response, redirect, retry};

use tokio::sync::Semaphore;

use super::config::FetchConfig;
use super::credential::Credential;
use super::error::ConnectorError;
use super::guard::{NetworkGuard, RefusedAddress};
use super::target::{Host, Target};

/// Most addresses of one name that are considered; more is not a web server's name.
const MAX_ADDRESSES: usize = 32;

/// Names that are asked for at one time.
const LOOKUPS_MAX: usize = 16;

const USER_AGENT: &str = concat!("counterfoil/", env!("CARGO_PKG_VERSION"));

/// Fetches documents within limits.
#[derive(Clone, Debug)]
pub struct Fetcher {
    guard: NetworkGuard,
    max_bytes: usize,
    connect_timeout: Duration,
    total_timeout: Duration,
    limit_ms: u64,
    /// A name that is asked for keeps a thread until the system's resolver gives up, which may be long after we did. So
    /// many threads and no more: others, who share the pool, go on.
    lookups: Arc<Semaphore>,
}

impl Fetcher {
    /// A fetcher with these limits.
    #[must_use]
    pub fn new(config: &FetchConfig) -> Self {
        Self {
            guard: config.guard(),
            max_bytes: config.max_bytes,
            connect_timeout: config.connect_timeout(),
            total_timeout: config.total_timeout(),
            limit_ms: config.total_timeout_ms,
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    /// The text at `url`, asked for with `credential` if there is one.
    ///
    /// # Errors
    /// When the URL or its address is refused, the source cannot be reached in time, or answers anything but a
    /// success with a text within the limit.
    pub async fn text(
        &self,
        url: &str,
        accept: &'static str,
        credential: Option<&Credential>,
    ) -> Result<String, ConnectorError> {
        let target = Target::parse(url)?;
        let exchange = self.exchange(&target, accept, credential);
        let limit_ms = self.limit_ms;
        let bytes = tokio::time::timeout(self.total_timeout, exchange)
            .await
            .map_err(|_| ConnectorError::TimedOut { limit_ms })??;
        String::from_utf8(bytes).map_err(|error| ConnectorError::NotUtf8 {
            position: error.utf8_error().valid_up_to() + 1,
        })
    }

    async fn exchange(
        &self,
        target: &Target,
        accept: &'static str,
        credential: Option<&Credential>,
    ) -> Result<Vec<u8>, ConnectorError> {
        let addresses = self.resolve(target).await?;
        self.admit(&addresses)?;
        // Whatever name or address a clear connection leads to: only where the operator vouches for the network.
        let private = addresses
            .iter()
            .all(|address| self.guard.allows_private(*address));
        if credential.is_some() && !target.is_https() && !private {
            return Err(ConnectorError::CredentialInClear);
        }
        let response = self.request(target, &addresses, accept, credential).await?;
        self.body(admit_status(response)?).await
    }

    /// The addresses that `target` may be reached at.
    async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectorError> {
        let name = match target.host() {
            Host::Address(ip) => return Ok(vec![SocketAddr::new(*ip, target.port())]),
            Host::Name(name) => name,
        };
        let unresolved = |detail: String| ConnectorError::HostUnresolved {
            host: name.clone(),
            detail,
        };
        let found = self.look_up(name.clone(), target.port()).await;
        let addresses = found.map_err(|error| unresolved(error.to_string()))?;
        if addresses.is_empty() {
            return Err(unresolved("no addresses".to_owned()));
        }
        Ok(addresses)
    }

    /// By the system's resolver, which blocks. The thread keeps its place for as long as it is kept itself, also when nobody
    /// waits for the answer any more.
    async fn look_up(&self, name: String, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        let place = Arc::clone(&self.lookups).acquire_owned().await;
        let asking = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            drop(place);
            found.map(|found| found.take(MAX_ADDRESSES).collect())
        });
        asking.await.map_err(std::io::Error::other)?
    }

    fn admit(&self, addresses: &[SocketAddr]) -> Result<(), RefusedAddress> {
        addresses
            .iter()
            .try_for_each(|address| self.guard.admit(*address))
    }

    async fn request(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        accept: &'static str,
        credential: Option<&Credential>,
    ) -> Result<Response, ConnectorError> {
        let client = self
            .client(target, addresses)
            .map_err(|error| self.failed(error))?;
        let mut request = client
            .get(target.url().clone())
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "identity");
        if let Some(Credential { name, value }) = credential {
            request = request.header(name, value);
        }
        request.send().await.map_err(|error| self.failed(error))
    }

    /// A client for one exchange, tied to `addresses`.
    fn client(&self, target: &Target, addresses: &[SocketAddr]) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(0)
            .dns_resolver(NoResolver);
        if let Host::Name(name) = target.host() {
            builder = builder.resolve_to_addrs(name, addresses);
        }
        if !target.is_https() {
            // Without TLS the system's certificates need not be loaded, nor be there.
            builder = builder.tls_certs_only([]);
        }
        builder.build()
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ConnectorError> {
        let limit_bytes = self.max_bytes;
        let declared = response.content_length().unwrap_or(0);
        if declared > limit_bytes as u64 {
            return Err(ConnectorError::PayloadTooLarge { limit_bytes });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(ConnectorError::PayloadTooLarge { limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, error: reqwest::Error) -> ConnectorError {
        if error.is_timeout() {
            return ConnectorError::TimedOut {
                limit_ms: self.limit_ms,
            };
        }
        let connecting = error.is_connect() || error.is_builder();
        let detail = chain(&error.without_url());
        if connecting {
            ConnectorError::ConnectFailed { detail }
        } else {
            ConnectorError::Interrupted { detail }
        }
    }
}

fn admit_status(response: Response) -> Result<Response, ConnectorError> {
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else if status.is_redirection() {
        Err(ConnectorError::Redirected {
            status: status.as_u16(),
        })
    } else {
        Err(ConnectorError::HttpStatus {
            status: status.as_u16(),
        })
    }
}

/// Every name is resolved before the client is made; one that still asks is not connected to.
struct NoResolver;

impl Resolve for NoResolver {
    fn resolve(&self, _name: Name) -> Resolving {
        Box::pin(async { Err("names are resolved before the connection, never by it".into()) })
    }
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
