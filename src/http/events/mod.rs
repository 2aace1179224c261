//! A tenant's log over HTTP: `GET /v1/tenants/{tenant}/events`, as Server-Sent Events, as a WebSocket, or in pages.
//!
//! One route, one selection (`after`, `types`, `aggregate`), one document per event, from which it can be verified
//! without us; `docs/http-api.md` specifies them. Who may subscribe is decided here, and again every second for as
//! long as a stream is open (`session`); what flows comes from the process's one fan-out (`Subscriptions`).

mod page;
mod selection;
mod session;
mod socket;
mod sse;

use counterfoil_consumers::subscriptions::{SubscribeError, Subscription, Subscriptions, Wish, read};
use counterfoil_events::ids::{Position, TenantId};
use counterfoil_events::security::SecurityState;
use utoipa::ToSchema;
use warp::http::header::ACCEPT;

use super::answer::Answer;
use super::auth::Principal;
use super::body::NoBody;
use super::problem::{self, ApiError};
use super::query::Query;
use super::request::Request;
use super::route::{Route, State};
use crate::identity::Permission;
use selection::{Selection, SelectionQuery};
use session::Session;

/// What the routes of a log stand on.
#[derive(Clone)]
pub struct Events {
    /// The process's fan-out.
    pub subscriptions: Subscriptions,
    /// Which tenants are suspended.
    pub security: SecurityState,
}

type EventsRequest = Request<NoBody, Query<SelectionQuery>>;

/// One event of a log, with all that verifies it.
#[derive(Debug, serde::Serialize, ToSchema)]
struct EventDocument {
    /// Where it stands; the envelope says so, too.
    position: u64,
    /// Its type; the envelope says so, too.
    #[serde(rename = "type")]
    event_type: String,
    /// The exact text that was hashed and signed: one JSON document.
    envelope: String,
    /// BLAKE3 of the envelope's bytes (docs/log-format.md), 64 hexadecimal digits.
    hash: String,
    /// The signing key, 16 hexadecimal digits.
    key_id: String,
    /// Ed25519 over the hash, 128 hexadecimal digits.
    signature: String,
}

/// A page of a log.
#[derive(Debug, serde::Serialize, ToSchema)]
struct EventPage {
    /// At most `limit` events, in the order of positions.
    items: Vec<EventDocument>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    next: Option<String>,
}

/// The routes of this file.
#[must_use]
pub fn routes(events: &State<Events>) -> Vec<Route> {
    vec![
        Route::get(
            "/v1/tenants/{tenant}/events",
            "A tenant's log: a page of it, or a stream of what is in it and what follows",
        )
        .tag("events")
        .permission(Permission::EventsRead)
        .answers::<EventPage>(200, "A page, in the order of positions")
        .answers_as(
            200,
            "With `Accept: text/event-stream`: a stream",
            "text/event-stream",
        )
        .answers_as(101, "With `Upgrade: websocket`: the same as messages", "")
        .handle(events, serve),
    ]
}

async fn serve(events: Events, mut request: EventsRequest) -> Answer {
    let tenant = request.tenant()?;
    let selection = Selection::of(&request.query.0, &request.headers)?;
    let head = read::head(events.subscriptions.database(), tenant)
        .await
        .map_err(unavailable)?
        .ok_or_else(|| ApiError::not_found("tenant", tenant))?;
    let after = selection.after(head)?;
    let upgrade = request.upgrade.take();
    if upgrade.is_none() && !wants_event_stream(&request) {
        return page::answer(&events, tenant, (after, head), &selection).await;
    }
    selection.refuse_paging()?;
    let subscription = events.subscribe(&request, tenant, (after, head), selection)?;
    let session = Session::new(
        subscription,
        request.admission.clone(),
        events.security.clone(),
        request.lifecycle.draining().clone(),
        tenant,
    );
    Ok(match upgrade {
        Some(upgrade) => upgrade.answer(&request.lifecycle, |socket, _| socket::serve(socket, session)),
        None => sse::answer(session),
    })
}

fn wants_event_stream(request: &EventsRequest) -> bool {
    let accepted = request.headers.get_all(ACCEPT);
    let ranges = accepted.iter().filter_map(|value| value.to_str().ok());
    ranges
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

impl Events {
    fn subscribe(
        &self,
        request: &EventsRequest,
        tenant: TenantId,
        (after, head): (Position, Position),
        selection: Selection,
    ) -> Result<Subscription, ApiError> {
        if session::is_suspended(&self.security, tenant) {
            return Err(problem::CONFLICT
                .detail(format!(
                    "tenant {tenant} is suspended: its log can be read in pages, not followed"
                ))
                .with("code", "tenant_suspended"));
        }
        let wish = Wish {
            tenant,
            principal: name_of(&request.context.principal),
            after,
            head,
            choice: selection.choice,
        };
        self.subscriptions.subscribe(wish).map_err(refused)
    }
}

/// Whose streams are counted together.
fn name_of(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "anonymous".to_owned(),
        Principal::Bootstrap => "bootstrap".to_owned(),
        Principal::Agent(agent) => format!("agent {}", agent.agent_id),
        Principal::User(user) => format!("user {}", user.user),
    }
}

fn refused(error: SubscribeError) -> ApiError {
    let detail = error.to_string();
    match error {
        SubscribeError::TenantFull(_) | SubscribeError::PrincipalFull(_) => {
            problem::TOO_MANY_STREAMS.detail(detail)
        }
        SubscribeError::ProcessFull(_) => problem::UNAVAILABLE
            .detail(detail)
            .with("code", "too_many_streams"),
        SubscribeError::Stopping => problem::UNAVAILABLE.detail(detail).with("code", "draining"),
    }
    .retry_after(RETRY_AFTER)
}

/// Streams end rarely: asking at once again would only be refused again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

fn unavailable(error: sqlx::Error) -> ApiError {
    problem::UNAVAILABLE
        .detail("the log cannot be read at the moment")
        .because(error)
}
