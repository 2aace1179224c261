//! Connections to Postgres, one pool per role, and the one transaction wrapper for requests.
//!
//! Requests never see a raw pool: [`Database::tenant`] begins a transaction as `counterfoil_app` and sets the
//! tenant that row-level security binds it to. The log's own pool crosses tenants and stays with the parts that
//! keep or check the log; the projector's stays with the read models.
//!
//! Requests may pass a pooler that lends its sessions by the transaction ([`DatabaseOptions::app_pooler`]): nothing of
//! theirs outlives a transaction. Log and read models hold session locks, and always connect to the server itself.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::ids::TenantId;

const SET_TENANT: &str = "SELECT set_config('counterfoil.tenant_id', $1, true)";
/// A pooler's session may hold statements under the very names that this connection will give to its own.
const FORGET_STATEMENTS: &str = "DEALLOCATE ALL";

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
    /// A pooler in transaction mode before the server, for requests; none: they too connect to the server itself.
    pub app_pooler: Option<PgConnectOptions>,
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
    /// Whether `app` reaches its sessions through a pooler.
    pooled: bool,
    log: PgPool,
    projector: PgPool,
}

impl Database {
    /// Makes the pools; connections are opened when first needed.
    #[must_use]
    pub fn new(options: &DatabaseOptions) -> Self {
        let login = |server: &PgConnectOptions, login: &RoleLogin, name: &str| {
            let server = server.clone().username(&login.user).application_name(name);
            match &login.password {
                Some(password) => server.password(password),
                None => server,
            }
        };
        let server = |of: &RoleLogin, name: &str, synchronous_commit: &str| {
            // Nothing may hang for ever.
            login(&options.server, of, name).options([
                ("synchronous_commit", synchronous_commit),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "10s"),
                ("tcp_user_timeout", "10s"),
            ])
        };
        // A pooler refuses settings of a session; the role's own have the same limits (`deploy/sql/roles.sql`).
        let pooled = |pooler: &PgConnectOptions| {
            login(pooler, &options.app, "counterfoil app")
                .extra_float_digits(None)
                .statement_cache_capacity(0)
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
        let app = match &options.app_pooler {
            Some(pooler) => pooled(pooler),
            None => server(&options.app, "counterfoil app", "on"),
        };
        let log = server(&options.log, "counterfoil log", "on");
        let projector = server(&options.projector, "counterfoil projector", "off");
        Self {
            pooled: options.app_pooler.is_some(),
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
        if self.pooled {
            sqlx::query(FORGET_STATEMENTS)
                .persistent(false)
                .execute(&mut *transaction)
                .await?;
        }
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
        // In a transaction: outside one a pooler may answer each message from another session.
        self.app.begin().await?.rollback().await
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
