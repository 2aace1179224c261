//! Head notes: what an auditor keeps outside, so that a log whose end was cut off is found out.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use counterfoil_events::ids::{EventHash, Position};
use counterfoil_events::timestamp::Timestamp;
use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::{Queries, unavailable};
use crate::http::answer::{self, Answer};
use crate::http::body::NoBody;
use crate::http::problem::ApiError;
use crate::http::query::{Paging, Query, page};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;

/// On the primary key.
const LIST: &str = "SELECT position, hash, noted_at, note FROM counterfoil.head_notes \
                    WHERE tenant_id = $1 AND position > $2 ORDER BY position LIMIT $3";
/// On the primary key.
const LATEST: &str = "SELECT position, hash, noted_at, note FROM counterfoil.head_notes \
                      WHERE tenant_id = $1 ORDER BY position DESC LIMIT 1";

#[derive(FromRow)]
struct Kept {
    position: i64,
    hash: [u8; 32],
    noted_at: DateTime<Utc>,
    note: String,
}

/// A head note.
#[derive(Debug, Serialize, ToSchema)]
struct HeadNote {
    /// Where the log ended.
    #[schema(value_type = i64)]
    position: Position,
    /// The hash of the event there.
    #[schema(value_type = String)]
    hash: EventHash,
    /// When it was signed.
    #[schema(value_type = String)]
    noted_at: Timestamp,
    /// The signed note as it is kept in a file, for `counterfoil audit verify --head-note FILE`.
    note: String,
}

/// One page of head notes.
#[derive(Debug, Serialize, ToSchema)]
struct HeadNotes {
    /// At most `limit` notes.
    items: Vec<HeadNote>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    next: Option<String>,
}

impl From<Kept> for HeadNote {
    fn from(kept: Kept) -> Self {
        Self {
            position: Position::from_i64(kept.position),
            hash: EventHash(kept.hash),
            noted_at: kept.noted_at.into(),
            note: kept.note,
        }
    }
}

pub(super) fn routes(queries: &State<Arc<Queries>>) -> Vec<Route> {
    vec![
        Route::get(
            "/v1/tenants/{tenant}/head-notes",
            "Signed notes of where the log ended",
        )
        .tag("events")
        .permission(Permission::EventsRead)
        .answers::<HeadNotes>(200, "A page, in the order of positions")
        .handle(queries, list),
        Route::get("/v1/tenants/{tenant}/head-notes/latest", "The latest head note")
            .tag("events")
            .permission(Permission::EventsRead)
            .answers::<HeadNote>(200, "A note is made each minute in which the log grew")
            .handle(queries, latest),
    ]
}

async fn list(queries: Arc<Queries>, request: Request<NoBody, Query<Paging>>) -> Answer {
    let tenant = request.tenant()?;
    let Query(paging) = &request.query;
    let (limit, after) = (paging.limit, paging.after::<i64>()?.unwrap_or(0));
    let mut transaction = queries.database.tenant(tenant).await.map_err(unavailable)?;
    let rows: Vec<Kept> = sqlx::query_as(LIST)
        .bind(tenant.0)
        .bind(after)
        .bind(limit.and_one_more())
        .fetch_all(transaction.connection())
        .await
        .map_err(unavailable)?;
    let listing = page(rows, limit, |kept| kept.position)?;
    answer::ok(&HeadNotes {
        items: listing.items.into_iter().map(HeadNote::from).collect(),
        next: listing.next,
    })
}

async fn latest(queries: Arc<Queries>, request: Request) -> Answer {
    let tenant = request.tenant()?;
    let mut transaction = queries.database.tenant(tenant).await.map_err(unavailable)?;
    let kept: Option<Kept> = sqlx::query_as(LATEST)
        .bind(tenant.0)
        .fetch_optional(transaction.connection())
        .await
        .map_err(unavailable)?;
    kept.map_or_else(
        || Err(ApiError::not_found("head note", "latest".to_owned())),
        |kept| answer::ok(&HeadNote::from(kept)),
    )
}
