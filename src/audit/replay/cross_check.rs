//! The second reader: folds aggregates again through postgres-es's repository and cqrs_es's own store, over the view
//! `cqrs_events`, and compares state and count with ours.
//!
//! It reads as `counterfoil_reader`, bound to one tenant by row-level security. Events that were appended since ours
//! were read are left aside; fewer than ours is a difference, since a reader that ends early must not pass for complete.

use counterfoil_events::administration::Administration;
use counterfoil_events::agent::Agent;
use counterfoil_events::completion::Completion;
use counterfoil_events::ids::TenantId;
use counterfoil_events::issuer::Issuer;
use counterfoil_events::keyring::SigningKeys;
use counterfoil_events::kri::aggregates::indicator::Kri;
use counterfoil_events::kri::aggregates::run::KriRun;
use counterfoil_events::kri::aggregates::source::KriSource;
use counterfoil_events::organisation::Organisation;
use counterfoil_events::origin::Origin;
use counterfoil_events::policy::Policy;
use counterfoil_events::schema::{EventSchema, EventSourced};
use counterfoil_events::secret::Secret;
use counterfoil_events::subscriber::Subscribers;
use counterfoil_events::tenant::Tenant;
use counterfoil_events::user::User;
use counterfoil_events::vault_key::VaultKey;
use cqrs_es::EventStore;
use cqrs_es::persist::{EventUpcaster, PersistedEventStore, SerializedEvent};
use futures::FutureExt;
use futures::future::BoxFuture;
use postgres_es::PostgresEventRepository;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::Replayed;

const VIEW: &str = "counterfoil.cqrs_events";
/// Never read: snapshots are ours.
const NO_SNAPSHOTS: &str = "counterfoil.no_snapshots";

/// The second reader of one tenant's log.
pub struct CrossCheck {
    pool: PgPool,
}

/// Where the second reader arrived at something else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The kind of aggregate.
    pub aggregate: String,
    /// Which one.
    pub aggregate_id: String,
    /// How the two differ.
    pub detail: String,
}

/// How many events the second reader found, and the state that as many of them as ours lead to.
struct Second {
    events: u64,
    state: Value,
}

type Fold = for<'a> fn(&'a PgPool, &'a str, u64) -> BoxFuture<'a, Result<Second, String>>;

/// Every kind of aggregate; a test compares the list with the catalogue.
const KINDS: &[(&str, Fold)] = &[
    kind::<Organisation>(),
    kind::<Tenant>(),
    kind::<User>(),
    kind::<Origin>(),
    kind::<Administration>(),
    kind::<Issuer>(),
    kind::<SigningKeys>(),
    kind::<Agent>(),
    kind::<Policy>(),
    kind::<Completion>(),
    kind::<Kri>(),
    kind::<KriSource>(),
    kind::<KriRun>(),
    kind::<Secret>(),
    kind::<VaultKey>(),
    kind::<Subscribers>(),
];

const fn kind<A: EventSourced>() -> (&'static str, Fold) {
    (A::TYPE, |pool, id, ours| fold::<A>(pool, id, ours).boxed())
}

impl CrossCheck {
    /// `reader` is the login of `counterfoil_reader`.
    #[must_use]
    pub fn new(reader: PgConnectOptions, tenant: TenantId) -> Self {
        let bound = reader.options([("counterfoil.tenant_id", tenant.to_string())]);
        Self {
            pool: PgPoolOptions::new().max_connections(2).connect_lazy_with(bound),
        }
    }

    /// Folds an aggregate again, and says where that differs from ours.
    pub async fn check(&self, ours: &Replayed) -> Option<Difference> {
        let detail = self.difference(ours).await?;
        Some(Difference {
            aggregate: ours.aggregate.clone(),
            aggregate_id: ours.aggregate_id.clone(),
            detail,
        })
    }

    async fn difference(&self, ours: &Replayed) -> Option<String> {
        let Some((_, fold)) = KINDS.iter().find(|(name, _)| *name == ours.aggregate) else {
            return Some("the second reader does not know this kind of aggregate".to_owned());
        };
        let theirs = match fold(&self.pool, &ours.aggregate_id, ours.sequence.0).await {
            Ok(theirs) => theirs,
            Err(error) => return Some(error),
        };
        let count = ours.sequence.0;
        if theirs.events < count {
            return Some(format!("postgres-es reads {} events, we {count}", theirs.events));
        }
        (theirs.state != ours.state)
            .then(|| format!("postgres-es arrives at {}, we at {}", theirs.state, ours.state))
    }

    /// Closes its connections.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

async fn fold<A: EventSourced>(pool: &PgPool, id: &str, ours: u64) -> Result<Second, String> {
    let repository = PostgresEventRepository::new(pool.clone()).with_tables(VIEW, NO_SNAPSHOTS);
    let upcasters = A::EVENTS.iter().filter(|schema| !schema.upcasts.is_empty());
    let upcasters = upcasters
        .map(|schema| Box::new(Lift(*schema)) as Box<dyn EventUpcaster>)
        .collect();
    let store = PersistedEventStore::<_, A>::new_event_store(repository).with_upcasters(upcasters);
    let events = store.load_events(id).await.map_err(|error| error.to_string())?;
    let count = events.len() as u64;
    let mut state = A::default();
    for event in events.into_iter().filter(|event| event.sequence as u64 <= ours) {
        state.apply(event.payload);
    }
    let state = serde_json::to_value(&state).map_err(|error| error.to_string())?;
    Ok(Second { events: count, state })
}

/// Our way from old versions, in cqrs_es's shape: it keeps the payload under the event's name.
struct Lift(EventSchema);

impl EventUpcaster for Lift {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        event_type == self.0.event_type && event_version != self.0.version
    }

    fn upcast(&self, mut event: SerializedEvent) -> SerializedEvent {
        let steps = self
            .0
            .upcasts
            .iter()
            .skip_while(|step| step.from != event.event_version);
        let payload = event
            .payload
            .get_mut(self.0.event_type)
            .map(Value::take)
            .unwrap_or_default();
        let lifted = steps.fold(payload, |payload, step| (step.lift)(payload));
        event.payload = Value::Object([(self.0.event_type.to_owned(), lifted)].into_iter().collect());
        event.event_version = self.0.version.to_owned();
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_reader_knows_every_kind_of_the_catalogue() {
        let known: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
        let catalogue: Vec<_> = counterfoil_events::registry::CATALOGUE
            .iter()
            .map(|entry| entry.aggregate)
            .collect();
        assert_eq!(known, catalogue);
    }
}
