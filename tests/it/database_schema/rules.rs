//! The rules of isolation as one function over the catalog, and the same question asked by behaviour.

use sqlx::PgConnection;
use uuid::Uuid;

const RULES: &str = include_str!("rules.sql");
const FILL: &str = include_str!("fill.sql");
/// The two policies as every tenant table has to have them. The server prints them; nobody guesses how.
const MODEL: &str = "
    CREATE TEMPORARY TABLE rules_model (tenant_id uuid);
    CREATE POLICY admitted ON rules_model AS PERMISSIVE TO counterfoil_app, counterfoil_reader
        USING (true) WITH CHECK (true);
    CREATE POLICY own_tenant ON rules_model AS RESTRICTIVE
        USING (tenant_id = (SELECT NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid))
        WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid))";
/// Role, whether row-level security does not bind it, whether it may log in.
const ROLES: [(&str, bool, bool); 6] = [
    ("counterfoil_owner", false, true),
    ("counterfoil_append", true, false),
    ("counterfoil_app", false, true),
    ("counterfoil_reader", false, true),
    ("counterfoil_log", true, true),
    ("counterfoil_projector", true, true),
];
/// Everything that anyone but its owner may do with a table or view: the table of docs/security.md, to the letter.
const GRANTS: &[&str] = &[
    "counterfoil_app DELETE,INSERT,SELECT counterfoil.secret_versions",
    "counterfoil_app DELETE,INSERT,SELECT counterfoil.sessions",
    "counterfoil_app DELETE,INSERT,SELECT counterfoil.subjects",
    "counterfoil_app INSERT,SELECT counterfoil.organisation_keys",
    "counterfoil_app SELECT counterfoil.chain_heads",
    "counterfoil_app SELECT counterfoil.documents",
    "counterfoil_app SELECT counterfoil.events",
    "counterfoil_app SELECT counterfoil.head_notes",
    "counterfoil_app SELECT counterfoil.parked_events",
    "counterfoil_app SELECT counterfoil.projection_cursors",
    "counterfoil_app SELECT counterfoil.projection_versions",
    "counterfoil_app SELECT read models",
    "counterfoil_app UPDATE counterfoil.organisation_keys.kek",
    "counterfoil_app UPDATE counterfoil.organisation_keys.wrapped",
    "counterfoil_app UPDATE counterfoil.secret_versions.organisation_key",
    "counterfoil_app UPDATE counterfoil.secret_versions.wrapped",
    "counterfoil_app UPDATE counterfoil.sessions.last_used_at",
    "counterfoil_append INSERT,SELECT counterfoil.documents",
    "counterfoil_append INSERT,SELECT counterfoil.events",
    "counterfoil_append INSERT,SELECT counterfoil.organisation_keys",
    "counterfoil_append INSERT,SELECT counterfoil.secret_versions",
    "counterfoil_append INSERT,SELECT counterfoil.subjects",
    "counterfoil_append INSERT,SELECT,UPDATE counterfoil.chain_heads",
    "counterfoil_append INSERT,SELECT,UPDATE counterfoil.idempotency",
    "counterfoil_log DELETE,INSERT,SELECT,UPDATE counterfoil.snapshots",
    "counterfoil_log DELETE,SELECT counterfoil.idempotency",
    "counterfoil_log INSERT,SELECT counterfoil.head_notes",
    "counterfoil_log SELECT counterfoil.chain_heads",
    "counterfoil_log SELECT counterfoil.documents",
    "counterfoil_log SELECT counterfoil.events",
    "counterfoil_log SELECT counterfoil.organisation_keys",
    "counterfoil_log SELECT counterfoil.parked_events",
    "counterfoil_log SELECT counterfoil.projection_cursors",
    "counterfoil_log SELECT counterfoil.projection_versions",
    "counterfoil_log SELECT counterfoil.secret_versions",
    "counterfoil_log SELECT counterfoil.subjects",
    "counterfoil_projector DELETE,INSERT,SELECT,UPDATE counterfoil.parked_events",
    "counterfoil_projector DELETE,INSERT,SELECT,UPDATE counterfoil.projection_cursors",
    "counterfoil_projector DELETE,INSERT,SELECT,UPDATE counterfoil.projection_versions",
    "counterfoil_projector DELETE,INSERT,SELECT,UPDATE counterfoil.rebuild_jobs",
    "counterfoil_projector SELECT counterfoil.chain_heads",
    "counterfoil_projector SELECT counterfoil.documents",
    "counterfoil_projector SELECT counterfoil.events",
    "counterfoil_projector SELECT counterfoil.head_notes",
    "counterfoil_reader SELECT counterfoil.chain_heads",
    "counterfoil_reader SELECT counterfoil.cqrs_events",
    "counterfoil_reader SELECT counterfoil.documents",
    "counterfoil_reader SELECT counterfoil.events",
    "counterfoil_reader SELECT counterfoil.head_notes",
    "counterfoil_reader SELECT read models",
];

/// Fills every tenant table with `rows` rows for each of these.
pub async fn fill(connection: &mut PgConnection, tenants: &[Uuid], rows: i32) {
    sqlx::raw_sql(FILL).execute(&mut *connection).await.unwrap();
    fill_more(connection, tenants, rows).await;
}

/// The same again, on a connection that has filled before.
pub async fn fill_more(connection: &mut PgConnection, tenants: &[Uuid], rows: i32) {
    sqlx::query("SELECT pg_temp.fill($1, $2)")
        .bind(tenants)
        .bind(rows)
        .execute(connection)
        .await
        .unwrap();
}

/// Makes the model that [`broken`] compares with.
pub async fn make_model(connection: &mut PgConnection) {
    sqlx::raw_sql(MODEL).execute(connection).await.unwrap();
}

/// Every place that breaks a rule, in words.
pub async fn broken(connection: &mut PgConnection) -> Vec<String> {
    let names: Vec<&str> = ROLES.iter().map(|(name, ..)| *name).collect();
    let bypass: Vec<bool> = ROLES.iter().map(|(_, bypasses, _)| *bypasses).collect();
    let login: Vec<bool> = ROLES.iter().map(|(.., logs_in)| *logs_in).collect();
    sqlx::query_scalar(RULES)
        .bind(names)
        .bind(bypass)
        .bind(login)
        .bind(GRANTS)
        .fetch_all(connection)
        .await
        .unwrap()
}

/// Who looks, and at what.
pub struct Probe<'a> {
    pub role: &'a str,
    pub table: &'a str,
    pub own: Uuid,
    pub other: Uuid,
}

impl Probe<'_> {
    /// What is wrong with what `role` sees of `table` as `own`, and with what it may write there. It gets the rights
    /// first: it is row-level security that is asked, not the grants. To be rolled back by the caller.
    pub async fn wrong(&self, connection: &mut PgConnection) -> Vec<String> {
        self.become_bound(connection).await;
        let mut wrong = Vec::new();
        let seen = format!("SELECT DISTINCT tenant_id FROM {}", self.table);
        let seen: Vec<Uuid> = sqlx::query_scalar(&seen)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        if seen != [self.own] {
            wrong.push(format!("{} sees {seen:?} as {}", self.role, self.own));
        }
        let give_away = format!("UPDATE {} SET tenant_id = $1", self.table);
        let given = sqlx::query(&give_away).bind(self.other).execute(connection).await;
        match given {
            Err(error) if error.to_string().contains("row-level security") => {}
            outcome => wrong.push(format!("a row was given to another tenant: {outcome:?}")),
        }
        wrong
    }

    async fn become_bound(&self, connection: &mut PgConnection) {
        let (table, role, own) = (self.table, self.role, self.own);
        // Triggers that refuse changes are not what is asked either.
        let bind = format!(
            "GRANT SELECT, UPDATE ON {table} TO {role}; SET LOCAL session_replication_role = replica; \
             SET LOCAL ROLE {role}; SET LOCAL counterfoil.tenant_id = '{own}'"
        );
        sqlx::raw_sql(&bind).execute(connection).await.unwrap();
    }
}
