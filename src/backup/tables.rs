//! What a backup holds of the database: the statements that copy each table out and in, in the order of loading.
//!
//! Text format, with every column named: it is the same in all versions of Postgres, and a later column does not
//! change what these statements mean. A migration that adds a column which cannot be derived adds it here, with the
//! manifest's next format. A test compares this list with the schema, so that no table is forgotten.

/// One table of the log.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name in the schema `counterfoil`.
    pub name: &'static str,
    /// Its file in a backup.
    pub file: &'static str,
    /// What is copied of it, in this order.
    pub columns: &'static str,
    /// Reads it, as `counterfoil_log`.
    pub copy_out: &'static str,
    /// Writes it, as `counterfoil_append`.
    pub copy_in: &'static str,
}

macro_rules! table {
    ($name:literal, $columns:literal) => {
        Table {
            name: $name,
            file: concat!($name, ".copy"),
            columns: $columns,
            copy_out: concat!("COPY counterfoil.", $name, " (", $columns, ") TO STDOUT"),
            copy_in: concat!("COPY counterfoil.", $name, " (", $columns, ") FROM STDIN"),
        }
    };
    ($name:literal, $columns:literal, ordered by $key:literal) => {
        Table {
            copy_out: concat!(
                "COPY (SELECT ",
                $columns,
                " FROM counterfoil.",
                $name,
                " ORDER BY ",
                $key,
                ") TO STDOUT"
            ),
            ..table!($name, $columns)
        }
    };
}

/// The tables that a backup holds.
pub const TABLES: [Table; 8] = [
    table!(
        "chain_heads",
        "tenant_id, partition, position, hash, recorded_at, fence, quarantine_reason"
    ),
    // Log by log, on the primary key: so each is checked while it passes (`check.rs`).
    table!(
        "events",
        "tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version, recorded_at, hash, key_id, signature, envelope",
        ordered by "tenant_id, position"
    ),
    table!("documents", "tenant_id, digest, body"),
    table!(
        "idempotency",
        "tenant_id, key_hash, fingerprint, first_position, event_count, created_at"
    ),
    table!("head_notes", "tenant_id, position, hash, noted_at, note"),
    table!(
        "organisation_keys",
        "tenant_id, number, organisation_id, kek, wrapped, made_at"
    ),
    table!(
        "secret_versions",
        "tenant_id, secret, version, digest, sealed, data_key, organisation_key, wrapped, stored_at"
    ),
    table!("subjects", "tenant_id, link, user_id, hash, salt, made_at"),
];

/// The tables that it leaves out, because they are made again from the others.
#[derive(Debug)]
pub struct Derived;

impl Derived {
    /// Snapshots of aggregates, and what the projection engine remembers of read models that are not there either.
    /// And when sessions were last used: a session without that has ended, so that after a restore people sign in anew.
    pub const TABLES: [&'static str; 6] = [
        "sessions",
        "snapshots",
        "projection_versions",
        "projection_cursors",
        "parked_events",
        "rebuild_jobs",
    ];
}
