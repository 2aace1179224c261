//! Step 1: the database and the roles, as an administrator of the cluster.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

const ROLES: &str = include_str!("../../deploy/sql/roles.sql");

/// The passwords of the login roles.
#[derive(Clone)]
pub struct Logins {
    /// `counterfoil_owner`
    pub owner: SecretString,
    /// `counterfoil_app`
    pub app: SecretString,
    /// `counterfoil_reader`
    pub reader: SecretString,
    /// `counterfoil_log`
    pub log: SecretString,
    /// `counterfoil_projector`
    pub projector: SecretString,
}

impl Logins {
    fn by_role(&self) -> [(&'static str, &SecretString); 5] {
        [
            ("counterfoil_owner", &self.owner),
            ("counterfoil_app", &self.app),
            ("counterfoil_reader", &self.reader),
            ("counterfoil_log", &self.log),
            ("counterfoil_projector", &self.projector),
        ]
    }
}

/// The cluster could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    /// Postgres refused or did not answer.
    #[error(
        "preparing the cluster: {0}; the login for `init` needs CREATEDB, CREATEROLE and the right to give BYPASSRLS"
    )]
    Postgres(#[from] sqlx::Error),
}

/// Makes the roles, sets their passwords, makes the database and lets the owner in.
///
/// # Errors
/// When the administrator may not, or Postgres does not answer.
pub async fn prepare_cluster(
    admin: &PgConnectOptions,
    database: &str,
    logins: &Logins,
) -> Result<(), RolesError> {
    let mut connection = admin.clone().disable_statement_logging().connect().await?;
    make_roles(&mut connection, logins).await?;
    make_database(&mut connection, database).await?;
    connection.close().await?;

    let mut connection = admin.clone().database(database).connect().await?;
    for grant in [
        "GRANT CREATE, CONNECT ON DATABASE %I TO counterfoil_owner",
        "GRANT CREATE ON DATABASE %I TO counterfoil_projector",
    ] {
        execute_formatted(&mut connection, grant, &[database]).await?;
    }
    // Nobody makes objects where everybody looks.
    sqlx::raw_sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

async fn make_roles(connection: &mut PgConnection, logins: &Logins) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(ROLES).execute(&mut *transaction).await?;
    for (role, password) in logins.by_role() {
        execute_formatted(
            &mut transaction,
            "ALTER ROLE %I PASSWORD %L",
            &[role, password.expose_secret()],
        )
        .await?;
    }
    transaction.commit().await
}

async fn make_database(connection: &mut PgConnection, database: &str) -> Result<(), sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database)
        .fetch_one(&mut *connection)
        .await?;
    if exists {
        return Ok(());
    }
    let made = execute_formatted(
        connection,
        "CREATE DATABASE %I ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        &[database],
    )
    .await;
    match made {
        // Another process was quicker: one of each is what we want.
        Err(error) if is_duplicate(&error) => Ok(()),
        other => other,
    }
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("42P04" | "23505"))
}

/// Statements that take no parameters: the server quotes the names and literals itself, then runs the result.
async fn execute_formatted(
    connection: &mut PgConnection,
    template: &str,
    names: &[&str],
) -> Result<(), sqlx::Error> {
    let statement: String = sqlx::query_scalar("SELECT format($1::text, VARIADIC $2::text[])")
        .bind(template)
        .bind(names)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::raw_sql(&statement).execute(connection).await?;
    Ok(())
}
