//! Connections to Postgres, one pool per role, and the one transaction wrapper for requests.
//!
//! Requests never see a raw pool: [`Database::tenant`] begins a transaction as `counterfoil_app` and sets the
//! tenant that row-level security binds it to. The log's own pool crosses tenants and stays with the parts that
//! keep or check the log; the projector's stays with the read models.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::ids::TenantId;

const SET_TENANT: &str = "SELECT set_config('counterfoil.tenant_id', $1, true)";

/// A role's login.
#[derive(Clone)]
pub struct RoleLogin {
    /// Such as `counterfoil_app`.
    pub user: String,
    /// Its password, where the server asks for one.
    pub password: Option<String>,
}

/// How many connections each pool holds at most.
#[derive(Clone, Copy, Debug)]
pub struct PoolSizes {
    /// For requests.
    pub app: u32,
    /// For the sequencer and everything that reads the whole log.
    pub log: u32,
    /// For projections.
    pub projector: u32,
}

impl Default for PoolSizes {
    fn default() -> Self {
        // Small: on the reference machine more writers than this only queue inside Postgres instead of here.
        Self {
            app: 8,
            log: 10,
            projector: 6,
        }
    }
}

/// Where the database is and who logs in.
#[derive(Clone)]
pub struct DatabaseOptions {
    /// Host, port, database, TLS; the roles' logins are put on top.
    pub server: PgConnectOptions,
    /// Requests.
    pub app: RoleLogin,
    /// The log.
    pub log: RoleLogin,
    /// Projections.
    pub projector: RoleLogin,
    /// Pool sizes.
    pub sizes: PoolSizes,
}

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It does not answer, or refuses.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    /// A setting that would make an acknowledged commit a lie.
    #[error(
        "Postgres runs with {setting} = {value}: a committed event could be lost. Set it to on and start again"
    )]
    NotDurable {
        /// Which.
        setting: String,
        /// What it is.
        value: String,
    },
}

/// All connections of a process.
#[derive(Clone)]
pub struct Database {
    app: PgPool,
    log: PgPool,
    projector: PgPool,
}

impl Database {
    /// Makes the pools; connections are opened when first needed.
    #[must_use]
    pub fn new(options: &DatabaseOptions) -> Self {
        let server = |login: &RoleLogin, name: &str, synchronous_commit: &str| {
            let server = options
                .server
                .clone()
                .username(&login.user)
                .application_name(name);
            // Nothing may hang for ever.
            let server = server.options([
                ("synchronous_commit", synchronous_commit),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "10s"),
                ("tcp_user_timeout", "10s"),
            ]);
            match &login.password {
                Some(password) => server.password(password),
                None => server,
            }
        };
        let pool = |size: u32| {
            PgPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(Duration::from_secs(5))
                // It would cost a round trip each time; a dead connection shows by itself and is handled.
                .test_before_acquire(false)
        };
        let sizes = options.sizes;
        // A commit to the log is what acknowledges, so it must have reached the disk. A read model's need not: what a
        // crash takes of it are its last transactions, cursors included, and these are folded again.
        let [app, log, projector] = [
            server(&options.app, "counterfoil app", "on"),
            server(&options.log, "counterfoil log", "on"),
            server(&options.projector, "counterfoil projector", "off"),
        ];
        Self {
            app: pool(sizes.app).connect_lazy_with(app),
            log: pool(sizes.log).connect_lazy_with(log),
            projector: pool(sizes.projector).connect_lazy_with(projector),
        }
    }

    /// Refuses a server whose commits are not durable.
    ///
    /// # Errors
    /// [`DatabaseError::NotDurable`] with `fsync` or `full_page_writes` off.
    pub async fn check_durability(&self) -> Result<(), DatabaseError> {
        for setting in ["fsync", "full_page_writes"] {
            let value: String = sqlx::query_scalar("SELECT current_setting($1)")
                .bind(setting)
                .fetch_one(&self.log)
                .await?;
            if value != "on" {
                return Err(DatabaseError::NotDurable {
                    setting: setting.to_owned(),
                    value,
                });
            }
        }
        Ok(())
    }

    /// Begins a transaction that sees one tenant's rows and no others.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTransaction, sqlx::Error> {
        let mut transaction = self.app.begin().await?;
        sqlx::query(SET_TENANT)
            .bind(tenant.to_string())
            .execute(&mut *transaction)
            .await?;
        Ok(TenantTransaction(transaction))
    }

    /// The log's pool. It crosses tenants: for the sequencer, the relay, audit and security state only.
    #[must_use]
    pub fn log(&self) -> &PgPool {
        &self.log
    }

    /// The projector's pool. It crosses tenants: for projections only.
    #[must_use]
    pub fn projector(&self) -> &PgPool {
        &self.projector
    }

    /// Whether Postgres answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT 1").execute(&self.app).await.map(|_| ())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        tokio::join!(self.app.close(), self.log.close(), self.projector.close());
    }
}

/// A request's transaction, bound to one tenant; rolled back when dropped.
pub struct TenantTransaction(Transaction<'static, Postgres>);

impl TenantTransaction {
    /// Commits.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }

    /// To run a statement on.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
