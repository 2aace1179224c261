//! `counterfoil replay`: what an aggregate was at a moment, or each aggregate of a tenant, from the log alone.

use std::fmt::Write as _;

use clap::Args;
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::ledger::Database;
use serde::Serialize;

use super::GlobalArgs;
use super::audit::{failed, with_log};
use super::exit::{CliError, Exit, Outcome};
use super::output::Output;
use super::table::Table;
use crate::audit::{AsOf, CrossCheck, Difference, EndOfLog, Replay, ReplayScope, Replayed, ReplayedEvent};
use crate::config::{Config, PostgresRole};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Whose log
    #[arg(long, value_name = "TENANT")]
    tenant: TenantId,
    /// One aggregate, such as `agent/01933b5e-…`; all of the tenant's if absent
    #[arg(long, value_name = "KIND/ID", value_parser = aggregate)]
    aggregate: Option<(String, String)>,
    /// Up to this position, or to the last event recorded by this time
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
    /// Payloads as they were written, not lifted to the current versions of their schemas
    #[arg(long)]
    raw: bool,
    /// Fold everything again through postgres-es and compare; exit code 1 when it differs
    #[arg(long, conflicts_with = "as_of")]
    cross_check: bool,
}

fn aggregate(text: &str) -> Result<(String, String), String> {
    let (kind, id) = text
        .split_once('/')
        .ok_or("expected KIND/ID, such as agent/01933b5e-…")?;
    Ok((kind.to_owned(), id.to_owned()))
}

impl ReplayArgs {
    pub fn run(self, global: &GlobalArgs, output: Output) -> Outcome {
        with_log(global, |config, database| self.replay(config, database, output))
    }

    async fn replay(self, config: Config, database: Database, output: Output) -> Outcome {
        let second = self
            .cross_check
            .then(|| CrossCheck::new(config.postgres.connect_as(PostgresRole::Reader), self.tenant));
        let scope = ReplayScope {
            tenant: self.tenant,
            aggregate: self.aggregate.clone(),
            as_of: self.as_of.unwrap_or(AsOf::Now),
            raw: self.raw,
        };
        let replay = Replay::begin(database.log().clone(), scope)
            .await
            .map_err(|error| failed(&error))?;
        let ended_before = replay.ended_before();
        if let Some(end) = &ended_before {
            eprintln!("counterfoil: {}", early(self.tenant, end));
        }
        let mut run = Run {
            args: &self,
            ended_before,
            output,
            second,
            kinds: Vec::new(),
            differences: Vec::new(),
        };
        let outcome = run.all(replay).await;
        if let Some(second) = run.second.take() {
            second.close().await;
        }
        outcome
    }
}

/// A state for machines.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    replayed: &'a Replayed,
    /// Only where the log ends before the moment that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_ended_before: Option<EndOfLog>,
}

struct Run<'a> {
    args: &'a ReplayArgs,
    ended_before: Option<EndOfLog>,
    output: Output,
    second: Option<CrossCheck>,
    /// Per kind: how many aggregates and events.
    kinds: Vec<(String, u64, u64)>,
    differences: Vec<Difference>,
}

impl Run<'_> {
    async fn all(&mut self, mut replay: Replay) -> Outcome {
        let until = replay.until();
        while let Some(replayed) = replay.next().await.map_err(|error| failed(&error))? {
            if let Some(second) = &self.second {
                self.differences.extend(second.check(&replayed).await);
            }
            self.count(&replayed);
            self.show(replayed)?;
        }
        self.end(until)
    }

    fn count(&mut self, replayed: &Replayed) {
        let events = replayed.events.len() as u64;
        match self.kinds.last_mut() {
            Some((kind, aggregates, total)) if *kind == replayed.aggregate => {
                *aggregates += 1;
                *total += events;
            }
            // Aggregates come in the order of their kinds.
            _ => self.kinds.push((replayed.aggregate.clone(), 1, events)),
        }
    }

    /// Machines get a line of JSON per aggregate, with its events if they asked for one; people see the one that
    /// they asked for.
    fn show(&self, mut replayed: Replayed) -> Result<(), CliError> {
        let one = self.args.aggregate.is_some();
        if self.output.is_json() {
            if !one {
                replayed.events.clear();
            }
            let line = Line {
                replayed: &replayed,
                log_ended_before: self.ended_before,
            };
            let line = serde_json::to_string(&line).map_err(CliError::usage)?;
            return Output::write(&format!("{line}\n"));
        }
        if one {
            Output::write(&human(&replayed))
        } else {
            Ok(())
        }
    }

    fn end(&self, until: Position) -> Outcome {
        if let (Some((kind, id)), true) = (&self.args.aggregate, self.kinds.is_empty()) {
            let tenant = self.args.tenant;
            return Err(CliError::usage(format!(
                "{kind}/{id} of tenant {tenant} has no events up to position {until}"
            )));
        }
        if !self.output.is_json() && self.args.aggregate.is_none() {
            let mut table = Table::new(["kind", ">aggregates", ">events"]);
            for (kind, aggregates, events) in &self.kinds {
                table.row([kind, aggregates, events]);
            }
            Output::write(&format!("{table}\nreplayed up to position {until}\n"))?;
        }
        self.compared()
    }

    fn compared(&self) -> Outcome {
        if !self.args.cross_check {
            return Ok(Exit::Good);
        }
        let mut text = String::new();
        for Difference {
            aggregate,
            aggregate_id,
            detail,
        } in &self.differences
        {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{aggregate}/{aggregate_id}: {detail}");
        }
        let aggregates: u64 = self.kinds.iter().map(|(_, aggregates, _)| aggregates).sum();
        let _ = match self.differences.len() {
            0 => writeln!(text, "postgres-es arrives at the same {aggregates} states"),
            differences => writeln!(text, "{differences} of {aggregates} states differ"),
        };
        // On stderr for machines, whose stdout holds states.
        if self.output.is_json() {
            eprint!("{text}");
        } else {
            Output::write(&text)?;
        }
        Ok(if self.differences.is_empty() {
            Exit::Good
        } else {
            Exit::Finding
        })
    }
}

fn early(tenant: TenantId, end: &EndOfLog) -> String {
    match end.recorded_at {
        Some(time) => format!(
            "the log of {tenant} ends before that, at position {} of {time}: this is the state there",
            end.position
        ),
        None => format!("nothing stands in the log of {tenant} yet"),
    }
}

fn human(replayed: &Replayed) -> String {
    let Replayed {
        aggregate,
        aggregate_id,
        sequence,
        position,
        state,
        events,
    } = replayed;
    let mut table = Table::new([
        ">position",
        ">sequence",
        "recorded at",
        "type",
        "version",
        "actor",
        "payload",
    ]);
    for event in events {
        let payload = event.payload.get();
        let actor = format!("{}/{}", event.actor.kind.as_str(), event.actor.id);
        let ReplayedEvent {
            position,
            sequence,
            recorded_at,
            event_type,
            version,
            ..
        } = event;
        table.row([
            position,
            sequence,
            recorded_at,
            event_type,
            version,
            &actor,
            &payload,
        ]);
    }
    format!("{table}\n{aggregate}/{aggregate_id} after event {sequence}, position {position}:\n{state:#}\n")
}
