//! A database as it was: what a restored backup is to the log.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use counterfoil_events::ledger::{Database, LogReader};
use sqlx::{ConnectOptions, Connection};

use super::ledger::{TestLedger, database_options, unique_name};

/// Copies the ledger's database as it is now. Nothing may be connected to it meanwhile, so both the original and the
/// copy are opened anew.
pub async fn copy_of(ledger: TestLedger) -> (TestLedger, TestLedger) {
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, ledger.sequencer.stop())
        .await
        .expect("the sequencer stops");
    tokio::time::timeout(patience, ledger.database.close())
        .await
        .expect("the connections close");
    let original = ledger.admin.get_database().unwrap().to_owned();
    let copy = unique_name();
    let mut admin = ledger.admin.clone().database("postgres").connect().await.unwrap();
    // Names of our own making; they cannot be bound parameters.
    let create = format!("CREATE DATABASE {copy} TEMPLATE {original} OWNER counterfoil_owner");
    let end_others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    for _ in 0..10 {
        sqlx::query(end_others)
            .bind(&original)
            .execute(&mut admin)
            .await
            .unwrap();
        // A vacuum may come in between; the server itself waits for a few seconds.
        match sqlx::query(&create).execute(&mut admin).await {
            Ok(_) => break,
            Err(error) => assert!(error.to_string().contains("accessed by other users"), "{error}"),
        }
    }
    admin.close().await.unwrap();
    (opened(&ledger, &original), opened(&ledger, &copy))
}

fn opened(ledger: &TestLedger, name: &str) -> TestLedger {
    let admin = ledger.admin.clone().database(name);
    let options = database_options(admin.clone());
    let database = Database::new(&options);
    TestLedger {
        admin,
        sequencer: ledger.sequencer_on(&options),
        reader: LogReader::new(database.log().clone()),
        database,
        options,
        tenant: ledger.tenant,
    }
}
