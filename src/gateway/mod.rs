//! The gateway: governed completions on OpenAI's wire (`docs/completions.md`).
//!
//! A call's way: `handler` takes it, `call` runs the registered steps (`pipeline`), makes its authorisation durable
//! (`log`), has a provider answer (`upstream`), settles what was used (`prices`) and only then lets the answer be
//! complete. Nothing on this way asks a database but the log's two appends.

pub mod call;
pub mod catalogue;
pub mod count;
pub mod directory;
pub mod ending;
pub mod forward;
pub mod handler;
pub mod kept;
pub mod log;
pub mod pipeline;
pub mod prices;
pub mod recorder;
pub mod reply;
pub mod security;
pub mod streaming;
pub mod tokens;
mod told;
pub mod upstream;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::NaiveTime;
use counterfoil_events::timestamp::Clock;

use crate::config::CompletionRates;
use crate::limits::{KeptAnswers, RequestLimiter};
use crate::policy::PolicyEngine;
use crate::vault::secrets::Secrets;
use catalogue::Catalogue;
use directory::{AgentIdentity, KeyDirectory};
use log::CompletionLog;
use wire::models::ModelObject;

/// What the gateway stands on.
pub struct Services {
    /// Who keys belong to.
    pub directory: Arc<dyn KeyDirectory>,
    /// What decides.
    pub policy: Arc<PolicyEngine>,
    /// What records.
    pub log: Arc<dyn CompletionLog>,
    /// Models, providers and prices.
    pub catalogue: Catalogue,
    /// What counts requests.
    pub limiter: Arc<RequestLimiter>,
    /// How many may come.
    pub rates: CompletionRates,
    /// Answers for repeated Idempotency-Keys.
    pub kept: Arc<KeptAnswers>,
    /// Where providers' keys are, if not in the configuration.
    pub secrets: Option<Arc<Secrets>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// The gateway, as its routes hold it.
#[derive(Clone)]
pub struct Gateway(pub Arc<Services>);

impl Gateway {
    /// The models that an agent may use, priced today, by name.
    #[must_use]
    pub fn models_of(&self, identity: &AgentIdentity) -> Vec<ModelObject> {
        let catalogue = &self.0.catalogue;
        let today = self.0.clock.now().as_datetime().date_naive();
        let allowed = catalogue
            .models()
            .filter(|model| identity.models.contains(&model.name));
        let listed = allowed.filter_map(|model| {
            let price = catalogue
                .prices
                .find(model.provider.name(), &model.upstream_model, today)?;
            Some(ModelObject {
                id: model.name.to_string(),
                object: "model",
                created: price
                    .effective_from
                    .and_time(NaiveTime::MIN)
                    .and_utc()
                    .timestamp(),
                owned_by: model.provider.name().to_string(),
            })
        });
        listed.collect()
    }
}
