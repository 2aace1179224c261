//! `counterfoil init`, `migrate`, `serve` and `up`: the commands that run the platform itself.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use clap::Args;
use secrecy::ExposeSecret;

use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::stop::StopSignals;
use super::values::whole;
use super::{GlobalArgs, reach};
use crate::config::{LocalIssuerConfig, PostgresRole, Role};
use crate::init::{self, initialise};
use crate::serve::{Process, ServeError};
use crate::telemetry;
use crate::up::{Up, UpError, config_file, log_file};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// What this process does; all of it, if not given
    #[arg(long = "role", value_enum, value_delimiter = ',')]
    roles: Vec<Role>,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// The port to listen on, on loopback; 0 for any that is free
    #[arg(long, value_name = "N", value_parser = whole::<u16>(0..=u16::MAX.into()))]
    pub(super) port: Option<u16>,
    /// Start an issuer on this machine that signs in anyone, to try signing in; for development only
    #[arg(long)]
    pub(super) local_issuer: bool,
    /// Load the fixtures over HTTP, print what came of them, and stay up
    #[arg(long)]
    pub(super) demo: bool,
}

/// Makes roles, schema, first key and streams.
pub(super) async fn init(global: &GlobalArgs) -> Outcome {
    let config = global.begin()?;
    reach::postgres_as_admin(&config, global).await?;
    let fingerprint = initialise(&config).await.map_err(CliError::unavailable)?;
    println!("ready; fingerprint of the first signing key: {fingerprint}");
    Ok(Exit::Good)
}

/// Brings the schema to this build's version, and nothing else.
pub(super) async fn migrate(global: &GlobalArgs) -> Outcome {
    let config = global.begin()?;
    reach::postgres(&config, PostgresRole::Owner, global).await?;
    let owner = config.postgres.connect_as(PostgresRole::Owner);
    init::migrate(&owner).await.map_err(CliError::unavailable)?;
    let (applied, _) = init::applied_versions(&owner)
        .await
        .map_err(CliError::unavailable)?;
    println!("schema at version {}", applied.last().copied().unwrap_or(0));
    Ok(Exit::Good)
}

/// Serves until asked to stop.
pub(super) async fn serve(global: &GlobalArgs, args: ServeArgs) -> Outcome {
    let mut config = global.begin()?;
    reach::postgres(&config, PostgresRole::Log, global).await?;
    if !args.roles.is_empty() {
        config.roles.active = args.roles;
    }
    let mut stop = StopSignals::listen()?;
    let process = Process::start(&config).await.map_err(serve_error)?;
    println!("listening on http://{}", process.address());
    stop.asked().await;
    finish(process.stop(), stop).await
}

/// Runs everything until asked to stop.
pub(super) async fn up(global: &GlobalArgs, args: UpArgs, output: Output) -> Outcome {
    let mut config = global.without_installation()?;
    let data = global.data();
    // What is above the data directory is nobody's secret: Postgres, as another user, has to pass through it.
    if let Some(above) = data.parent() {
        let made = std::fs::create_dir_all(above);
        made.map_err(|error| CliError::usage(format!("{}: {error}", above.display())))?;
    }
    telemetry::init_to_file(&config.telemetry, &log_file(&data)).map_err(CliError::usage)?;
    if let Some(port) = args.port {
        config.http.address = SocketAddr::from(([127, 0, 0, 1], port));
    }
    if args.local_issuer && config.auth.local_issuer.is_none() {
        config.auth.local_issuer = Some(LocalIssuerConfig::of_this_start());
        config.validate().map_err(CliError::usage)?;
    }
    free(config.http.address)?;
    let mut stop = StopSignals::listen()?;
    // A start that is given up ends what it has started: the servers die with their owner.
    let up = tokio::select! {
        up = Up::start(global.data(), config) => up.map_err(up_error)?,
        () = stop.asked() => return Ok(Exit::Good),
    };
    greet(&up, output)?;
    if args.demo {
        tokio::select! {
            shown = crate::demo::run(&up) => shown.map_err(CliError::unavailable)?,
            () = stop.asked() => return finish(up.stop(), stop).await,
        }
    }
    stop.asked().await;
    finish(up.stop(), stop).await
}

/// Looked at before the servers are started, which takes a while. Who takes the address meanwhile is found out by the
/// server's own attempt.
fn free(address: SocketAddr) -> Result<(), CliError> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(CliError::unavailable(format!(
            "{address} is in use by another program (another `counterfoil up`?): end that one, or choose another port \
             with --port N (0 for any that is free), another address with --set http.address=ADDRESS:PORT"
        ))),
        // What else is wrong with it the server says as well.
        _ => Ok(()),
    }
}

fn greet(up: &Up, output: Output) -> Result<(), CliError> {
    let address = format!("http://{}", up.process.address());
    let token = up.token.expose_secret();
    if output.is_json() {
        let line = serde_json::json!({
            "url": address, "bootstrap_token": token, "fingerprint": up.fingerprint, "data": up.stack.data_dir(),
            "config": config_file(up.stack.data_dir()), "log": log_file(up.stack.data_dir()),
            "local_issuer": local_issuer(up).map(|(url, secret)| serde_json::json!({"url": url, "secret": secret})),
        });
        return Output::write(&format!("{line}\n"));
    }
    let signing_in = local_issuer(up).map_or_else(String::new, |(url, secret)| {
        format!(
            "\nA local issuer signs in anyone (for development only):\n  curl -s -X POST {url}/token -H 'Content-Type: \
             application/json' \\\n       -d '{{\"client_secret\":\"{secret}\",\"audience\":\"counterfoil\",\"subject\":\"anna\"}}'\n"
        )
    });
    Output::write(&format!(
        "Counterfoil is up at {address}\n\
         \n  bootstrap token   {token}\n  first signing key {}\n  data              {}\n  configuration     {}\n  log               {}\n\
         \nTry:\n  curl -s {address}/ready\n  curl -s -X POST {address}/v1/organisations -H 'Authorization: Bearer {token}' \\\n\
         \x20      -H 'Content-Type: application/json' -d '{{\"kind\":\"company\",\"name\":\"Example\"}}'\n{signing_in}\
         \nCtrl-C ends it and everything that it started.\n",
        up.fingerprint,
        up.stack.data_dir().display(),
        config_file(up.stack.data_dir()).display(),
        log_file(up.stack.data_dir()).display(),
    ))
}

/// Where the local issuer is, if there is one, and its secret.
fn local_issuer(up: &Up) -> Option<(String, &str)> {
    let local = up.config.auth.local_issuer.as_ref()?;
    Some((format!("http://{}", local.address), local.secret.expose_secret()))
}

/// Ends in order; asked once more, at once.
async fn finish(stopping: impl Future<Output = ()>, mut stop: StopSignals) -> Outcome {
    tokio::select! {
        () = stopping => {}
        () = stop.asked() => {}
    }
    Ok(Exit::Good)
}

fn serve_error(error: ServeError) -> CliError {
    match error {
        ServeError::Routes(_) | ServeError::Prefix(_) => CliError::usage(error),
        ServeError::Key(error) => CliError::of_key(error),
        other => CliError::unavailable(other),
    }
}

fn up_error(error: UpError) -> CliError {
    match error {
        UpError::Serve(error) => serve_error(error),
        other => CliError::unavailable(other),
    }
}
