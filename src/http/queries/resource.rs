//! Lists and items, as data: one entry per resource, one handler for all of them.

use std::sync::Arc;

use counterfoil_events::ids::TenantId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Queries, unavailable};
use crate::http::answer::{self, Answer, Listing};
use crate::http::body::NoBody;
use crate::http::problem::ApiError;
use crate::http::query::{Paging, Query, page};
use crate::http::request::Request;
use crate::http::route::{Route, State};
use crate::identity::Permission;

/// One kind of thing that can be read.
#[derive(Clone, Copy)]
struct Resource {
    /// The projection that holds it.
    projection: &'static str,
    /// Where the list is.
    list_path: &'static str,
    /// Where one is, and the path parameter that names it.
    item: Option<(&'static str, &'static str)>,
    /// For people.
    what: &'static str,
    /// In the API description.
    tag: &'static str,
    /// What its list and its items ask for.
    permissions: [Permission; 2],
    /// Whether it stands in the platform's log instead of the tenant's in the path.
    platform: bool,
    /// Rows as JSON with their key, after `$2`, at most `$3`, of tenant `$1`; by key, on the primary key.
    list: &'static str,
    /// The row with key `$2` of tenant `$1` as JSON; on the primary key.
    one: &'static str,
}

/// A list's statement over a view of the read models.
macro_rules! list {
    ($view:literal) => {
        concat!(
            "SELECT r.key, jsonb_build_object('id', r.key) || (to_jsonb(r) - 'tenant_id' - 'key') FROM read.",
            $view,
            " r WHERE r.tenant_id = $1 AND r.key > $2 ORDER BY r.key LIMIT $3"
        )
    };
}

/// The statement for one row of it.
macro_rules! one {
    ($view:literal) => {
        concat!(
            "SELECT jsonb_build_object('id', r.key) || (to_jsonb(r) - 'tenant_id' - 'key') FROM read.",
            $view,
            " r WHERE r.tenant_id = $1 AND r.key = $2"
        )
    };
}

/// An agent is shown with its spec card, which stands in the log as a document: who answers for it, and what it is for.
/// Both on their primary keys.
const AGENT_WITH_CARD: &str = "SELECT jsonb_build_object('id', r.key) || (to_jsonb(r) - 'tenant_id' - 'key') \
                               || jsonb_build_object('card', d.body::jsonb) \
                               FROM read.agents r LEFT JOIN counterfoil.documents d \
                               ON d.tenant_id = r.tenant_id AND d.digest = decode(r.spec ->> 'digest', 'hex') \
                               WHERE r.tenant_id = $1 AND r.key = $2";

macro_rules! resource {
    ($projection:literal, $view:literal, $tag:literal, $permissions:expr, $what:literal, platform, $list:literal, $item:literal, $param:literal) => {
        Resource {
            projection: $projection,
            list_path: $list,
            item: Some(($item, $param)),
            what: $what,
            tag: $tag,
            permissions: $permissions,
            platform: true,
            list: list!($view),
            one: one!($view),
        }
    };
    ($projection:literal, $view:literal, $tag:literal, $permissions:expr, $what:literal, $list:literal, $item:literal, $param:literal) => {
        Resource {
            projection: $projection,
            list_path: $list,
            item: Some(($item, $param)),
            what: $what,
            tag: $tag,
            permissions: $permissions,
            platform: false,
            list: list!($view),
            one: one!($view),
        }
    };
    ($projection:literal, $view:literal, $tag:literal, $permissions:expr, $what:literal, $list:literal) => {
        Resource {
            projection: $projection,
            list_path: $list,
            item: None,
            what: $what,
            tag: $tag,
            permissions: $permissions,
            platform: false,
            list: list!($view),
            one: one!($view),
        }
    };
}

const RESOURCES: &[Resource] = &[
    resource!(
        "organisation",
        "organisations",
        "organisations",
        [Permission::OrganisationsList, Permission::OrganisationsRead],
        "organisations",
        platform,
        "/v1/organisations",
        "/v1/organisations/{organisation}",
        "organisation"
    ),
    resource!(
        "tenant",
        "tenants",
        "tenants",
        [Permission::TenantsList, Permission::TenantsRead],
        "tenants",
        platform,
        "/v1/tenants",
        "/v1/tenants/{tenant}",
        "tenant"
    ),
    Resource {
        one: AGENT_WITH_CARD,
        ..resource!(
            "agent",
            "agents",
            "agents",
            [Permission::AgentsRead; 2],
            "agents",
            "/v1/tenants/{tenant}/agents",
            "/v1/tenants/{tenant}/agents/{agent}",
            "agent"
        )
    },
    resource!(
        "policy",
        "policies",
        "policies",
        [Permission::PoliciesRead; 2],
        "policies, with their active versions",
        "/v1/tenants/{tenant}/policies",
        "/v1/tenants/{tenant}/policies/{layer}",
        "layer"
    ),
    resource!(
        "policy",
        "policy_versions",
        "policies",
        [Permission::PoliciesRead; 2],
        "versions of all policies",
        "/v1/tenants/{tenant}/policy-versions"
    ),
    resource!(
        "completion",
        "completions",
        "completions",
        [Permission::CompletionsRead; 2],
        "completions: who, which model, how they ended, what they cost",
        "/v1/tenants/{tenant}/completions",
        "/v1/tenants/{tenant}/completions/{completion}",
        "completion"
    ),
    resource!(
        "completion",
        "usage",
        "completions",
        [Permission::CompletionsRead; 2],
        "usage by agent, model and day",
        "/v1/tenants/{tenant}/usage"
    ),
    resource!(
        "kri",
        "kris",
        "kris",
        [Permission::KrisRead; 2],
        "KRIs with their latest values",
        "/v1/tenants/{tenant}/kris",
        "/v1/tenants/{tenant}/kris/{kri}",
        "kri"
    ),
    resource!(
        "kri",
        "kri_measurements",
        "kris",
        [Permission::KrisRead; 2],
        "measurements: the history of all KRIs",
        "/v1/tenants/{tenant}/kri-measurements"
    ),
    resource!(
        "kri",
        "kri_sources",
        "kris",
        [Permission::KrisRead; 2],
        "sources",
        "/v1/tenants/{tenant}/kri-sources",
        "/v1/tenants/{tenant}/kri-sources/{source}",
        "source"
    ),
    resource!(
        "kri",
        "kri_runs",
        "kris",
        [Permission::KrisRead; 2],
        "runs",
        "/v1/tenants/{tenant}/kri-runs",
        "/v1/tenants/{tenant}/kri-runs/{run}",
        "run"
    ),
];

/// The statements of all lists and their items, for a test that plans each against the schema.
pub fn list_statements() -> impl Iterator<Item = &'static str> {
    RESOURCES
        .iter()
        .flat_map(|resource| [resource.list, resource.one])
}

/// A row of a read model: its `id` and its columns.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub(super) struct Row(pub(super) Value);

pub(super) fn routes(queries: &State<Arc<Queries>>) -> Vec<Route> {
    let lists = RESOURCES.iter().map(|resource| {
        let resource = *resource;
        Route::get(resource.list_path, resource.what)
            .tag(resource.tag)
            .permission(resource.permissions[0])
            .answers::<Listing<Row>>(200, "A page, in the order of ids")
            .handle(queries, move |queries, request| list(queries, request, resource))
    });
    let items = RESOURCES.iter().filter_map(|resource| {
        let (resource, (path, param)) = (*resource, resource.item?);
        let route = Route::get(path, resource.what)
            .tag(resource.tag)
            .permission(resource.permissions[1])
            .answers::<Row>(200, "The one named")
            .handle(queries, move |queries, request| {
                item(queries, request, resource, param)
            });
        Some(route)
    });
    lists.chain(items).collect()
}

fn tenant_of<Q>(request: &Request<NoBody, Q>, resource: &Resource) -> Result<TenantId, ApiError> {
    if resource.platform {
        Ok(TenantId::PLATFORM)
    } else {
        request.tenant()
    }
}

async fn list(queries: Arc<Queries>, request: Request<NoBody, Query<Paging>>, resource: Resource) -> Answer {
    let tenant = tenant_of(&request, &resource)?;
    let Query(paging) = &request.query;
    let (limit, after) = (paging.limit, paging.after::<String>()?.unwrap_or_default());
    let mut transaction = queries.begin(&request, tenant, resource.projection).await?;
    let rows: Vec<(String, Value)> = sqlx::query_as(resource.list)
        .bind(tenant.0)
        .bind(after)
        .bind(limit.and_one_more())
        .fetch_all(transaction.connection())
        .await
        .map_err(unavailable)?;
    if rows.is_empty() && tenant != TenantId::PLATFORM {
        drop(transaction);
        queries.exists(tenant).await?;
    }
    let listing = page(rows, limit, |(key, _)| key.clone())?;
    let items = listing.items.into_iter().map(|(_, row)| Row(row)).collect();
    answer::ok(&Listing {
        items,
        next: listing.next,
    })
}

async fn item(queries: Arc<Queries>, request: Request, resource: Resource, param: &'static str) -> Answer {
    let tenant = tenant_of(&request, &resource)?;
    let id: String = request.param(param)?;
    let mut transaction = queries.begin(&request, tenant, resource.projection).await?;
    let row: Option<Value> = sqlx::query_scalar(resource.one)
        .bind(tenant.0)
        .bind(&id)
        .fetch_optional(transaction.connection())
        .await
        .map_err(unavailable)?;
    row.map_or_else(|| Err(ApiError::not_found(param, id)), |row| answer::ok(&row))
}
