//! Tenants as they are, with who carries them: under the platform's tenant, key: the tenant's id.

use std::collections::BTreeMap;

use counterfoil_events::ids::{OrganisationId, Position};
use counterfoil_events::money::Money;
use counterfoil_events::tenant::{Share, Tenant, TenantEvent};
use counterfoil_events::text::{Code, Name};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRow {
    /// Whose it is.
    pub organisation: OrganisationId,
    /// What people call it.
    pub name: Name,
    /// Whether it is its organisation's home tenant.
    pub home: bool,
    /// Why it is suspended, if it is.
    pub suspended: Option<Code>,
    /// Who carries how much of its risk.
    pub carriers: BTreeMap<OrganisationId, Share>,
    /// How much is at risk in it.
    pub exposure: Option<Money>,
    /// Until when it is kept, once it is closed.
    pub retain_until: Option<Timestamp>,
    /// Whether what can be erased of it was erased.
    pub erased: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last event that the row stands on.
    pub position: Position,
}

/// The read model of tenants.
pub struct Tenants;

const DECLARATION: Declaration = Declaration {
    name: "tenant",
    revision: 2,
    event_types: &[
        "TenantCreated",
        "TenantRenamed",
        "TenantSuspended",
        "TenantResumed",
        "TenantCarried",
        "TenantReleased",
        "ExposureSet",
        "TenantClosed",
        "TenantErased",
    ],
    spans_logs: false,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[table!(
        "tenants": "organisation", "name", "home", "suspended", "carriers", "exposure", "retain_until", "erased", "created_at", "position"
    )],
};

impl Projection for Tenants {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        vec![event.own_row(0)]
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        use TenantEvent as E;

        let key = event.own_row(0);
        let change = match event.decode::<Tenant>()? {
            E::TenantCreated {
                organisation,
                name,
                home,
            } => {
                rows.put(key, created(event, organisation, name, home));
                return Ok(());
            }
            other => other,
        };
        let mut row: TenantRow = rows.existing(&key)?;
        match change {
            E::TenantCreated { .. } => {}
            E::TenantRenamed { name } => row.name = name,
            E::TenantSuspended { reason, .. } => row.suspended = Some(reason),
            E::TenantResumed {} => row.suspended = None,
            E::TenantCarried { carrier, share } => {
                row.carriers.insert(carrier, share);
            }
            E::TenantReleased { carrier } => {
                row.carriers.remove(&carrier);
            }
            E::ExposureSet { amount } => row.exposure = Some(amount),
            E::TenantClosed { retain_until, .. } => row.retain_until = Some(retain_until),
            E::TenantErased { .. } => row.erased = true,
        }
        row.position = event.position;
        rows.put(key, row);
        Ok(())
    }
}

fn created(event: &FoldEvent<'_>, organisation: OrganisationId, name: Name, home: bool) -> TenantRow {
    TenantRow {
        organisation,
        name,
        home,
        suspended: None,
        carriers: BTreeMap::new(),
        exposure: None,
        retain_until: None,
        erased: false,
        created_at: event.recorded_at,
        position: event.position,
    }
}
