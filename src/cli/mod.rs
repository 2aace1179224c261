//! The command line: one enum of commands, one file per group.
//!
//! Tables for people, `--json` for machines; exit 0 good, 1 finding, 2 usage, 3 unavailable. A command is a
//! function from its arguments to an `Outcome`; what it needs beyond them (configuration, a runtime) it gets here.

mod audit;
mod backup;
mod bootstrap;
pub mod client;
pub mod exit;
mod keys;
mod kms;
mod nats_issuer;
mod nouns;
mod openapi;
pub mod output;
mod permissions;
mod projections;
mod reach;
mod refusal;
mod replay;
mod serve;
mod stack;
mod status;
mod stop;
pub mod table;
mod values;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Sources, TelemetryConfig};
use crate::up::config_file;
use crate::{faults, telemetry};
use exit::{CliError, Exit, Outcome};
use nouns::{
    AgentsCommand, IssuersCommand, KriCommand, MembersCommand, Noun, OrganisationsCommand, OriginCommand,
    PoliciesCommand, SecretsCommand, SubscribersCommand, TenantsCommand, UsersCommand,
};
use output::Output;

/// Where `up` keeps everything if it is not told.
const DEFAULT_DATA: &str = ".counterfoil/data";

/// What scripts go by; see [`Exit`].
const EXIT_CODES: &str = "Exit codes:\n  0  done\n  1  done, and it found something: damage, a difference, a part that is down\n  \
    2  refused: arguments, configuration or what was asked for must change (an unknown id, too)\n  \
    3  not done: something it needs does not answer; try again\n\n\
    With --json, answers go to stdout and an error to stderr as {\"error\", \"exit\", \"problem\"}.";

/// Control and evidence for organisations that run AI agents under supervision
#[derive(Debug, Parser)]
#[command(
    name = "counterfoil",
    version,
    arg_required_else_help = true,
    after_help = EXIT_CODES
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
    /// Data directory of `counterfoil up`: there `up` keeps everything, and other commands find its servers
    /// [default: .counterfoil/data]
    #[arg(long, global = true, env = "COUNTERFOIL_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
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
    /// Print who may do what, as Markdown
    Permissions,
    /// Verify the log, export it, sign where it ends
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Fold an aggregate, or all of a tenant's, from the log, as of now or any moment
    Replay(replay::ReplayArgs),
    /// Read models: list, rebuild, compare with the log, see what is parked
    #[command(subcommand)]
    Projections(projections::ProjectionsCommand),
    /// Organisations: list, get, create, rename, suspend, resume
    Organisations(Noun<OrganisationsCommand>),
    /// Tenants: list, get, create, rename, suspend, resume, close, erase, and what carriers carry
    Tenants(Noun<TenantsCommand>),
    /// Users: create, suspend, resume, their tokens and where they sign in
    Users(Noun<UsersCommand>),
    /// Roles at a place: list, grant, revoke; who takes the bootstrap token's place
    Members(Noun<MembersCommand>),
    /// Where users of the platform or of an organisation sign in: list, create, change, suspend, resume
    Issuers(Noun<IssuersCommand>),
    /// The bootstrap token: whether it is refused, and heeding it again in an emergency
    #[command(subcommand)]
    Bootstrap(bootstrap::BootstrapCommand),
    /// Agents and their API keys
    Agents(Noun<AgentsCommand>),
    /// Policies: publish, show, activate, roll back
    Policies(Noun<PoliciesCommand>),
    /// Key risk indicators, their sources and runs
    Kri(Noun<KriCommand>),
    /// Secrets that the platform uses for a tenant: list, create, rotate, retire; none can be read back
    Secrets(Noun<SecretsCommand>),
    /// Credentials by which a tenant's programs follow its log over NATS: issue, revoke
    Subscribers(Noun<SubscribersCommand>),
    /// The proof of origin: suspend it for a while, restore it
    Origin(Noun<OriginCommand>),
    /// The keys that sign the log: list, rotate, import
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The keys of the vault: hold the key-encryption key, make its next version, wrap anew; another key for an organisation
    #[command(subcommand)]
    Kms(kms::KmsCommand),
    /// Print what the NATS server trusts to answer for tenants' programs that log in
    NatsIssuer,
    /// Write the log, and the keys that continue it, into a directory, while the system runs or not
    Backup(backup::BackupArgs),
    /// Load a backup into an installation that has no log yet, and prove that it is whole
    Restore(backup::RestoreArgs),
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
    /// The configuration of a command that makes or runs an installation: file, environment and flags, and the
    /// servers of `up` if `--data` names its directory. Logs are as it says.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn begin(&self) -> Result<Config, CliError> {
        load(self.sources().installation(self.data.as_deref().map(config_file)))
    }

    /// The configuration of a command that works on an installation: as [`Self::begin`], and where neither a file nor
    /// a directory is named, that of an `up` which keeps its data in the usual place. What is usual is not logged
    /// unless the configuration asks for it: the command's answer says it.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn installation(&self) -> Result<Config, CliError> {
        let usual = || config_file(Path::new(DEFAULT_DATA));
        let file = match self.data.is_none() && self.means_data() {
            true => Some(usual()),
            false => self.data.as_deref().map(config_file),
        };
        let config = Config::load(self.sources().installation(file)).map_err(CliError::usage)?;
        set_up_quiet_logs(&config)?;
        Ok(config)
    }

    /// Whether the installation is that of an `up`: its directory is named, or it is in the usual place and nothing
    /// else is named.
    #[must_use]
    pub fn means_data(&self) -> bool {
        let usual = || !self.sources().has_file() && config_file(Path::new(DEFAULT_DATA)).is_file();
        self.data.is_some() || usual()
    }

    /// The configuration for servers that are to be started in `--data`: what that holds is not asked. Logs are not
    /// set up yet.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn without_installation(&self) -> Result<Config, CliError> {
        Config::load(self.sources()).map_err(CliError::usage)
    }

    /// Where `up` keeps everything.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| DEFAULT_DATA.into())
    }

    /// The arguments that name the same installation, for a command that is printed to be typed.
    #[must_use]
    pub fn place(&self) -> String {
        let named = |name: &str, path: &Path| format!(" {name} {}", quoted(path));
        let mut arguments = String::new();
        if let Some(file) = &self.config {
            arguments.push_str(&named("--config", file));
        }
        if self.means_data() {
            arguments.push_str(&named("--data", &self.data()));
        }
        arguments
    }

    /// File, environment and flags of this call.
    fn sources(&self) -> Sources {
        let sources = Sources::of_process().file(self.config.clone());
        self.set
            .iter()
            .fold(sources, |sources, (key, value)| sources.flag_text(key, value))
    }
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn load(sources: Sources) -> Result<Config, CliError> {
    let config = Config::load(sources).map_err(CliError::usage)?;
    set_up_logs(&config)?;
    Ok(config)
}

/// Logs as the configuration says, and faults as a test says; once per process.
fn set_up_logs(config: &Config) -> Result<(), CliError> {
    telemetry::init(&config.telemetry).map_err(CliError::usage)?;
    faults::arm().map_err(CliError::usage)
}

/// The same for a command whose answer says what it does: what is usual is logged only where the configuration asks.
fn set_up_quiet_logs(config: &Config) -> Result<(), CliError> {
    let mut config = config.clone();
    if config.telemetry.log_filter == TelemetryConfig::default().log_filter {
        config.telemetry.log_filter = "warn".to_owned();
    }
    set_up_logs(&config)
}

/// Runs the process's command.
#[must_use]
pub fn main() -> Exit {
    let arguments: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refusal::told(&error, &arguments),
    };
    let output = Output::new(cli.global.json);
    match run(cli, output) {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error);
            error.exit
        }
    }
}

fn run(cli: Cli, output: Output) -> Outcome {
    match cli.command {
        Command::Up(args) => block_on(serve::up(&cli.global, args, output)),
        Command::Init => block_on(serve::init(&cli.global)),
        Command::Migrate => block_on(serve::migrate(&cli.global)),
        Command::Serve(args) => block_on(serve::serve(&cli.global, args)),
        Command::Status(args) => block_on(status::run(args, &cli.global, output)),
        Command::Openapi => openapi::run(),
        Command::Permissions => permissions::run(),
        Command::Audit(command) => command.run(&cli.global, output),
        Command::Replay(args) => args.run(&cli.global, output),
        Command::Projections(command) => command.run(&cli.global, output),
        Command::Organisations(noun) => block_on(noun.run(&cli.global, output)),
        Command::Tenants(noun) => block_on(noun.run(&cli.global, output)),
        Command::Users(noun) => block_on(noun.run(&cli.global, output)),
        Command::Members(noun) => block_on(noun.run(&cli.global, output)),
        Command::Issuers(noun) => block_on(noun.run(&cli.global, output)),
        Command::Bootstrap(command) => command.run(&cli.global, output),
        Command::Agents(noun) => block_on(noun.run(&cli.global, output)),
        Command::Policies(noun) => block_on(noun.run(&cli.global, output)),
        Command::Kri(noun) => block_on(noun.run(&cli.global, output)),
        Command::Secrets(noun) => block_on(noun.run(&cli.global, output)),
        Command::Subscribers(noun) => block_on(noun.run(&cli.global, output)),
        Command::Origin(noun) => block_on(noun.run(&cli.global, output)),
        Command::Keys(command) => command.run(&cli.global, output),
        Command::Kms(command) => block_on(command.run(&cli.global, output)),
        Command::NatsIssuer => nats_issuer::run(&cli.global),
        Command::Backup(args) => block_on(args.run(&cli.global, output)),
        Command::Restore(args) => block_on(args.run(&cli.global, output)),
        Command::Stack(command) => {
            telemetry::init(&TelemetryConfig::default()).map_err(CliError::usage)?;
            block_on(command.run(cli.global.data()))
        }
    }
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(CliError::unavailable)?.block_on(work)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    #[test]
    fn every_command_is_well_formed() {
        super::Cli::command().debug_assert();
    }
    #[test]
    fn a_printed_path_is_one_word_of_a_shell() {
        let quoted = |path: &str| super::quoted(Path::new(path));
        assert_eq!(quoted(".counterfoil/data"), ".counterfoil/data");
        assert_eq!(quoted("/my data/it's"), r"'/my data/it'\''s'");
    }
}
