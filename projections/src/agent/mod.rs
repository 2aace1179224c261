//! Agents as they are, with the names of their live API keys: key: the agent's id.

use counterfoil_events::agent::{Agent, AgentEvent, RiskTier};
use counterfoil_events::document::DocumentRef;
use counterfoil_events::ids::{ApiKeyId, Position};
use counterfoil_events::text::{Code, ModelName, Name, ToolScope};
use counterfoil_events::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// What people call it.
    pub name: Name,
    /// Its spec card, a document.
    pub spec: DocumentRef,
    /// The models that it may use.
    pub models: Vec<ModelName>,
    /// What its tools may be used for.
    pub tool_scopes: Vec<ToolScope>,
    /// How much harm it could do.
    pub risk_tier: RiskTier,
    /// Why it is suspended, if it is.
    pub suspended: Option<Code>,
    /// Its API keys that are not revoked, in the order of their issue. One that was replaced is among them until its end
    /// and the next rotation.
    pub api_keys: Vec<LiveKey>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// The last event that the row stands on.
    pub position: Position,
}

/// The name of an API key that is not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveKey {
    /// Its name.
    pub key_id: ApiKeyId,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it stops working; never, if not given.
    pub expires_at: Option<Timestamp>,
}

/// The read model of agents.
pub struct Agents;

const DECLARATION: Declaration = Declaration {
    name: "agent",
    revision: 2,
    event_types: &[
        "AgentRegistered",
        "AgentChanged",
        "AgentSuspended",
        "AgentResumed",
        "AgentKeyIssued",
        "AgentKeyRotated",
        "AgentKeyRevoked",
    ],
    spans_logs: false,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[table!(
        "agents": "name", "spec", "models", "tool_scopes", "risk_tier", "suspended", "api_keys", "registered_at", "position"
    )],
};

impl Projection for Agents {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        match event.event_type {
            // There is no row yet.
            "AgentRegistered" => Vec::new(),
            _ => vec![event.own_row(0)],
        }
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        use AgentEvent as E;

        let key = event.own_row(0);
        let change = match event.decode::<Agent>()? {
            E::AgentRegistered {
                name,
                spec,
                models,
                tool_scopes,
                risk_tier,
            } => {
                let row = AgentRow {
                    name,
                    spec,
                    models: models.to_vec(),
                    tool_scopes: tool_scopes.to_vec(),
                    risk_tier,
                    suspended: None,
                    api_keys: Vec::new(),
                    registered_at: event.recorded_at,
                    position: event.position,
                };
                rows.put(key, row);
                return Ok(());
            }
            other => other,
        };
        let row: AgentRow = rows.existing(&key)?;
        rows.put(key, row.after(change, event));
        Ok(())
    }
}

impl AgentRow {
    fn after(mut self, change: AgentEvent, event: &FoldEvent<'_>) -> Self {
        use AgentEvent as E;

        match change {
            E::AgentRegistered {
                name,
                spec,
                models,
                tool_scopes,
                risk_tier,
            }
            | E::AgentChanged {
                name,
                spec,
                models,
                tool_scopes,
                risk_tier,
            } => {
                self.name = name;
                self.spec = spec;
                self.models = models.to_vec();
                self.tool_scopes = tool_scopes.to_vec();
                self.risk_tier = risk_tier;
            }
            E::AgentSuspended { reason } => self.suspended = Some(reason),
            E::AgentResumed {} => self.suspended = None,
            E::AgentKeyIssued {
                key_id, expires_at, ..
            } => {
                let issued_at = event.recorded_at;
                self.api_keys.push(LiveKey {
                    key_id,
                    issued_at,
                    expires_at,
                });
            }
            E::AgentKeyRotated {
                key_id,
                expires_at,
                old,
                old_ends_at,
                ..
            } => {
                let issued_at = event.recorded_at;
                for live in self.api_keys.iter_mut().filter(|live| live.key_id == old) {
                    live.expires_at = earlier(live.expires_at, old_ends_at);
                }
                // Those that have ended go with the next rotation, so that the row stays as small as it is with none.
                self.api_keys
                    .retain(|live| live.expires_at.is_none_or(|end| end > issued_at) || live.key_id == old);
                self.api_keys.push(LiveKey {
                    key_id,
                    issued_at,
                    expires_at,
                });
            }
            E::AgentKeyRevoked { key_id, .. } => self.api_keys.retain(|live| live.key_id != key_id),
        }
        self.position = event.position;
        self
    }
}

/// The first of two ends, of which one may be never.
fn earlier(end: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(end.map_or(other, |end| end.min(other)))
}
