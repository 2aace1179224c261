//! How what the API asks is planned where there is much: a million events of twenty tenants, thousands of other tenants,
//! and read models to suit. The tenant's setting is read once per query, and no table is read from end to end.

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::source::literals;
use super::{complete, login, rules};

const TENANTS: usize = 20;
/// In every tenant table, for each of the tenants.
const ROWS_PER_TENANT: i32 = 300;
/// Tenants with one row in each table: enough that no table of heads is small.
const SMALL_TENANTS: usize = 5_000;
/// A million events more, with less in them than the filler's.
const MANY_EVENTS: &str = "
    INSERT INTO counterfoil.events (tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version,
                                    recorded_at, hash, key_id, signature, envelope)
    SELECT ($1::uuid[])[1 + g % 20], 1000000 + g, '00000000-0000-0000-0000-000000000000', 'agent', g::text, 1, 'AgentChanged', '1.0', now(),
           '\\x00', '\\x00', '\\x00', '{}' FROM generate_series(1, $2) g";
const EVENTS: i32 = 1_000_000;

/// The statements that the role of requests runs: those of lists and items, and those that name what it reads in the
/// files that use its transactions.
fn statements() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = counterfoil::http::queries::list_statements()
        .map(|statement| ("lists over HTTP".to_owned(), statement.to_owned()))
        .collect();
    let asks = [
        "src/http/",
        "consumers/src/subscriptions/",
        "projections/src/engine/wait",
    ];
    let asked = literals().into_iter().filter(|literal| {
        let of_requests = asks.iter().any(|file| literal.place.starts_with(file));
        of_requests && literal.text.starts_with("SELECT ") && literal.text.contains(" FROM ") && !literal.part
    });
    all.extend(asked.map(|literal| (literal.place, literal.text)));
    all
}

/// Its plan as a prepared statement has it when its parameters are not known any more.
async fn plan(connection: &mut PgConnection, statement: &str) -> Value {
    let prepare = format!("PREPARE asked AS {statement}");
    sqlx::raw_sql(&prepare).execute(&mut *connection).await.unwrap();
    let count = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'";
    let parameters: i32 = sqlx::query_scalar(count)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let nulls = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
    let call = if nulls.is_empty() {
        nulls
    } else {
        format!("({nulls})")
    };
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE asked{call}");
    let plan: Value = sqlx::query_scalar(&explain)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("DEALLOCATE asked")
        .execute(connection)
        .await
        .unwrap();
    plan
}

/// Every node of a plan, the topmost first.
fn nodes(plan: &Value) -> Vec<&Value> {
    let mut all = vec![plan];
    let below = plan["Plans"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.extend(below.iter().flat_map(nodes));
    all
}

/// What is wrong with it.
fn faults(plan: &Value) -> Vec<String> {
    let all = nodes(&plan[0]["Plan"]);
    let once = all.iter().any(|node| {
        let name = node["Subplan Name"].as_str().unwrap_or_default();
        node["Parent Relationship"] == "InitPlan" && name.starts_with("InitPlan")
    });
    let mut faults = Vec::new();
    if !once {
        faults.push("the tenant's setting is not read once".to_owned());
    }
    for node in all {
        // A row for each build of a read model: small for ever, and of no tenant.
        if node["Node Type"] == "Seq Scan" && node["Relation Name"] != "projection_versions" {
            faults.push(format!("a sequential scan of {}", node["Relation Name"]));
        }
        for condition in ["Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond"] {
            if node[condition].to_string().contains("current_setting") {
                faults.push(format!("the setting is read for each row: {}", node[condition]));
            }
        }
    }
    faults
}

#[tokio::test]
async fn at_a_million_events_the_setting_is_read_once_and_no_table_from_end_to_end() {
    let ledger = complete().await;
    let tenants: Vec<Uuid> = (0..TENANTS).map(|_| Uuid::now_v7()).collect();
    let mut admin = PgConnection::connect_with(&ledger.admin).await.unwrap();
    let small: Vec<Uuid> = (0..SMALL_TENANTS).map(|_| Uuid::now_v7()).collect();
    rules::fill(&mut admin, &small, 1).await;
    rules::fill_more(&mut admin, &tenants, ROWS_PER_TENANT).await;
    // Nothing of this has to be there after a crash.
    let unsafe_but_fast = "SET synchronous_commit = off; SET session_replication_role = replica";
    sqlx::raw_sql(unsafe_but_fast).execute(&mut admin).await.unwrap();
    let many = sqlx::query(MANY_EVENTS).bind(&tenants).bind(EVENTS);
    many.execute(&mut admin).await.unwrap();
    sqlx::raw_sql("ANALYZE counterfoil.events")
        .execute(&mut admin)
        .await
        .unwrap();

    let mut app = PgConnection::connect_with(&login(&ledger, "counterfoil_app"))
        .await
        .unwrap();
    let bind = format!(
        "SET counterfoil.tenant_id = '{}'; SET plan_cache_mode = force_generic_plan",
        tenants[0]
    );
    sqlx::raw_sql(&bind).execute(&mut app).await.unwrap();
    let all = statements();
    assert!(all.len() > 20, "{all:?}");
    for (place, statement) in &all {
        let plan = plan(&mut app, statement).await;
        assert_eq!(faults(&plan), [""; 0], "{place}: {statement}\n{plan:#}");
    }
    // Both faults would be seen: this one is not bound to a tenant, and no index serves it.
    let scan = plan(
        &mut admin,
        "SELECT count(*) FROM counterfoil.events WHERE version = '2.0'",
    )
    .await;
    assert_eq!(faults(&scan).len(), 2, "{scan:#}");
    app.close().await.unwrap();
    admin.close().await.unwrap();
}
