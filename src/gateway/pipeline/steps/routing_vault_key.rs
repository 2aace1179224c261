//! routing.vault_key: the provider's key, where the configuration names a secret instead of a key. It is made ready here and
//! opened when the authorisation that names its version is durable; 503 when it cannot be.

use counterfoil_events::ids::TenantId;
use counterfoil_events::secret::SecretPurpose;
use counterfoil_events::text::Code;
use futures::future::{BoxFuture, FutureExt as _};

use crate::gateway::pipeline::{Class, Context, Phase, Run, Step, Verdict};

/// Names the step.
pub const ID: Code = Code::literal("routing.vault_key");

/// As registered.
#[must_use]
pub fn step() -> Step {
    Step {
        id: ID,
        version: 1,
        class: Class::Closed,
        phase: Phase::Request,
        run: Run::Waits(run),
    }
}

fn run(context: &mut Context) -> BoxFuture<'_, Verdict> {
    async move {
        let Some(model) = context.model.clone() else {
            return Verdict::missing("model");
        };
        let Some(secret) = model.provider.secret() else {
            return Verdict::Pass;
        };
        let Some(secrets) = &context.services.secrets else {
            return Verdict::Unavailable(
                "the provider's key is in a vault that is not configured".to_owned(),
            );
        };
        // Providers are the platform's, so their keys are, too.
        match secrets
            .ready(TenantId::PLATFORM, secret, SecretPurpose::ProviderKey)
            .await
        {
            Ok(ready) => {
                context.provider_key = Some(ready);
                Verdict::Pass
            }
            Err(error) => Verdict::Unavailable(error.to_string()),
        }
    }
    .boxed()
}
