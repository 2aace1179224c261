//! The schema as it really is after all migrations, held against what the program says (every statement can be
//! prepared by a role that runs it) and against the rules of isolation (every tenant's rows are bound to it).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod isolation;
mod plans;
mod rules;
mod source;
mod statements;

use counterfoil_projections::engine;
use sqlx::postgres::PgConnectOptions;

use crate::support::ledger::{PASSWORD, TestLedger};

/// A database with everything in it that the program makes: log, read models, views.
async fn complete() -> TestLedger {
    let ledger = TestLedger::new().await;
    for projection in counterfoil_projections::all() {
        let made = engine::ensure_live(ledger.database.projector(), projection.as_ref()).await;
        made.unwrap();
    }
    ledger
}

/// The same database as one of its roles.
fn login(ledger: &TestLedger, role: &str) -> PgConnectOptions {
    ledger.admin.clone().username(role).password(PASSWORD)
}
