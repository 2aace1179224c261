//! `counterfoil audit reconcile`.

use std::fmt::Write as _;

use clap::Args;
use counterfoil_events::backbone::reconcile::{Gap, Reconciliation, Repair, TenantReport};
use counterfoil_events::ids::Fingerprint;
use counterfoil_events::ledger::Database;

use super::super::exit::{Exit, Outcome};
use super::super::output::Output;
use super::super::table::Table;
use super::super::{GlobalArgs, reach};
use super::{Bar, failed};
use crate::audit::{Reconcile, Reconciled};
use crate::config::Config;

/// Tenants shown to people; `--json` has all of them.
const SHOWN: usize = 20;

/// Arguments of `audit reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Put back into Postgres what only JetStream has, make a damaged stream anew from Postgres, and let tenants out
    /// of quarantine whose copies then agree
    #[arg(long)]
    repair: bool,
    /// Fingerprint of the first signing key, as `counterfoil init` printed it
    #[arg(long, env = "COUNTERFOIL_ROOT_FINGERPRINT", value_name = "FINGERPRINT")]
    root: Option<Fingerprint>,
}

impl ReconcileArgs {
    pub async fn run(
        self,
        global: &GlobalArgs,
        config: Config,
        database: Database,
        output: Output,
    ) -> Outcome {
        let reconcile = Reconcile {
            database,
            backbone: reach::backbone(&config, global).await?,
            partitions: config.nats.partitions,
            root: self.root,
        };
        let bar = Bar::new(output, "reconciling");
        let done = reconcile
            .run(self.repair, &bar)
            .await
            .map_err(|error| failed(&error))?;
        drop(bar);
        output.print(&done, human)?;
        Ok(if done.is_clean() {
            Exit::Good
        } else {
            Exit::Finding
        })
    }
}

fn human(done: &Reconciled) -> String {
    let mut text = found(&done.found);
    if let Some(repair) = &done.repair {
        text.push_str(&repaired(repair));
    }
    let clean = done.is_clean();
    // Writing to a string cannot fail.
    let _ = match (&done.repair, clean) {
        (_, true) => writeln!(text, "Postgres and JetStream agree"),
        (None, false) => writeln!(
            text,
            "Postgres and JetStream disagree; `--repair` mends what can be mended"
        ),
        (Some(_), false) => writeln!(text, "Postgres and JetStream still disagree"),
    };
    text
}

fn found(found: &Reconciliation) -> String {
    let mut table = Table::new([">partition", "tenant", ">ledger ends", ">stream ends", "finding"]);
    let mut text = String::new();
    let (mut shown, mut hidden) = (0, 0);
    for partition in &found.partitions {
        for tenant in &partition.tenants {
            let finding = finding(tenant);
            if finding.is_empty() {
                continue;
            }
            if shown >= SHOWN {
                hidden += 1;
                continue;
            }
            let end = |position: Option<_>| {
                position.map_or_else(
                    || "-".to_owned(),
                    |position: counterfoil_events::ids::Position| position.to_string(),
                )
            };
            let (ledger, stream) = (end(tenant.ledger_head), end(tenant.stream_last));
            shown += 1;
            table.row([&partition.partition, &tenant.tenant, &ledger, &stream, &finding]);
        }
        let (messages, strange) = (partition.messages, partition.strange_messages);
        let _ = match partition.present {
            false => writeln!(text, "partition {}: there is no stream", partition.partition),
            true => writeln!(
                text,
                "partition {}: {messages} messages read, {strange} of them strange",
                partition.partition
            ),
        };
    }
    if !table.is_empty() {
        let _ = writeln!(text, "{table}");
    }
    if hidden > 0 {
        let _ = writeln!(text, "and {hidden} tenants more");
    }
    text
}

/// What is wrong with a tenant's copies, in words; empty if nothing is.
fn finding(tenant: &TenantReport) -> String {
    let mut parts = Vec::new();
    let list = |gaps: &[Gap]| {
        let each = gaps.iter().take(3).map(gap).collect::<Vec<_>>().join(", ");
        match gaps.len() {
            0..=3 => each,
            more => format!("{each} and {} more", more - 3),
        }
    };
    if !tenant.missing_in_ledger.is_empty() {
        parts.push(format!("Postgres lacks {}", list(&tenant.missing_in_ledger)));
    }
    if !tenant.missing_in_stream.is_empty() {
        parts.push(format!("the stream lacks {}", list(&tenant.missing_in_stream)));
    }
    if let Some(first) = tenant.first_different {
        parts.push(format!(
            "{} events differ, from position {first} on",
            tenant.different_events
        ));
    }
    if let Some(reason) = &tenant.quarantine {
        parts.push(format!("in quarantine: {reason}"));
    }
    parts.join("; ")
}

fn gap(gap: &Gap) -> String {
    let part = match gap.part {
        counterfoil_events::verify::LossPart::Prefix => "beginning",
        counterfoil_events::verify::LossPart::Middle => "middle",
        counterfoil_events::verify::LossPart::Tail => "end",
    };
    format!("{} events ({part}: {} to {})", gap.events(), gap.first, gap.last)
}

fn repaired(repair: &Repair) -> String {
    let mut text = String::new();
    for restored in &repair.restored {
        let _ = writeln!(
            text,
            "tenant {}: {} events put back into Postgres, which ends at {} now",
            restored.tenant, restored.events, restored.head
        );
        if let Some(stopped) = &restored.stopped {
            let _ = writeln!(text, "  stopped there: {stopped}");
        }
        for digest in &restored.missing_documents {
            let _ = writeln!(
                text,
                "  document {digest} is gone: it is not on the stream; restore it from a backup"
            );
        }
    }
    for partition in &repair.refilled {
        let _ = writeln!(
            text,
            "partition {partition}: the stream was made anew and filled from Postgres"
        );
    }
    for tenant in &repair.released {
        let _ = writeln!(text, "tenant {tenant}: out of quarantine");
    }
    for (tenant, reason) in &repair.left {
        let _ = writeln!(text, "tenant {tenant}: left as it is: {reason}");
    }
    text
}
