//! `counterfoil projections …`: which read models there are, building them anew, comparing them, and what is parked.
//! They need configuration and Postgres, but no running `counterfoil serve`.

use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Database;
use counterfoil_projections::all;
use counterfoil_projections::engine::{self, EngineError, Projection, RebuildOptions, RebuildProgress};
use indicatif::ProgressBar;
use serde::Serialize;
use sqlx::PgPool;

use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::table::Table;
use super::values::whole;
use super::{GlobalArgs, block_on, reach};
use crate::config::PostgresRole;

#[derive(Debug, Subcommand)]
pub(super) enum ProjectionsCommand {
    /// The read models with their versions
    List,
    /// Build a read model anew beside the live one, and put it in its place; a cancelled one is resumed
    Rebuild {
        #[command(flatten)]
        which: Which,
        /// Stop the rebuild that is under way
        #[arg(long)]
        cancel: bool,
        /// At most so many events a second; as fast as it goes, if not given
        #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
            value_parser = whole::<u32>(0..=u32::MAX.into()))]
        events_per_second: u32,
    },
    /// Compare a read model with one folded from nothing; prints nothing and exits 0 when they are equal
    Diff {
        #[command(flatten)]
        which: Which,
    },
    /// Events that could not be folded; with NAME, TENANT and POSITION, try that one and those behind it again
    Parked {
        /// Which read model
        name: Option<String>,
        /// Whose log
        #[arg(requires = "name", requires = "position")]
        tenant: Option<TenantId>,
        /// Where in it
        #[arg(value_parser = whole::<u64>(1..))]
        position: Option<u64>,
    },
}

#[derive(Debug, Args)]
#[group(required = true)]
pub(super) struct Which {
    /// One read model
    name: Option<String>,
    /// Every read model
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    version: i32,
    revision: i32,
    state: engine::VersionState,
}

impl ProjectionsCommand {
    pub fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        let config = global.installation()?;
        block_on(async move {
            reach::postgres(&config, PostgresRole::Projector, global).await?;
            let database = Database::new(&config.postgres.database_options());
            let outcome = self.on(database.projector(), output).await;
            database.close().await;
            outcome
        })
    }

    async fn on(self, pool: &PgPool, output: Output) -> Outcome {
        match self {
            Self::List => list(pool, output).await,
            Self::Rebuild {
                which, cancel: true, ..
            } => cancel(pool, &which).await,
            Self::Rebuild {
                which,
                events_per_second,
                ..
            } => rebuild(pool, &which, events_per_second, output).await,
            Self::Diff { which } => diff(pool, &which, output).await,
            Self::Parked {
                name: Some(name),
                tenant: Some(tenant),
                position: Some(position),
            } => retry(pool, &name, tenant, Position(position)).await,
            Self::Parked { name, .. } => parked(pool, name.as_deref(), output).await,
        }
    }
}

impl Which {
    fn projections(&self) -> Result<Vec<Arc<dyn Projection>>, CliError> {
        match &self.name {
            Some(name) => Ok(vec![named(name)?]),
            None => Ok(all()),
        }
    }
}

fn named(name: &str) -> Result<Arc<dyn Projection>, CliError> {
    let names = || {
        all()
            .iter()
            .map(|projection| projection.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = all().into_iter().find(|projection| projection.name() == name);
    found.ok_or_else(|| CliError::usage(format!("there is no read model {name}; there are {}", names())))
}

fn failed(error: EngineError) -> CliError {
    match error {
        EngineError::Version(_) | EngineError::RebuildUnderWay(_) | EngineError::Cancelled(_) => {
            CliError::usage(error)
        }
        other => CliError::unavailable(other),
    }
}

async fn list(pool: &PgPool, output: Output) -> Outcome {
    let mut listed = Vec::new();
    for projection in all() {
        let versions = engine::versions(pool, projection.name())
            .await
            .map_err(CliError::unavailable)?;
        listed.extend(versions.into_iter().map(|version| Listed {
            name: projection.name(),
            version: version.version,
            revision: version.revision,
            state: version.state,
        }));
    }
    output.list(
        &listed,
        "no read models yet: start a process with the `consumers` role",
        |listed| {
            let mut table = Table::new(["NAME", ">VERSION", ">REVISION", "STATE"]);
            for row in listed {
                table.row([
                    &row.name,
                    &row.version,
                    &row.revision,
                    &format!("{:?}", row.state).to_lowercase(),
                ]);
            }
            table
        },
    )?;
    Ok(Exit::Good)
}

async fn cancel(pool: &PgPool, which: &Which) -> Outcome {
    for projection in which.projections()? {
        if engine::cancel(pool, projection.name())
            .await
            .map_err(CliError::unavailable)?
        {
            Output::write(&format!(
                "{}: cancelled; start it again to resume\n",
                projection.name()
            ))?;
        }
    }
    Ok(Exit::Good)
}

async fn rebuild(pool: &PgPool, which: &Which, events_per_s: u32, output: Output) -> Outcome {
    for projection in which.projections()? {
        let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
        let progress = |progress: RebuildProgress| {
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            bar.get_or_insert_with(|| output.progress(projection.name(), progress.total))
                .set_position(progress.done);
        };
        let options = RebuildOptions {
            events_per_s,
            ..RebuildOptions::default()
        };
        let built = engine::rebuild(pool, projection.as_ref(), options, &progress)
            .await
            .map_err(failed)?;
        Output::write(&format!(
            "{}: version {} is live\n",
            projection.name(),
            built.version
        ))?;
    }
    Ok(Exit::Good)
}

async fn diff(pool: &PgPool, which: &Which, output: Output) -> Outcome {
    let mut differences = Vec::new();
    for projection in which.projections()? {
        differences.extend(engine::diff(pool, projection.as_ref()).await.map_err(failed)?);
    }
    output.print(&differences, |differences| {
        differences
            .iter()
            .map(|row| {
                format!(
                    "{} {} only in {}: {}\n",
                    row.table_name, row.key, row.side, row.row
                )
            })
            .collect()
    })?;
    Ok(if differences.is_empty() {
        Exit::Good
    } else {
        Exit::Finding
    })
}

async fn parked(pool: &PgPool, name: Option<&str>, output: Output) -> Outcome {
    let events = engine::list_parked(pool, name)
        .await
        .map_err(CliError::unavailable)?;
    output.list(&events, "nothing is parked", |events| {
        let mut table = Table::new(["NAME", ">VERSION", "TENANT", ">POSITION", "TYPE", "REASON"]);
        for event in events {
            table.row([
                &event.projection,
                &event.version,
                &event.tenant_id,
                &event.position,
                &event.event_type,
                &event.reason,
            ]);
        }
        table
    })?;
    Ok(if events.is_empty() {
        Exit::Good
    } else {
        Exit::Finding
    })
}

async fn retry(pool: &PgPool, name: &str, tenant: TenantId, position: Position) -> Outcome {
    let projection = named(name)?;
    let folded = engine::retry_parked(pool, projection.as_ref(), tenant, position)
        .await
        .map_err(failed)?;
    Output::write(&format!("{folded} events folded\n"))?;
    Ok(Exit::Good)
}
