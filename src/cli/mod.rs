//! The command line: one enum of commands, one file per group.
//!
//! Tables for people, `--json` for machines; exit 0 good, 1 finding, 2 usage, 3 unavailable. A command is a
//! function from its arguments to an `Outcome`; what it needs beyond them (configuration, a runtime) it gets here.

mod audit;
pub mod client;
pub mod exit;
mod openapi;
pub mod output;
mod projections;
mod replay;
mod serve;
mod stack;
mod status;
pub mod table;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Sources, TelemetryConfig};
use crate::telemetry;
use exit::{CliError, Exit, Outcome};
use output::Output;

/// Control and evidence for organisations that run AI agents under supervision
#[derive(Debug, Parser)]
#[command(
    name = "counterfoil",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Arguments that every command takes.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Configuration file [default: counterfoil.toml, if it is there]
    #[arg(long, global = true, env = "COUNTERFOIL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one configuration key, such as `--set http.address=0.0.0.0:8080`
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: private Postgres, NATS and Redis, init, and serve
    Up(serve::UpArgs),
    /// Make what must exist before serving: roles, schema, first key, streams; safe to repeat
    Init,
    /// Bring the schema to this build's version
    Migrate,
    /// Serve, on servers that are there
    Serve(serve::ServeArgs),
    /// Show how a running process is, part by part
    Status(status::StatusArgs),
    /// Print the API description (OpenAPI 3.1)
    Openapi,
    /// Verify the log, export it, sign where it ends
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Fold an aggregate, or all of a tenant's, from the log, as of now or any moment
    Replay(replay::ReplayArgs),
    /// Read models: list, rebuild, compare with the log, see what is parked
    #[command(subcommand)]
    Projections(projections::ProjectionsCommand),
    /// The private servers (Postgres, NATS, Redis) alone, without the platform on them
    #[command(subcommand)]
    Stack(stack::StackCommand),
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| key.contains('.'));
    let (key, value) = pair.ok_or("expected KEY=VALUE with a key such as http.address")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl GlobalArgs {
    /// The configuration, and logs as it says: the first step of every command that works on the platform itself.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn begin(&self) -> Result<Config, CliError> {
        let config = Config::load(self.sources()).map_err(CliError::usage)?;
        telemetry::init(&config.telemetry).map_err(CliError::usage)?;
        Ok(config)
    }

    /// File, environment and flags of this call; a command may add flags of its own.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let sources = Sources::of_process().file(self.config.clone());
        self.set
            .iter()
            .fold(sources, |sources, (key, value)| sources.flag_text(key, value))
    }
}

/// Runs the process's command.
#[must_use]
pub fn main() -> Exit {
    let cli = Cli::parse();
    match run(cli) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("counterfoil: {error}");
            error.exit
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let output = Output::new(cli.global.json);
    match cli.command {
        Command::Up(args) => block_on(serve::up(&cli.global, args, output)),
        Command::Init => block_on(serve::init(cli.global.begin()?)),
        Command::Migrate => block_on(serve::migrate(cli.global.begin()?)),
        Command::Serve(args) => block_on(serve::serve(cli.global.begin()?, args)),
        Command::Status(args) => block_on(status::run(args, output)),
        Command::Openapi => openapi::run(),
        Command::Audit(command) => command.run(&cli.global, output),
        Command::Replay(args) => args.run(&cli.global, output),
        Command::Projections(command) => command.run(&cli.global, output),
        Command::Stack(command) => {
            telemetry::init(&TelemetryConfig::default()).map_err(CliError::usage)?;
            block_on(command.run())
        }
    }
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(CliError::unavailable)?.block_on(work)
}
