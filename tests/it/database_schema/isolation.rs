//! The rules of isolation, asked of the catalog: a table, key, view or function that is added without them turns this
//! red.

use std::collections::BTreeSet;

use counterfoil::backup::{Derived, TABLES};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::complete;

/// Tables that say nothing of any tenant.
const OF_NOBODY: [&str; 2] = ["counterfoil.projection_versions", "counterfoil.rebuild_jobs"];

const TENANT_TABLES: &str = "
    SELECT format('%s.%s', n.nspname, c.relname), c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%')
    ORDER BY 1";
/// Of each table: the permissive policy for the bound roles, and the restrictive one that reads the setting, once per
/// query, for reading and for writing.
const POLICIES: &str = "
    SELECT format('%s.%s', schemaname, tablename) FROM pg_policies
    WHERE permissive = 'PERMISSIVE' AND roles = '{counterfoil_app,counterfoil_reader}' AND cmd = 'ALL'
      AND qual = 'true' AND with_check = 'true'
    INTERSECT
    SELECT format('%s.%s', schemaname, tablename) FROM pg_policies
    WHERE permissive = 'RESTRICTIVE' AND roles = '{public}' AND cmd = 'ALL' AND qual = with_check
      AND qual LIKE '(tenant_id = ( SELECT (NULLIF(current_setting(''counterfoil.tenant_id''::text, true), %'";
const OTHER_POLICIES: &str = "
    SELECT format('%s.%s: %s', schemaname, tablename, policyname) FROM pg_policies
    WHERE policyname NOT IN ('admitted', 'own_tenant')";
/// Unique indexes (primary keys and constraints are such) and foreign keys that do not begin with the tenant.
const KEYS: &str = "
    SELECT format('%s.%s: %s', n.nspname, c.relname, i.indexrelid::regclass)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
    WHERE i.indisunique AND (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%') AND a.attname <> 'tenant_id'
      AND EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
    UNION ALL
    SELECT format('%s: %s', k.conrelid::regclass, k.conname)
    FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.contype = 'f' AND a.attname <> 'tenant_id'";
const VIEWS: &str = "
    SELECT format('%s.%s', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm') AND (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%')
      AND NOT coalesce(c.reloptions @> '{security_invoker=true}', false)";
/// Functions that run as another: their search path is pinned, row-level security is not silently applied, they belong
/// to the role that nobody logs in as, and only the log may call them.
const FUNCTIONS: &str = "
    SELECT p.oid::regprocedure::text,
           p.proconfig @> '{search_path=pg_catalog,row_security=off}' AND p.proowner = 'counterfoil_append'::regrole
           AND NOT has_function_privilege('counterfoil_app', p.oid, 'EXECUTE')
           AND NOT has_function_privilege('counterfoil_reader', p.oid, 'EXECUTE')
           AND has_function_privilege('counterfoil_log', p.oid, 'EXECUTE')
    FROM pg_proc p WHERE p.prosecdef AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)";
const COLUMNS: &str = "
    SELECT string_agg(attname, ', ' ORDER BY attname) FROM pg_attribute
    WHERE attrelid = ('counterfoil.' || $1)::regclass AND attnum > 0 AND NOT attisdropped";

async fn texts(connection: &mut PgConnection, statement: &str) -> BTreeSet<String> {
    let rows: Vec<String> = sqlx::query_scalar(statement).fetch_all(connection).await.unwrap();
    rows.into_iter().collect()
}

#[tokio::test]
async fn every_table_that_holds_tenants_rows_binds_them_to_their_tenant() {
    let ledger = complete().await;
    let mut catalog = ledger.admin.connect().await.unwrap();
    let tables: Vec<(String, bool, bool)> = sqlx::query_as(TENANT_TABLES)
        .fetch_all(&mut catalog)
        .await
        .unwrap();
    let bound: Vec<_> = tables
        .iter()
        .filter(|(name, ..)| !OF_NOBODY.contains(&name.as_str()))
        .collect();
    assert!(bound.len() > 15, "log and read models: {tables:?}");
    for (name, enabled, forced) in &bound {
        assert!(
            enabled & forced,
            "{name}: row-level security has to be enabled and forced"
        );
    }
    let with_policies = texts(&mut catalog, POLICIES).await;
    let expected: BTreeSet<String> = bound.iter().map(|(name, ..)| name.clone()).collect();
    assert_eq!(with_policies, expected, "both policies, on every table");
    assert_eq!(texts(&mut catalog, OTHER_POLICIES).await, BTreeSet::new());
    assert_eq!(
        texts(&mut catalog, KEYS).await,
        BTreeSet::new(),
        "keys and references begin with the tenant"
    );
    assert_eq!(
        texts(&mut catalog, VIEWS).await,
        BTreeSet::new(),
        "views are security_invoker"
    );
    catalog.close().await.unwrap();
}

#[tokio::test]
async fn functions_that_run_as_another_are_narrow() {
    let ledger = complete().await;
    let mut catalog = ledger.admin.connect().await.unwrap();
    let functions: Vec<(String, bool)> = sqlx::query_as(FUNCTIONS).fetch_all(&mut catalog).await.unwrap();
    assert!(functions.len() >= 6, "{functions:?}");
    for (name, narrow) in functions {
        assert!(narrow, "{name}");
    }
    catalog.close().await.unwrap();
}

#[tokio::test]
async fn every_table_of_the_log_is_backed_up_whole_or_derived() {
    let ledger = complete().await;
    let mut catalog = ledger.admin.connect().await.unwrap();
    let tables: Vec<(String, bool, bool)> = sqlx::query_as(TENANT_TABLES)
        .fetch_all(&mut catalog)
        .await
        .unwrap();
    let there = tables
        .iter()
        .filter_map(|(name, ..)| name.strip_prefix("counterfoil."));
    let kept = TABLES.iter().map(|table| table.name).chain(Derived::TABLES);
    assert_eq!(there.collect::<BTreeSet<_>>(), kept.collect::<BTreeSet<_>>());
    for table in TABLES {
        let columns: String = sqlx::query_scalar(COLUMNS)
            .bind(table.name)
            .fetch_one(&mut catalog)
            .await
            .unwrap();
        let copied = table.copy_out.split(['(', ')']).nth(1).unwrap();
        let mut copied: Vec<&str> = copied.split(", ").collect();
        copied.sort_unstable();
        assert_eq!(copied.join(", "), columns, "{}", table.name);
    }
    catalog.close().await.unwrap();
}
