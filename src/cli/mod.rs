//! The command line: parses, dispatches, and turns results into exit codes. Each command is a thin file here; what it
//! does lives in the module of its concern.

mod exit;
mod stack;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use exit::Exit;

/// Control and evidence for organisations that run AI agents under supervision.
#[derive(Debug, Parser)]
#[command(name = "counterfoil", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The private servers (Postgres, NATS, Redis) alone, without the platform on them.
    #[command(subcommand)]
    Stack(stack::StackCommand),
}

/// Parses the arguments and runs the command.
pub fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nothing to be done about a closed terminal.
            let _printed = e.print();
            return if e.use_stderr() { Exit::Usage } else { Exit::Good };
        }
    };
    init_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Exit::unavailable(&format!("cannot start the runtime: {e}")),
    };
    runtime.block_on(async {
        match cli.command {
            Command::Stack(command) => command.run().await,
        }
    })
}

/// Logs go to standard error; `RUST_LOG` chooses what. Standard output is for answers.
fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
