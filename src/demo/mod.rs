//! `counterfoil up --demo`: the platform's main job, done for real over HTTP, and a summary of what came of it.
//!
//! 1. *World*: a carrier, a group with three tenants, agents with their keys, policies in both layers (`world`).
//! 2. *Prompts*: some hundred completions; in the middle the tenants' policy changes (`prompts`).
//! 3. *KRIs*: three indicators with months of history, loaded by ordinary runs (`kris`).
//! 4. *Summary*: what was allowed, denied and why; the carrier's rollup; the verifier's verdict (`summary`).
//!
//! Everything comes from `fixtures/`; the completions are the demo provider's, which says so.

mod client;
mod kris;
mod prompts;
mod summary;
mod world;

use counterfoil_events::ledger::LogReader;

use crate::up::Up;
use client::Client;
pub use client::DemoError;
use world::Earlier;

/// Runs the demo against a running installation and prints what happens.
///
/// # Errors
/// With the request that failed and what was answered.
pub async fn run(up: &Up) -> Result<(), DemoError> {
    let address = up.process.address();
    let client = Client::new(format!("http://{address}"), up.token.clone())?;
    // After a crash they may still be on their way.
    summary::wait_for_read_models(up).await?;
    match world::earlier(&client).await? {
        Earlier::Nothing => {}
        Earlier::CutOff => {
            println!(
                "An earlier demo in this data directory was cut off. To see it whole, name another directory \
                 (--data DIR) or remove this one."
            );
            return Ok(());
        }
        Earlier::Whole(world) => {
            println!("The demo has run in this data directory; this is what it left.");
            return summary::print_state(&client, up, &world).await;
        }
    }
    println!("Building a carrier, a group with three tenants, agents and policies …");
    let world = world::build(&client).await?;
    println!("Sending the prompts …");
    let tally = prompts::send(&client, &world).await?;
    println!("Measuring the KRIs …");
    let parts = up.process.parts();
    let reader = LogReader::new(parts.database().log().clone());
    let notices = parts.commands().sequencer.subscribe();
    let runs = kris::measure(&client, &world, &reader, notices).await?;
    let lag = summary::wait_for_read_models(up).await?;
    summary::print_completions(&tally);
    println!(
        "\n{runs} KRI runs. Read models: at the head of every log {} ms after the last event",
        lag.as_millis()
    );
    summary::print_state(&client, up, &world).await
}
