//! Every SQL statement of the program is prepared and planned against the migrated schema, by a role that may run it.
//! Statements are found in the source; those that macros compose are asked of the program.

use sqlx::{ConnectOptions, Connection, PgConnection};

use super::source::{files, literals, statement_arguments};
use super::{complete, login};

/// Statements that PREPARE takes; everything else is run by the set-up of each test, or says BEGIN and COMMIT.
const PREPARABLE: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
/// The roles that the program runs as.
const ROLES: [&str; 5] = [
    "counterfoil_app",
    "counterfoil_reader",
    "counterfoil_log",
    "counterfoil_projector",
    "counterfoil_owner",
];
/// What may be handed to sqlx besides constants and literals, and where that comes from.
const COMPOSED: [&str; 11] = [
    "table.load",     // of a projection's tables, below
    "table.store",    //
    "table.delete",   //
    "resource.list",  // of the lists over HTTP, below
    "resource.one",   // of their items
    "self.statement", // one of two constants
    "forget",         // one of two constants
    "statement",      // one of several constants
    "&statement",     // quoted by the server itself: format('…%I…')
    "&compare",       // the same
    "sql",            // a script: a .sql file, or a statement that the server quoted
];

fn is_statement(text: &str) -> bool {
    PREPARABLE.iter().any(|verb| text.starts_with(verb))
}

#[test]
fn only_constants_are_handed_to_the_database() {
    let arguments = statement_arguments();
    assert!(arguments.len() > 60, "{arguments:?}");
    for (place, argument) in arguments {
        let constant = argument
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let allowed = constant || argument.starts_with('"') || COMPOSED.contains(&argument.as_str());
        assert!(
            allowed,
            "{place}: {argument} is no constant: SQL is never built from texts"
        );
    }
}

/// Statements that macros compose: of every projection's tables, and of every list over HTTP.
fn composed() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for projection in counterfoil_projections::all() {
        for table in projection.declaration().tables {
            for statement in [table.load, table.store, table.delete] {
                // Parts of one statement, which numbers their arguments.
                let statement = statement.replace("$rows", "$1").replace("$tenants", "$1");
                let statement = statement.replace("$keys", "$2");
                all.push((format!("projection {}", projection.name()), statement));
            }
        }
    }
    let lists = counterfoil::http::queries::list_statements();
    all.extend(lists.map(|statement| ("lists over HTTP".to_owned(), statement.to_owned())));
    all
}

/// Each statement with its place.
fn statements() -> Vec<(String, String)> {
    let mut all = composed();
    for literal in literals()
        .into_iter()
        .filter(|literal| is_statement(&literal.text))
    {
        if literal.part {
            let known = all.iter().any(|(_, statement)| statement.contains(&literal.text));
            assert!(known, "{}: no composed statement has this part", literal.place);
        } else {
            all.push((literal.place, literal.text));
        }
    }
    // Tables and views of read models are made by the set-up; any other file is a statement.
    let made = |name: &str| {
        ["tables.sql", "views.sql", "bind_tables.sql"]
            .iter()
            .any(|made| name.ends_with(made))
    };
    let others = files(".sql").into_iter().filter(|(name, _)| !made(name));
    all.extend(others);
    all
}

#[tokio::test]
async fn every_statement_can_be_planned_by_a_role_that_runs_it() {
    let ledger = complete().await;
    let mut connections = Vec::new();
    for role in ROLES {
        let mut connection = login(&ledger, role).connect().await.unwrap();
        sqlx::raw_sql(SEARCH_PATH).execute(&mut connection).await.unwrap();
        connections.push((role, connection));
    }
    let all = statements();
    assert!(all.len() > 80, "only {} statements were found", all.len());
    let mut failures = Vec::new();
    for (place, statement) in &all {
        let mut reasons = Vec::new();
        for (role, connection) in &mut connections {
            match plan(connection, statement).await {
                Ok(()) => {
                    reasons.clear();
                    break;
                }
                Err(error) => reasons.push(format!("{role}: {error}")),
            }
        }
        if !reasons.is_empty() {
            failures.push(format!("{place}: {statement}\n    {}", reasons.join("\n    ")));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        all.len(),
        failures.join("\n")
    );
    for (_, connection) in connections {
        connection.close().await.unwrap();
    }
}

/// The folds' statements name their tables alone; each version's schema is put before them at run time.
const SEARCH_PATH: &str = "SELECT set_config('search_path', string_agg(quote_ident(nspname), ','), false) \
                           FROM pg_namespace WHERE nspname LIKE 'read\\_%\\_v1'";
const PARAMETERS: &str =
    "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'tried'";

/// Prepares it; then the plan with empty parameters, which asks for the role's rights too, and runs nothing.
async fn plan(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(&format!("PREPARE tried AS {statement}"))
        .execute(&mut *connection)
        .await?;
    let planned = async {
        let parameters: i32 = sqlx::query_scalar(PARAMETERS).fetch_one(&mut *connection).await?;
        let empty = vec!["NULL"; usize::try_from(parameters).unwrap()].join(", ");
        let call = if empty.is_empty() {
            String::new()
        } else {
            format!("({empty})")
        };
        sqlx::raw_sql(&format!("EXPLAIN EXECUTE tried{call}"))
            .execute(&mut *connection)
            .await
    };
    let planned = planned.await;
    sqlx::raw_sql("DEALLOCATE tried").execute(connection).await?;
    planned.map(drop)
}
