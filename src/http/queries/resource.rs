//! Lists and items, as data: one entry per resource, one handler for all of them.

use std::sync::Arc;

use counterfoil_events::ids::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{Queries, unavailable};
use crate::http::answer::{self, Answer, Listing};
use crate::http::body::NoBody;
use crate::http::problem::ApiError;
use crate::http::query::{Cursor, Limit, Query, page};
use crate::http::request::Request;
use crate::http::route::{Route, State};

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
    /// Whether it stands in the platform's log instead of the tenant's in the path.
    platform: bool,
    /// Rows as JSON with their key, after `$2`, at most `$3`, of tenant `$1`; by key, on the primary key.
    list: &'static str,
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

macro_rules! resource {
    ($projection:literal, $view:literal, $tag:literal, $what:literal, platform, $list:literal, $item:literal, $param:literal) => {
        Resource {
            projection: $projection,
            list_path: $list,
            item: Some(($item, $param)),
            what: $what,
            tag: $tag,
            platform: true,
            list: list!($view),
        }
    };
    ($projection:literal, $view:literal, $tag:literal, $what:literal, $list:literal, $item:literal, $param:literal) => {
        Resource {
            projection: $projection,
            list_path: $list,
            item: Some(($item, $param)),
            what: $what,
            tag: $tag,
            platform: false,
            list: list!($view),
        }
    };
    ($projection:literal, $view:literal, $tag:literal, $what:literal, $list:literal) => {
        Resource {
            projection: $projection,
            list_path: $list,
            item: None,
            what: $what,
            tag: $tag,
            platform: false,
            list: list!($view),
        }
    };
}

const RESOURCES: &[Resource] = &[
    resource!(
        "organisation",
        "organisations",
        "organisations",
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
        "tenants",
        platform,
        "/v1/tenants",
        "/v1/tenants/{tenant}",
        "tenant"
    ),
    resource!(
        "agent",
        "agents",
        "agents",
        "agents",
        "/v1/tenants/{tenant}/agents",
        "/v1/tenants/{tenant}/agents/{agent}",
        "agent"
    ),
    resource!(
        "policy",
        "policies",
        "policies",
        "policies, with their active versions",
        "/v1/tenants/{tenant}/policies",
        "/v1/tenants/{tenant}/policies/{layer}",
        "layer"
    ),
    resource!(
        "policy",
        "policy_versions",
        "policies",
        "versions of all policies",
        "/v1/tenants/{tenant}/policy-versions"
    ),
    resource!(
        "completion",
        "completions",
        "completions",
        "completions: who, which model, how they ended, what they cost",
        "/v1/tenants/{tenant}/completions",
        "/v1/tenants/{tenant}/completions/{completion}",
        "completion"
    ),
    resource!(
        "completion",
        "usage",
        "completions",
        "usage by agent, model and day",
        "/v1/tenants/{tenant}/usage"
    ),
    resource!(
        "kri",
        "kris",
        "kris",
        "KRIs with their latest values",
        "/v1/tenants/{tenant}/kris",
        "/v1/tenants/{tenant}/kris/{kri}",
        "kri"
    ),
    resource!(
        "kri",
        "kri_measurements",
        "kris",
        "measurements: the history of all KRIs",
        "/v1/tenants/{tenant}/kri-measurements"
    ),
    resource!(
        "kri",
        "kri_sources",
        "kris",
        "sources",
        "/v1/tenants/{tenant}/kri-sources",
        "/v1/tenants/{tenant}/kri-sources/{source}",
        "source"
    ),
    resource!(
        "kri",
        "kri_runs",
        "kris",
        "runs",
        "/v1/tenants/{tenant}/kri-runs",
        "/v1/tenants/{tenant}/kri-runs/{run}",
        "run"
    ),
];

/// The statements of all lists, for a test that plans each against the schema.
pub fn list_statements() -> impl Iterator<Item = &'static str> {
    RESOURCES.iter().map(|resource| resource.list)
}

/// Where a list goes on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
struct Paging {
    /// How many at most, 1 to 500.
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<String>>,
}

/// A row of a read model: its `id` and its columns.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
struct Row(Value);

pub(super) fn routes(queries: &State<Arc<Queries>>) -> Vec<Route> {
    let lists = RESOURCES.iter().map(|resource| {
        let resource = *resource;
        Route::get(resource.list_path, resource.what)
            .tag(resource.tag)
            .answers::<Listing<Row>>(200, "A page, in the order of ids")
            .handle(queries, move |queries, request| list(queries, request, resource))
    });
    let items = RESOURCES.iter().filter_map(|resource| {
        let (resource, (path, param)) = (*resource, resource.item?);
        let route = Route::get(path, resource.what)
            .tag(resource.tag)
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

async fn read(
    queries: &Queries,
    request: &Request<NoBody, impl Sized>,
    resource: &Resource,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, Value)>, ApiError> {
    let tenant = tenant_of(request, resource)?;
    let mut transaction = queries.begin(request, tenant, resource.projection).await?;
    sqlx::query_as(resource.list)
        .bind(tenant.0)
        .bind(after)
        .bind(limit)
        .fetch_all(transaction.connection())
        .await
        .map_err(unavailable)
}

async fn list(queries: Arc<Queries>, request: Request<NoBody, Query<Paging>>, resource: Resource) -> Answer {
    let Query(Paging { limit, cursor }) = &request.query;
    let after = cursor.as_ref().map_or("", |cursor| cursor.0.as_str());
    let rows = read(&queries, &request, &resource, after, limit.and_one_more()).await?;
    let listing = page(rows, *limit, |(key, _)| key.clone())?;
    let items = listing.items.into_iter().map(|(_, row)| Row(row)).collect();
    answer::ok(&Listing {
        items,
        next: listing.next,
    })
}

async fn item(queries: Arc<Queries>, request: Request, resource: Resource, param: &'static str) -> Answer {
    let id: String = request.param(param)?;
    // The key itself is the first one after its own prefix: the list's statement serves items too.
    let before = before(&id);
    let rows = read(&queries, &request, &resource, &before, 2).await?;
    match rows.into_iter().find(|(key, _)| *key == id) {
        Some((_, row)) => answer::ok(&row),
        None => Err(ApiError::not_found(param, id)),
    }
}

/// A text directly before `id` in byte order (the database's collation is `C`): at most one key lies between.
fn before(id: &str) -> String {
    let mut text = id.to_owned();
    let last = text.pop().unwrap_or('\u{1}');
    match char::from_u32(u32::from(last).saturating_sub(1)).filter(|_| u32::from(last) > 1) {
        Some(previous) => {
            text.push(previous);
            text.push('\u{10ffff}');
            text
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_before_an_id_sorts_before_it_and_after_its_smaller_neighbours() {
        for id in [
            "organisation",
            "01933b5e-0000-7000-8000-000000000001",
            "a",
            "failed_settlement_rate",
        ] {
            let before = before(id);
            assert!(before.as_str() < id, "{before:?} < {id:?}");
        }
        assert!(before("ab").as_str() > "aa");
    }
}
