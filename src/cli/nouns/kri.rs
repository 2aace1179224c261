//! `counterfoil kri …`: key risk indicators, their sources, runs and measurements, and a carrier's rollup of them.

use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::super::exit::CliError;
use super::Ask;
use super::call::{Call, ListArgs, ReasonArg, Shown, TenantArg, json_of, segment};

const COLUMNS: &[&str] = &[
    "id",
    "status",
    ">latest.value",
    "definition.unit",
    "latest.measured_at",
    "retired",
];
const ROLLUP: &[&str] = &[
    "kri",
    "statistics.worst_status",
    ">statistics.members",
    ">statistics.statuses.green",
    ">statistics.statuses.amber",
    ">statistics.statuses.red",
    ">statistics.statuses.stale",
    ">statistics.statuses.missing",
    ">statistics.weighted_mean",
    ">statistics.median",
    ">statistics.p90",
    ">statistics.coverage",
    "unit",
];
const SOURCES: &[&str] = &["id", "kri", "kind", "disabled"];
const RUNS: &[&str] = &[
    "id",
    "kri",
    "state",
    ">attempt",
    ">value",
    "code",
    "requested_at",
    "ended_at",
];
const MEASUREMENTS: &[&str] = &[
    "kri",
    "measured_at",
    ">measurement.value",
    "measurement.band",
    "source",
];

/// Commands on KRIs.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example:\n  counterfoil kri define failed_settlement_rate --file kri.json --tenant TENANT\n  \
    counterfoil kri run SOURCE --tenant TENANT\n  counterfoil kri measurements --tenant TENANT"
)]
pub enum KriCommand {
    /// All of a tenant's, with their latest measurements
    List {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// One, whole
    Get {
        /// Its id
        kri: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// A new one
    #[command(
        after_help = "The file, for example:\n  {\"name\": \"Failed settlement rate\", \"unit\": \"share\",\n   \
        \"bands\": {\"direction\": \"higher_is_worse\", \"upper\": {\"amber\": \"0.02\", \"red\": \"0.05\"}},\n   \
        \"schedule\": {\"frequency\": \"daily\", \"grace_s\": 43200}}"
    )]
    Define {
        /// Its name in paths and rollups
        kri: String,
        /// The definition as a JSON file; `-` for stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Another definition, whole
    Change {
        /// Its id
        kri: String,
        /// The definition as a JSON file; `-` for stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Measure it no more
    Retire {
        /// Its id
        kri: String,
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Ask for a measurement; a runner carries it out
    Run {
        /// The source's id
        source: String,
        #[command(flatten)]
        tenant: TenantArg,
        /// As of when, to load history; now, if not given
        #[arg(long, value_name = "TIME")]
        measured_at: Option<String>,
    },
    /// Runs and what came of them
    Runs {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// What was measured
    Measurements {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// A carrier's tenants, KRI by KRI
    Rollup {
        /// The carrier's organisation
        carrier: String,
        /// As of when; now, if not given
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// What measures them
    #[command(subcommand)]
    Sources(SourcesCommand),
}

/// Commands on KRI sources.
#[derive(Debug, Subcommand)]
pub enum SourcesCommand {
    /// All of a tenant's
    List {
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// One, whole
    Get {
        /// Its id
        source: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// A new one
    #[command(after_help = "The file, for example one of:\n  \
        {\"kind\": \"http_json\", \"url\": \"https://…/figures\", \"pointer\": \"/rate\"}\n  \
        {\"kind\": \"csv\", \"url\": \"https://…/rates.csv\", \"column\": \"rate\", \"aggregate\": \"mean\"}\n  \
        {\"kind\": \"csv\", \"text\": \"rate\\n0.03\\n\", \"column\": \"rate\", \"aggregate\": \"last\"}\n\n\
        A `text` is kept with the log; docs/kris.md says what each kind takes.")]
    Configure {
        /// The KRI that it measures
        #[arg(long)]
        kri: String,
        /// The configuration as a JSON file; `-` for stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Another configuration, whole
    Change {
        /// Its id
        source: String,
        /// The configuration as a JSON file; `-` for stdin
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Fetch once and say what would be measured; nothing is recorded
    Test {
        /// Its id
        source: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
    /// Run it no more
    Disable {
        /// Its id
        source: String,
        #[command(flatten)]
        tenant: TenantArg,
        #[command(flatten)]
        reason: ReasonArg,
    },
    /// Run it again
    Enable {
        /// Its id
        source: String,
        #[command(flatten)]
        tenant: TenantArg,
    },
}

impl Ask for KriCommand {
    fn call(self) -> Result<Call, CliError> {
        let one = |tenant: &TenantArg, kri: &str| tenant.path(&format!("kris/{}", segment(kri)));
        Ok(match self {
            Self::List { tenant, list } => Call::list(tenant.path("kris"), &list, COLUMNS, "no KRIs yet"),
            Self::Get { kri, tenant } => Call::get(one(&tenant, &kri)),
            Self::Define { kri, file, tenant } => {
                let body = json!({"id": kri, "definition": json_of(&file)?});
                Call::command(Method::POST, tenant.path("kris"), body)
            }
            Self::Change { kri, file, tenant } => {
                Call::command(Method::PUT, one(&tenant, &kri), json_of(&file)?)
            }
            Self::Retire { kri, tenant, reason } => {
                Call::command(Method::POST, one(&tenant, &kri) + "/retire", reason.body())
            }
            Self::Run {
                source,
                tenant,
                measured_at,
            } => {
                let path = source_path(&tenant, &source) + "/runs";
                Call::command(Method::POST, path, json!({"measured_at": measured_at}))
            }
            Self::Runs { tenant, list } => Call::list(tenant.path("kri-runs"), &list, RUNS, "no runs yet"),
            Self::Measurements { tenant, list } => Call::list(
                tenant.path("kri-measurements"),
                &list,
                MEASUREMENTS,
                "no measurements yet",
            ),
            Self::Rollup { carrier, at } => {
                let (columns, nothing) = (ROLLUP, "no KRIs yet in the tenants that it carries");
                Call::get(format!("/v1/carriers/{}/rollups", segment(&carrier)))
                    .with("at", at)
                    .shown(Shown::ItemsOfOne { columns, nothing })
            }
            Self::Sources(command) => command.call()?,
        })
    }
}

impl Ask for SourcesCommand {
    fn call(self) -> Result<Call, CliError> {
        let all = "kri-sources";
        Ok(match self {
            Self::List { tenant, list } => Call::list(tenant.path(all), &list, SOURCES, "no sources yet"),
            Self::Get { source, tenant } => Call::get(source_path(&tenant, &source)),
            Self::Configure { kri, file, tenant } => {
                let body = json!({"kri": kri, "config": json_of(&file)?});
                Call::command(Method::POST, tenant.path(all), body)
            }
            Self::Change { source, file, tenant } => {
                Call::command(Method::PUT, source_path(&tenant, &source), json_of(&file)?)
            }
            Self::Test { source, tenant } => {
                Call::bare(Method::POST, source_path(&tenant, &source) + "/test").shown(Shown::Item)
            }
            Self::Disable {
                source,
                tenant,
                reason,
            } => Call::command(
                Method::POST,
                source_path(&tenant, &source) + "/disable",
                reason.body(),
            ),
            Self::Enable { source, tenant } => {
                Call::bare(Method::POST, source_path(&tenant, &source) + "/enable")
            }
        })
    }
}

fn source_path(tenant: &TenantArg, source: &str) -> String {
    tenant.path(&format!("kri-sources/{}", segment(source)))
}
