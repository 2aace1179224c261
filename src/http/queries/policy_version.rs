//! One version of a policy with its text, as it was published: what an auditor reads, and an author goes on from.

use std::sync::Arc;

use counterfoil_events::policy::PolicyLayer;
use serde_json::Value;

use super::resource::Row;
use super::{Queries, unavailable};
use crate::http::answer::{self, Answer};
use crate::http::problem::ApiError;
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;

/// Both on their primary keys. The document is the tenant's own, as the version is.
const ONE: &str = "SELECT jsonb_build_object('id', v.key) || (to_jsonb(v) - 'tenant_id' - 'key' - 'source') \
                   || jsonb_build_object('digest', v.source -> 'digest', 'source', d.body) \
                   FROM read.policy_versions v JOIN counterfoil.documents d \
                   ON d.tenant_id = v.tenant_id AND d.digest = decode(v.source ->> 'digest', 'hex') \
                   WHERE v.tenant_id = $1 AND v.key = $2";

pub(super) fn routes(queries: &State<Arc<Queries>>) -> Vec<Route> {
    vec![
        Route::get(
            "/v1/tenants/{tenant}/policies/{layer}/versions/{version}",
            "A version with its text",
        )
        .tag("policies")
        .permission(Permission::PoliciesRead)
        .answers::<Row>(200, "The version; `source` is its Rego as published")
        .handle(queries, read),
    ]
}

async fn read(queries: Arc<Queries>, request: Request) -> Answer {
    let tenant = request.tenant()?;
    let (layer, version): (PolicyLayer, u32) = (request.param("layer")?, request.number("version")?);
    let mut transaction = queries.begin(&request, tenant, "policy").await?;
    let found: Option<Value> = sqlx::query_scalar(ONE)
        .bind(tenant.0)
        .bind(format!("{layer}|{version}"))
        .fetch_optional(transaction.connection())
        .await
        .map_err(unavailable)?;
    found.map_or_else(
        || Err(ApiError::not_found("policy version", version)),
        |row| answer::ok(&Row(row)),
    )
}
