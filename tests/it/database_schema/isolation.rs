//! The rules of isolation: a table, key, view, function, role or grant that is added without them turns this red, and so
//! does a policy that is dropped. That these tests would notice is tested, too.

use std::collections::BTreeSet;

use counterfoil::backup::{Derived, TABLES};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::rules::{self, Probe};
use super::{complete, login};
use crate::support::ledger::TestLedger;

/// Tables that say nothing of any tenant.
const OF_NOBODY: [&str; 2] = ["counterfoil.projection_versions", "counterfoil.rebuild_jobs"];

const TENANT_TABLES: &str = "
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%')
      AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
    ORDER BY 1";
const TABLES_OF_THE_LOG: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'counterfoil'";
const POLICIES: &str = "
    SELECT polrelid::regclass::text, polname::text FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE c.relpersistence = 'p' ORDER BY 1, 2";
const RELATIONS: &str = "
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v') AND (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%')
      AND has_table_privilege($1, c.oid, 'SELECT') ORDER BY 1";
const COLUMNS: &str = "
    SELECT string_agg(attname, ', ' ORDER BY attname) FROM pg_attribute
    WHERE attrelid = ('counterfoil.' || $1)::regclass AND attnum > 0 AND NOT attisdropped";
/// One way each to break a rule. None may go unnoticed.
const MISTAKES: &[&str] = &[
    "ALTER TABLE counterfoil.events NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE counterfoil.snapshots DISABLE ROW LEVEL SECURITY",
    "ALTER POLICY own_tenant ON counterfoil.events USING (true)",
    "ALTER POLICY own_tenant ON counterfoil.events WITH CHECK (true)",
    "ALTER POLICY own_tenant ON counterfoil.events TO counterfoil_app",
    // Not read once per query any more.
    "ALTER POLICY own_tenant ON counterfoil.events \
     USING (tenant_id = NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid)",
    "ALTER POLICY admitted ON counterfoil.events TO PUBLIC",
    "CREATE POLICY more ON counterfoil.events USING (true)",
    "CREATE TABLE counterfoil.forgotten (tenant_id uuid PRIMARY KEY)",
    "CREATE TABLE public.elsewhere (tenant_id uuid PRIMARY KEY)",
    "CREATE SCHEMA read_more; CREATE TABLE read_more.forgotten (tenant_id uuid PRIMARY KEY)",
    "CREATE UNIQUE INDEX across ON counterfoil.events (event_id)",
    "ALTER TABLE counterfoil.snapshots DROP CONSTRAINT snapshots_pkey",
    "ALTER TABLE counterfoil.snapshots ADD COLUMN head uuid REFERENCES counterfoil.chain_heads (tenant_id)",
    "ALTER VIEW counterfoil.cqrs_events SET (security_invoker = false)",
    "CREATE MATERIALIZED VIEW counterfoil.kept AS SELECT * FROM counterfoil.chain_heads",
    "CREATE FUNCTION counterfoil.lifts() RETURNS bigint LANGUAGE sql SECURITY DEFINER \
     AS 'SELECT count(*) FROM counterfoil.events'",
    "ALTER FUNCTION counterfoil.restore_head RESET ALL",
    "GRANT EXECUTE ON FUNCTION counterfoil.restore_head TO counterfoil_app",
    "GRANT INSERT ON counterfoil.events TO counterfoil_app",
    "GRANT SELECT ON counterfoil.events TO PUBLIC",
    "GRANT UPDATE (quarantine_reason) ON counterfoil.chain_heads TO counterfoil_app",
    "GRANT CREATE ON SCHEMA counterfoil TO counterfoil_reader",
];

/// A catalog in which anything may be tried: rolled back to here after each.
async fn catalog(ledger: &TestLedger) -> PgConnection {
    let mut catalog = ledger.admin.connect().await.unwrap();
    run(&mut catalog, "BEGIN").await;
    rules::make_model(&mut catalog).await;
    run(&mut catalog, "SAVEPOINT whole").await;
    catalog
}

async fn run(connection: &mut PgConnection, script: &str) {
    let ran = sqlx::raw_sql(script).execute(connection).await;
    ran.unwrap_or_else(|error| panic!("{script}: {error}"));
}

async fn texts(connection: &mut PgConnection, statement: &str) -> BTreeSet<String> {
    let rows: Vec<String> = sqlx::query_scalar(statement).fetch_all(connection).await.unwrap();
    rows.into_iter().collect()
}

#[tokio::test]
async fn the_schema_keeps_every_rule_of_isolation() {
    let ledger = complete().await;
    let mut catalog = catalog(&ledger).await;
    let tables = texts(&mut catalog, TENANT_TABLES).await;
    assert!(tables.len() > 15, "log and read models: {tables:?}");
    assert_eq!(rules::broken(&mut catalog).await, [""; 0]);
    catalog.close().await.unwrap();
}

#[tokio::test]
async fn no_rule_can_be_broken_unnoticed() {
    let ledger = complete().await;
    let mut catalog = catalog(&ledger).await;
    for mistake in MISTAKES {
        run(&mut catalog, mistake).await;
        let broken = rules::broken(&mut catalog).await;
        assert!(!broken.is_empty(), "nothing notices: {mistake}");
        run(&mut catalog, "ROLLBACK TO whole").await;
    }
    catalog.close().await.unwrap();
}

#[tokio::test]
async fn no_role_that_nobody_listed_goes_unnoticed() {
    let ledger = complete().await;
    let mut catalog = catalog(&ledger).await;
    // A name of its own: roles are the cluster's, which other tests use at this moment.
    let name = format!("counterfoil_{}", uuid::Uuid::now_v7().simple());
    run(&mut catalog, &format!("CREATE ROLE {name} BYPASSRLS")).await;
    let broken = rules::broken(&mut catalog).await;
    assert!(broken.iter().any(|line| line.contains(&name)), "{broken:?}");
    run(&mut catalog, &format!("GRANT counterfoil_append TO {name}")).await;
    let broken = rules::broken(&mut catalog).await;
    let member = format!("{name} belongs to counterfoil_append");
    assert!(broken.contains(&member), "{broken:?}");
    run(&mut catalog, "ROLLBACK").await;
    catalog.close().await.unwrap();
}

#[tokio::test]
async fn no_policy_can_be_dropped_unnoticed() {
    let ledger = complete().await;
    let [own, other] = [uuid::Uuid::now_v7(), uuid::Uuid::now_v7()];
    let mut catalog = catalog(&ledger).await;
    rules::fill(&mut catalog, &[own, other], 3).await;
    run(&mut catalog, "SAVEPOINT whole").await;
    let policies: Vec<(String, String)> = sqlx::query_as(POLICIES).fetch_all(&mut catalog).await.unwrap();
    assert!(policies.len() > 30, "two for each table: {policies:?}");
    for (table, policy) in &policies {
        let probe = |role| Probe {
            role,
            table,
            own,
            other,
        };
        for role in ["counterfoil_app", "counterfoil_reader"] {
            assert_eq!(probe(role).wrong(&mut catalog).await, [""; 0], "{table} as it is");
            run(&mut catalog, "ROLLBACK TO whole").await;
        }
        run(&mut catalog, &format!("DROP POLICY {policy} ON {table}")).await;
        let broken = rules::broken(&mut catalog).await;
        let named = format!("{table}: policy {policy} is missing or not as it has to be");
        assert_eq!(broken, [named], "the catalog, without {policy} on {table}");
        let wrong = probe("counterfoil_app").wrong(&mut catalog).await;
        assert!(!wrong.is_empty(), "nobody sees that {policy} on {table} is gone");
        run(&mut catalog, "ROLLBACK TO whole").await;
    }
    catalog.close().await.unwrap();
}

#[tokio::test]
async fn a_query_without_a_where_returns_no_foreign_row() {
    let ledger = complete().await;
    let [own, other] = [uuid::Uuid::now_v7(), uuid::Uuid::now_v7()];
    let mut admin = ledger.admin.connect().await.unwrap();
    rules::fill(&mut admin, &[own, other], 3).await;
    for role in ["counterfoil_app", "counterfoil_reader"] {
        let relations: Vec<String> = sqlx::query_scalar(RELATIONS)
            .bind(role)
            .fetch_all(&mut admin)
            .await
            .unwrap();
        assert!(relations.len() > 20, "tables and views: {relations:?}");
        let mut bound = login(&ledger, role).connect().await.unwrap();
        let of_tenants = |name: &&String| !OF_NOBODY.contains(&name.as_str());
        for relation in relations.iter().filter(of_tenants) {
            let wrong = format!("SELECT to_jsonb(r)::text FROM {relation} r");
            let nothing: Vec<String> = sqlx::query_scalar(&wrong).fetch_all(&mut bound).await.unwrap();
            assert_eq!(nothing, [""; 0], "{role} without a tenant, {relation}");
            run(&mut bound, &format!("SET counterfoil.tenant_id = '{own}'")).await;
            let rows: Vec<String> = sqlx::query_scalar(&wrong).fetch_all(&mut bound).await.unwrap();
            assert!(!rows.is_empty(), "{role} sees nothing of its own in {relation}");
            for row in rows {
                assert!(row.contains(&own.to_string()), "{role} {relation}: {row}");
                assert!(!row.contains(&other.to_string()), "{role} {relation}: {row}");
            }
            run(&mut bound, "RESET counterfoil.tenant_id").await;
        }
        bound.close().await.unwrap();
    }
    admin.close().await.unwrap();
}

#[tokio::test]
async fn every_table_of_the_log_is_backed_up_whole_or_derived() {
    let ledger = complete().await;
    let mut catalog = ledger.admin.connect().await.unwrap();
    let there = texts(&mut catalog, TABLES_OF_THE_LOG).await;
    let kept = TABLES.iter().map(|table| table.name).chain(Derived::TABLES);
    assert_eq!(there, kept.map(str::to_owned).collect::<BTreeSet<_>>());
    for table in TABLES {
        let columns: String = sqlx::query_scalar(COLUMNS)
            .bind(table.name)
            .fetch_one(&mut catalog)
            .await
            .unwrap();
        assert!(
            table.copy_out.contains(table.columns) && table.copy_in.contains(table.columns),
            "{}",
            table.name
        );
        let mut copied: Vec<&str> = table.columns.split(", ").collect();
        copied.sort_unstable();
        assert_eq!(copied.join(", "), columns, "{}", table.name);
    }
    catalog.close().await.unwrap();
}
