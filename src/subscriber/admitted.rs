//! Who was let in lately, so that a consumer goes with the right to it.
//!
//! A login holds for minutes, and revoking deletes the consumer at once; but a process that has not heard of it yet may make
//! it again, and a suspension or an end of the tenant deletes none. So whoever was let in here is looked after until its
//! login is over: without its consumer it fetches nothing more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use counterfoil_events::backbone::Backbone;
use counterfoil_events::ids::{ApiKeyId, TenantId};
use counterfoil_events::security::SecurityState;
use counterfoil_events::timestamp::Timestamp;

use super::grant::Grant;

/// The logins that this process has granted and that hold still.
#[derive(Default)]
pub(super) struct Admitted(Mutex<BTreeMap<ApiKeyId, Login>>);

#[derive(Clone)]
struct Login {
    tenant: TenantId,
    stream: String,
    consumer: String,
    until: Timestamp,
}

impl Admitted {
    pub(super) fn note(&self, credential: ApiKeyId, tenant: TenantId, grant: &Grant, until: Timestamp) {
        let login = Login {
            tenant,
            stream: grant.stream.clone(),
            consumer: grant.consumer.clone(),
            until,
        };
        self.logins().insert(credential, login);
    }

    /// Deletes the consumers of those who would not be let in any more.
    pub(super) async fn sweep(&self, security: &SecurityState, backbone: &Backbone) {
        let now = security.postgres_time().now();
        self.logins().retain(|_, login| now < login.until);
        let logins = self.logins().clone();
        let over = |(credential, login): &(ApiKeyId, Login)| !goes_on(security, *credential, login.tenant);
        for (credential, login) in logins.into_iter().filter(over) {
            let context = backbone.context();
            let deleted = context.delete_consumer_from_stream(&login.consumer, &login.stream);
            match deleted.await {
                Ok(_) => {
                    tracing::info!(%credential, "the consumer of a subscriber whose right has ended is deleted")
                }
                Err(error) => {
                    tracing::debug!(%credential, %error, "its consumer is gone already, or NATS is away")
                }
            }
        }
    }

    fn logins(&self) -> MutexGuard<'_, BTreeMap<ApiKeyId, Login>> {
        // Whole after every use, even one that panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a tenant's credential opens anything: it was not revoked, and the tenant goes on.
pub(super) fn goes_on(security: &SecurityState, credential: ApiKeyId, tenant: TenantId) -> bool {
    let open = security.tenant(tenant).is_some_and(|entry| !entry.closed);
    open && security.stopped_at(tenant).is_none() && security.subscriber_stands(tenant, credential)
}
