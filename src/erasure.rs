//! What is destroyed of a tenant that has ended: everything beside the log that could still tell something.
//!
//! The log is not touched. A secret's ciphertext, and the data key wrapped beside it, are gone with their row; nobody,
//! the KMS included, opens that version again. Backups that were taken before hold the row until they are gone themselves
//! (`docs/operator-guide.md`).
//!
//! As whom users sign in lies under the home tenant of an issuer's organisation, for all the organisation's tenants at once;
//! any other tenant has none of these rows, and a home tenant does not end yet. So this deletes what lies under the tenant
//! that ended, and leaves alone who signs in to the organisation's other tenants. A single person's row goes when its link
//! ends.

use counterfoil_events::ids::TenantId;
use counterfoil_events::ledger::Database;

use crate::issuer::subjects::Subjects;
use crate::vault::store::VaultStore;

/// Destroys what a tenant that has ended leaves: its secrets' keys and the subjects of its people.
#[derive(Clone)]
pub struct Erasure {
    vault: VaultStore,
    subjects: Subjects,
}

impl Erasure {
    /// On these connections.
    #[must_use]
    pub fn new(database: Database, subjects: Subjects) -> Self {
        Self {
            vault: VaultStore::new(database),
            subjects,
        }
    }

    /// Destroys everything of a tenant that can be; says how many sealed versions of secrets that were. Repeating it
    /// finishes what was cut off.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn destroy(&self, tenant: TenantId) -> Result<u32, sqlx::Error> {
        let secrets = self.vault.delete_all(tenant).await?;
        self.subjects.erase(tenant).await?;
        Ok(u32::try_from(secrets).unwrap_or(u32::MAX))
    }
}
