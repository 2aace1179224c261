//! Organisations as they are: under the platform's tenant, key: the organisation's id.

use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::organisation::{Organisation, OrganisationEvent, OrganisationKind};
use counterfoil_events::text::{Code, Name};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganisationRow {
    /// `carrier`, `group` or `company`.
    pub kind: OrganisationKind,
    /// What people call it.
    pub name: Name,
    /// The tenant in which its own people work.
    pub home_tenant: TenantId,
    /// Why it is suspended, if it is.
    pub suspended: Option<Code>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last event that the row stands on.
    pub position: Position,
}

/// The read model of organisations.
pub struct Organisations;

const DECLARATION: Declaration = Declaration {
    name: "organisation",
    revision: 1,
    event_types: &[
        "OrganisationCreated",
        "OrganisationRenamed",
        "OrganisationSuspended",
        "OrganisationResumed",
    ],
    spans_logs: false,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[table!("organisations": "kind", "name", "home_tenant", "suspended", "created_at", "position")],
};

impl Projection for Organisations {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        vec![event.own_row(0)]
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        use OrganisationEvent as E;

        let key = event.own_row(0);
        let change = match event.decode::<Organisation>()? {
            E::OrganisationCreated {
                kind,
                name,
                home_tenant,
            } => {
                let row = OrganisationRow {
                    kind,
                    name,
                    home_tenant,
                    suspended: None,
                    created_at: event.recorded_at,
                    position: event.position,
                };
                rows.put(key, row);
                return Ok(());
            }
            other => other,
        };
        let mut row: OrganisationRow = rows.existing(&key)?;
        match change {
            E::OrganisationCreated { .. } => {}
            E::OrganisationRenamed { name } => row.name = name,
            E::OrganisationSuspended { reason } => row.suspended = Some(reason),
            E::OrganisationResumed {} => row.suspended = None,
        }
        row.position = event.position;
        rows.put(key, row);
        Ok(())
    }
}
