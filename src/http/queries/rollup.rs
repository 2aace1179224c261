//! A carrier's rollups: its tenants' KRIs seen together, computed at an explicit instant from rows that stand under
//! the carrier's home tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use counterfoil_events::ids::{OrganisationId, Position, TenantId};
use counterfoil_events::timestamp::Timestamp;
use counterfoil_projections::rollup::summary::{Rollup, position_vector, rollups};
use counterfoil_projections::rollup::{CarriedRow, MemberRow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::{Queries, unavailable};
use crate::http::answer::{self, Answer};
use crate::http::body::NoBody;
use crate::http::moment::Moment;
use crate::http::problem::ApiError;
use crate::http::query::Query;
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;

/// Bounded by the tenants that a carrier may carry, times their KRIs.
const CARRIED: &str = "SELECT to_jsonb(r) - 'tenant_id' - 'key' FROM read.rollup_carried r WHERE r.tenant_id = $1 ORDER BY r.key";
const MEMBERS: &str = "SELECT to_jsonb(r) - 'tenant_id' - 'key' FROM read.rollup_members r WHERE r.tenant_id = $1 ORDER BY r.key";
const HOME: &str = "SELECT home_tenant FROM read.organisations WHERE tenant_id = $1 AND key = $2";

/// When the figures are to hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
struct At {
    /// As `2026-11-20T12:00:00.000000Z`; now, if not given.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Moment>,
}

/// A carrier's rollups at an instant.
#[derive(Serialize, ToSchema)]
struct Rollups {
    /// The instant.
    #[schema(value_type = String)]
    at: Timestamp,
    /// Up to which position of which log they stand.
    #[schema(value_type = Object)]
    positions: BTreeMap<TenantId, Position>,
    /// The tenants that the carrier carries.
    #[schema(value_type = Vec<Object>)]
    carried: Vec<CarriedRow>,
    /// One per KRI and unit.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Rollup>,
}

pub(super) fn routes(queries: &State<Arc<Queries>>) -> Vec<Route> {
    vec![
        Route::get(
            "/v1/carriers/{carrier}/rollups",
            "A carrier's tenants, KRI by KRI",
        )
        .tag("carriers")
        .permission(Permission::RollupsRead)
        .answers::<Rollups>(
            200,
            "The figures, with the events and positions that they stand on",
        )
        .handle(queries, read),
    ]
}

async fn read(queries: Arc<Queries>, request: Request<NoBody, Query<At>>) -> Answer {
    let carrier: OrganisationId = request.param("carrier")?;
    let at = request.query.0.at.map_or_else(Timestamp::now, |moment| moment.0);
    let home = home_of(&queries, carrier).await?;
    let known = carried_by(&queries, home).await?;
    let mut transaction = queries.begin_over(&request, home, "rollup", &known).await?;
    let carried: Vec<CarriedRow> = rows(transaction.connection(), CARRIED, home).await?;
    let members: Vec<MemberRow> = rows(transaction.connection(), MEMBERS, home).await?;
    let positions = position_vector(&carried, &members);
    let items = rollups(&carried, &members, at);
    answer::ok(&Rollups {
        at,
        positions,
        carried,
        items,
    })
}

/// The tenants on whose logs its rollups stand.
async fn carried_by(queries: &Queries, home: TenantId) -> Result<BTreeSet<TenantId>, ApiError> {
    let mut transaction = queries.database.tenant(home).await.map_err(unavailable)?;
    let carried: Vec<CarriedRow> = rows(transaction.connection(), CARRIED, home).await?;
    Ok(carried.into_iter().map(|row| row.tenant).collect())
}

async fn home_of(queries: &Queries, carrier: OrganisationId) -> Result<TenantId, ApiError> {
    let mut transaction = queries
        .database
        .tenant(TenantId::PLATFORM)
        .await
        .map_err(unavailable)?;
    let home: Option<uuid::Uuid> = sqlx::query_scalar(HOME)
        .bind(TenantId::PLATFORM.0)
        .bind(carrier.to_string())
        .fetch_optional(transaction.connection())
        .await
        .map_err(unavailable)?;
    home.map(TenantId)
        .ok_or_else(|| ApiError::not_found("carrier", carrier))
}

async fn rows<T: DeserializeOwned>(
    connection: &mut PgConnection,
    statement: &'static str,
    home: TenantId,
) -> Result<Vec<T>, ApiError> {
    let rows: Vec<Value> = sqlx::query_scalar(statement)
        .bind(home.0)
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    rows.into_iter()
        .map(|row| serde_json::from_value(row).map_err(ApiError::internal))
        .collect()
}
