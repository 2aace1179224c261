//! The budgets of the design, measured in one run and printed as one table, with peers and bare limits beside them.
//!
//! It starts its own private Postgres, NATS and Redis in a temporary directory and removes them again. A figure that
//! misses its budget says MISSED; nothing is asserted. `docs/benchmarks.md` says what each row measures and how.
//!
//! The program is its own load generator: [`worker`] runs it again as a child process in a role of its own.

mod agents;
mod cpu;
mod filled;
mod http;
mod load;
mod machine;
mod options;
mod rows;
mod served;
mod site;
mod table;
mod worker;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use options::Options;
use site::Site;
use table::Table;

fn main() -> ExitCode {
    let done = match worker::role() {
        Some(role) => role.and_then(|role| role.runtime()?.block_on(role.run())),
        None => bench(Options::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let rows = options.chosen(rows::ALL)?;
    let site = Site::start().await?;
    let mut table = Table::new(machine::Machine::look(&site).await?);
    let measured = tokio::select! {
        measured = measure(&rows, &site, &options, &mut table) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    site.stop().await;
    table.print();
    if let Some(path) = &options.json {
        table.write_json(path)?;
    }
    measured
}

/// A row that cannot be measured is said to be so; the others are measured all the same.
async fn measure(
    rows: &[&rows::Row],
    site: &Site,
    options: &Options,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut failed = 0;
    for row in rows {
        eprintln!("bench: {}", row.name);
        if let Err(error) = (row.measure)(site, options, table).await {
            eprintln!("bench: {} failed: {error:#}", row.name);
            failed += 1;
        }
    }
    anyhow::ensure!(failed == 0, "{failed} rows could not be measured");
    Ok(())
}
