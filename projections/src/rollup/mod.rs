//! Carrier rollups: one KRI over all tenants that a carrier carries.
//!
//! A join of two logs, kept incrementally: who carries a tenant (the platform's log), and what its KRIs measure (its
//! own log). Each side has base rows that one log alone writes; a *member* row is a function of one base row of each
//! side and is made again whenever either changes. So the members are the same in whatever order the logs are folded.
//! Members stand under the carrier's home tenant, where row-level security lets the carrier read them, and say which
//! position of which log they stand on. The figures over them are computed at read ([`statistics`]), for an instant.

mod fold;
mod row;
pub mod statistics;
pub mod summary;
#[cfg(test)]
mod tests;

use counterfoil_events::ids::TenantId;

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;
pub use row::{CarriageRow, CarriedRow, Carrier, HomeRow, KriNamesRow, MeasureRow, MemberRow};

/// The read model of rollups.
pub struct Rollups;

/// Base, platform: an organisation's home tenant.
const HOMES: usize = 0;
/// Base, platform: who carries a tenant.
const CARRIAGES: usize = 1;
/// Base, tenant: which KRIs it has.
const KRI_NAMES: usize = 2;
/// Base, tenant: what one of them measures.
const MEASURES: usize = 3;
/// Under the carrier's home tenant: whom it carries.
const CARRIED: usize = 4;
/// Under the carrier's home tenant: what it sees.
const MEMBERS: usize = 5;
const DECLARATION: Declaration = Declaration {
    name: "rollup",
    revision: 1,
    event_types: &[
        "OrganisationCreated",
        "TenantCreated",
        "TenantRenamed",
        "TenantCarried",
        "TenantReleased",
        "ExposureSet",
        "KriDefined",
        "KriChanged",
        "KriRetired",
        "KriRunCompleted",
    ],
    spans_logs: true,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[
        table!("rollup_homes": "home_tenant"),
        table!("rollup_carriages": "name", "carriers", "exposure", "position", "event_id"),
        table!("rollup_kri_names": "kris"),
        table!("rollup_measures": "name", "unit", "retired", "latest", "previous", "position", "event_id"),
        table!("rollup_carried": "tenant", "name", "share", "exposure", "position", "event_id"),
        table!(
            "rollup_members": "tenant", "kri", "name", "unit", "latest", "previous", "share", "exposure", "position",
            "event_id"
        ),
    ],
};

impl Projection for Rollups {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        let bases = |tenant: TenantId| vec![fold::carriage(tenant), fold::kri_names(tenant)];
        match (event.aggregate, event.aggregate_id.parse()) {
            ("organisation", _) => vec![event.own_row(HOMES)],
            ("tenant", Ok(tenant)) => bases(tenant),
            _ => bases(event.tenant),
        }
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        fold::fold(rows, event)
    }
}
