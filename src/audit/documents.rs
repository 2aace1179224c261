//! The documents that a page of events refers to, read and measured one after the other: never all at once.

use counterfoil_events::ids::{DocumentDigest, TenantId};
use counterfoil_events::verify::SeenDocuments;
use futures::TryStreamExt;
use sqlx::{PgPool, Row};

use super::rows::bytes;

/// On the primary key.
const DOCUMENTS: &str =
    "SELECT digest, body FROM counterfoil.documents WHERE tenant_id = $1 AND digest = ANY($2)";

/// Reads those of `digests` that are there.
pub(super) async fn read(
    pool: &PgPool,
    tenant: TenantId,
    mut digests: Vec<DocumentDigest>,
) -> Result<SeenDocuments, sqlx::Error> {
    let mut seen = SeenDocuments::default();
    if digests.is_empty() {
        return Ok(seen);
    }
    digests.sort_unstable();
    digests.dedup();
    let wanted: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
    let mut rows = sqlx::query(DOCUMENTS).bind(tenant.0).bind(wanted).fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let digest = bytes(&row, 0, |bytes| DocumentDigest::try_from(bytes))?;
        seen.add(digest, row.try_get::<&str, _>(1)?.as_bytes());
    }
    Ok(seen)
}
