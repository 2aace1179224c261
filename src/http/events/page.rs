//! A log in pages, for whoever asks for neither kind of stream.

use counterfoil_consumers::subscriptions::read;
use counterfoil_events::ids::{Position, TenantId};
use serde_json::value::RawValue;

use super::selection::Selection;
use super::{Events, unavailable};
use crate::http::answer::{self, Answer, Listing};
use crate::http::problem::ApiError;
use crate::http::query::Cursor;

/// Stretches that are looked through for one page. A page of a rare selection may have fewer items than asked for,
/// even none, and still a `next`.
const STRETCHES: usize = 10;

pub(super) async fn answer(
    events: &Events,
    tenant: TenantId,
    (after, head): (Position, Position),
    selection: &Selection,
) -> Answer {
    let (mut items, mut through) = (Vec::new(), after);
    for _ in 0..STRETCHES {
        let left = selection.limit.get() - items.len();
        if through >= head || left == 0 {
            break;
        }
        let database = events.subscriptions.database();
        let stretch = read::stretch(database, tenant, (through, head), &selection.choice, left)
            .await
            .map_err(unavailable)?;
        through = stretch.through;
        for item in stretch.items {
            items.push(RawValue::from_string(item.json().to_owned()).map_err(ApiError::internal)?);
        }
    }
    let next = (through < head).then(|| Cursor(through).encode()).transpose()?;
    answer::ok(&Listing { items, next })
}
