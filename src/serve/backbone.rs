//! The backbone as the configuration says it.

use std::time::Duration;

use counterfoil_events::backbone::{BackboneOptions, StreamPrefix, StreamSettings};

use super::ServeError;
use crate::config::NatsConfig;

/// The backbone's options from the configuration.
///
/// # Errors
/// When the prefix cannot be one, or the credentials file cannot be read.
pub async fn backbone_options(config: &NatsConfig) -> Result<BackboneOptions, ServeError> {
    let connect = config.connect_options().await.map_err(|source| ServeError::Io {
        what: "reading nats.credentials_file".to_owned(),
        source,
    })?;
    Ok(BackboneOptions {
        servers: config.servers().into_iter().map(str::to_owned).collect(),
        connect,
        prefix: StreamPrefix::new(&config.prefix)?,
        settings: StreamSettings {
            max_age: Duration::from_secs(config.stream_max_age_s),
            max_bytes: config.stream_max_bytes,
            duplicate_window: Duration::from_secs(config.stream_duplicate_window_s),
            replicas: config.stream_replicas,
        },
    })
}
