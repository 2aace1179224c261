//! One process of the platform: the roles it has, composed and owned.
//!
//! Start: connections → checks that commits are durable → signing key, which the KMS opens → log → roles → HTTP. Nothing is migrated
//! (`counterfoil init` does). Stop, in reverse: HTTP drains, roles end, the log finishes what waits, connections
//! close. Every task is held here and awaited.

mod api;
mod backbone;
mod basis;
mod consumers;
mod health;
mod parts;
mod relay;
mod runner;

use std::net::SocketAddr;

use crate::config::Config;
use crate::faults;
use crate::http::table::TableError;
use crate::http::{BindError, Lifecycle, Server};
use crate::signing::KeyFileError;
pub use backbone::backbone_options;
pub use parts::Parts;

/// The process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its keys cannot be loaded.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Postgres is away, or its commits are not durable.
    #[error(transparent)]
    Database(#[from] counterfoil_events::ledger::DatabaseError),
    /// NATS cannot be used as configured.
    #[error(transparent)]
    Backbone(#[from] counterfoil_events::backbone::BackboneError),
    /// A stream prefix that cannot be one.
    #[error(transparent)]
    Prefix(#[from] counterfoil_events::backbone::InvalidPrefix),
    /// A mistake in the route table.
    #[error(transparent)]
    Routes(#[from] TableError),
    /// The address is taken.
    #[error(transparent)]
    Address(#[from] BindError),
    /// Threads cannot be started.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Something else it stands on is not as it must be.
    #[error("{0}")]
    Other(String),
}

/// A running process.
pub struct Process {
    parts: Parts,
    lifecycle: Lifecycle,
    address: SocketAddr,
    server: tokio::task::JoinHandle<bool>,
}

impl Process {
    /// Starts everything that the configuration asks for.
    ///
    /// # Errors
    /// See [`ServeError`]; what was started is ended again.
    pub async fn start(config: &Config) -> Result<Self, ServeError> {
        faults::announce();
        let lifecycle = Lifecycle::new();
        let started = start(config, &lifecycle).await;
        if started.is_err() {
            lifecycle.drain();
            lifecycle.ended().await;
        }
        let (parts, server) = started?;
        Ok(Self {
            parts,
            lifecycle,
            address: server.address(),
            server: tokio::spawn(server.run()),
        })
    }

    /// Where it listens: with the API, or (without the `api` role) with `/live`, `/ready` and `/metrics` alone.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is made of, for those who run in the same process (the demo).
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Ends everything in order.
    pub async fn stop(self) {
        self.lifecycle.drain();
        // A server task that panicked has nothing left to drain.
        let _ = self.server.await;
        self.parts.stop().await;
    }
}

async fn start(config: &Config, lifecycle: &Lifecycle) -> Result<(Parts, Server), ServeError> {
    let parts = Parts::start(config, lifecycle).await?;
    match bind(config, &parts, lifecycle).await {
        Ok(server) => Ok((parts, server)),
        Err(error) => {
            parts.stop().await;
            Err(error)
        }
    }
}

async fn bind(config: &Config, parts: &Parts, lifecycle: &Lifecycle) -> Result<Server, ServeError> {
    let dispatcher = parts.dispatcher(config, lifecycle)?;
    let limits = config.http.server_limits();
    Ok(Server::bind(config.http.address, limits, dispatcher, lifecycle.clone()).await?)
}
