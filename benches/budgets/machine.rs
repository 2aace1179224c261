//! What was measured on: processors, load, Postgres and the settings that make its commits durable.

use std::fmt;

use serde::Serialize;
use sqlx::{ConnectOptions, Connection};

use crate::site::Site;

const SETTINGS: &str = "SELECT format('fsync %s, synchronous_commit %s, full_page_writes %s, wal_compression %s, \
                        shared_buffers %s', current_setting('fsync'), current_setting('synchronous_commit'), \
                        current_setting('full_page_writes'), current_setting('wal_compression'), \
                        current_setting('shared_buffers'))";

/// The machine and its servers.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpus: usize,
    cpu: String,
    postgres: String,
    settings: String,
    load: f64,
}

impl Machine {
    /// Looks at both.
    pub async fn look(site: &Site) -> anyhow::Result<Self> {
        let mut connection = site.admin().connect().await?;
        let postgres = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut connection)
            .await?;
        let settings = sqlx::query_scalar(SETTINGS).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(Self {
            cpus: std::thread::available_parallelism()?.get(),
            cpu: cpu_name(),
            postgres,
            settings,
            load: load(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpus,
            cpu,
            postgres,
            settings,
            load,
        } = self;
        write!(
            f,
            "{cpus} CPUs ({cpu}), load average {load:.1} at the start; everything, load generators included, on this \
             machine.\nPostgres {postgres}: {settings}."
        )
    }
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name"));
    name.map_or_else(
        || "unnamed".to_owned(),
        |name| name.trim_matches([' ', '\t', ':']).to_owned(),
    )
}

/// The load average of the last minute; zero where the system does not tell.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0)
}
