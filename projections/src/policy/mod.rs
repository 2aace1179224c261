//! Policies: which version of which layer decides (key: the layer), and all versions (key: `layer|version`).

use counterfoil_events::document::DocumentRef;
use counterfoil_events::ids::Position;
use counterfoil_events::policy::{Policy, PolicyEvent};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;

/// A layer's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// The version that decides; none: everything is denied.
    pub active: Option<u32>,
    /// Since when.
    pub active_since: Option<Timestamp>,
    /// The newest version.
    pub latest: u32,
    /// The last event that the row stands on.
    pub position: Position,
}

/// One version of a layer's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersionRow {
    /// Of which layer.
    pub layer: String,
    /// Its number.
    pub version: u32,
    /// Its source, a document.
    pub source: DocumentRef,
    /// How many tests of its own it passed.
    pub tests: u32,
    /// When it was published.
    pub published_at: Timestamp,
    /// The event that published it.
    pub position: Position,
}

/// The read model of policies.
pub struct Policies;

const POLICIES: usize = 0;
const VERSIONS: usize = 1;
const DECLARATION: Declaration = Declaration {
    name: "policy",
    revision: 1,
    event_types: &["PolicyPublished", "PolicyActivated", "PolicyRolledBack"],
    spans_logs: false,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[
        table!("policies": "active", "active_since", "latest", "position"),
        table!("policy_versions": "layer", "version", "source", "tests", "published_at", "position"),
    ],
};

impl Projection for Policies {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        vec![event.own_row(POLICIES)]
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        use PolicyEvent as E;

        let key = event.own_row(POLICIES);
        let mut row = rows.get(&key)?.unwrap_or(PolicyRow {
            active: None,
            active_since: None,
            latest: 0,
            position: event.position,
        });
        match event.decode::<Policy>()? {
            E::PolicyPublished {
                version,
                source,
                tests,
            } => {
                row.latest = version;
                let layer = event.aggregate_id.to_owned();
                let name = RowKey::new(VERSIONS, event.tenant, format!("{layer}|{version}"));
                let (published_at, position) = (event.recorded_at, event.position);
                rows.put(
                    name,
                    PolicyVersionRow {
                        layer,
                        version,
                        source,
                        tests,
                        published_at,
                        position,
                    },
                );
            }
            E::PolicyActivated { version } | E::PolicyRolledBack { to: version, .. } => {
                row.active = Some(version);
                row.active_since = Some(event.recorded_at);
            }
        }
        row.position = event.position;
        rows.put(key, row);
        Ok(())
    }
}
