//! An agent's spec card: the document that says what an agent is, and which of it stands in the event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AgentError, AgentEvent, RiskTier};
use crate::bounded::Bounded;
use crate::document::{Document, DocumentRef};
use crate::text::{ModelName, Name, Owner, Purpose, ToolScope};

/// Most models that an agent may use.
pub const MAX_MODELS: usize = 64;

/// Most tool scopes that an agent may have.
pub const MAX_TOOL_SCOPES: usize = 128;

/// What an agent is, in full. It is kept as a document: its own JSON, in the order of these fields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecCard {
    /// What people call it.
    pub name: Name,
    /// The team or role that answers for it, never a person.
    pub owner: Owner,
    /// What it is for.
    pub purpose: Purpose,
    /// The models that it may use; at least one, each once.
    pub models: Bounded<ModelName, MAX_MODELS>,
    /// What its tools may be used for; each once.
    #[serde(default)]
    pub tool_scopes: Bounded<ToolScope, MAX_TOOL_SCOPES>,
    /// How much harm it could do.
    pub risk_tier: RiskTier,
}

impl SpecCard {
    /// The document to append along with the event of this card.
    ///
    /// # Errors
    /// Never for a card within its fields' limits, which together are far below a document's.
    pub fn document(&self) -> Result<Document, AgentError> {
        let body = serde_json::to_string(self).map_err(|_| AgentError::CardUnwritable)?;
        Document::new(body).map_err(|_| AgentError::CardUnwritable)
    }

    pub(super) fn registered(self) -> Result<AgentEvent, AgentError> {
        let spec = self.checked()?;
        let Self {
            name,
            models,
            tool_scopes,
            risk_tier,
            ..
        } = self;
        Ok(AgentEvent::AgentRegistered {
            name,
            spec,
            models,
            tool_scopes,
            risk_tier,
        })
    }

    pub(super) fn changed(self, old: DocumentRef) -> Result<AgentEvent, AgentError> {
        let spec = self.checked()?;
        if spec == old {
            return Err(AgentError::Unchanged);
        }
        let Self {
            name,
            models,
            tool_scopes,
            risk_tier,
            ..
        } = self;
        Ok(AgentEvent::AgentChanged {
            name,
            spec,
            models,
            tool_scopes,
            risk_tier,
        })
    }

    fn checked(&self) -> Result<DocumentRef, AgentError> {
        if self.models.is_empty() {
            return Err(AgentError::NoModels);
        }
        if has_twins(&self.models) {
            return Err(AgentError::ModelTwice);
        }
        if has_twins(&self.tool_scopes) {
            return Err(AgentError::ToolScopeTwice);
        }
        Ok(self.document()?.reference())
    }
}

fn has_twins<T: Ord>(items: &[T]) -> bool {
    let distinct: std::collections::BTreeSet<_> = items.iter().collect();
    distinct.len() < items.len()
}
