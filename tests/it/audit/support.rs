//! A log to be tampered with, and the audits that look at it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use counterfoil::audit::{HeadNotes, Keys, PostgresAudit, Scope, Summary};
use counterfoil_events::document::Document;
use counterfoil_events::ids::{Fingerprint, Position, TenantId};
use counterfoil_events::signature::{KeyPair, Signer};
use counterfoil_events::timestamp::SystemClock;
use counterfoil_events::verify::Options;
use sqlx::ConnectOptions;

use crate::support::ledger::{TestLedger, event, request};

/// The key that signs in tests, as `TestLedger` has it.
pub fn signer() -> KeyPair {
    KeyPair::from_seed(&[7; 32])
}

pub fn root() -> Fingerprint {
    signer().public_key().fingerprint()
}

pub fn scope(tenant: Option<TenantId>) -> Scope {
    Scope {
        tenant,
        from: Position(1),
        options: Options::default(),
        head_notes: Vec::new(),
    }
}

/// A log of `events` events: every third one of a second aggregate, the fourth with a document.
pub async fn ledger(events: u64) -> TestLedger {
    let ledger = TestLedger::new().await;
    append(&ledger, ledger.tenant, 0..events).await;
    ledger
}

pub async fn append(ledger: &TestLedger, tenant: TenantId, steps: std::ops::Range<u64>) {
    for step in steps {
        let (id, expected) = match step % 3 {
            2 => ("second", step / 3),
            _ => ("first", step - step.div_ceil(3) + u64::from(step % 3 == 1)),
        };
        let mut request = request(tenant, "thing", id, expected);
        if step == 3 {
            let document = Document::new("package counterfoil\nallow := true\n".to_owned()).unwrap();
            let reference = serde_json::to_string(&document.reference()).unwrap();
            request.parts[0].events = vec![event(&format!(r#"{{"source":{reference}}}"#))];
            request.documents = vec![document];
        }
        ledger.sequencer.append(request).await.unwrap();
    }
}

pub fn head_notes(ledger: &TestLedger) -> HeadNotes {
    let pool = ledger.database.log().clone();
    HeadNotes::new(pool, Arc::new(signer()), Arc::new(SystemClock))
}

pub async fn audit_with(ledger: &TestLedger, scope: Scope) -> Summary {
    let keys = Keys::from_postgres(ledger.database.log(), Some(root()))
        .await
        .unwrap();
    let audit = PostgresAudit::new(ledger.database.log().clone(), keys, scope);
    audit.run(&()).await.unwrap()
}

/// Tenant, position and kind of everything found in Postgres.
pub async fn audit(ledger: &TestLedger) -> Vec<(TenantId, u64, String)> {
    found(&audit_with(ledger, scope(None)).await)
}

pub fn found(summary: &Summary) -> Vec<(TenantId, u64, String)> {
    let kept = summary.findings.kept().iter();
    kept.map(|finding| (finding.tenant, finding.position.0, finding.kind.to_string()))
        .collect()
}

/// What an insider with the superuser's rights does: without the triggers, and without the constraints in the way.
pub async fn tamper(ledger: &TestLedger, statement: &str) {
    let mut superuser = ledger.admin.connect().await.unwrap();
    let all = ["events", "documents", "head_notes"];
    for table in all {
        let disable = format!("ALTER TABLE counterfoil.{table} DISABLE TRIGGER append_only");
        sqlx::raw_sql(&disable).execute(&mut superuser).await.unwrap();
    }
    let statement = statement.replace("$tenant", &format!("'{}'", ledger.tenant));
    sqlx::raw_sql(&statement).execute(&mut superuser).await.unwrap();
    for table in all {
        let enable = format!("ALTER TABLE counterfoil.{table} ENABLE TRIGGER append_only");
        sqlx::raw_sql(&enable).execute(&mut superuser).await.unwrap();
    }
}

/// The independent verifier over `log.jsonl` and the head note `note`, with the packages that `deploy/dev/setup.sh --tests` installs.
pub fn second_verifier(directory: &Path, root: &str) -> Output {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prepared = repository.join(".counterfoil/tools/venv/bin/python");
    let python = if prepared.exists() {
        prepared
    } else {
        "python3".into()
    };
    let mut command = Command::new(python);
    command.arg(repository.join("tests/verifier/verify.py"));
    command
        .args(["log.jsonl", root, "note"])
        .current_dir(directory)
        .output()
        .unwrap()
}
