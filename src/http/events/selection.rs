//! What a request for events selects: from where, and which.

use counterfoil_consumers::subscriptions::Choice;
use counterfoil_events::ids::Position;
use counterfoil_events::registry::{self, CATALOGUE};
use serde::Deserialize;
use utoipa::IntoParams;
use warp::http::HeaderMap;

use crate::http::problem::{self, ApiError};
use crate::http::query::{Cursor, Limit};

/// What a client's EventSource sends when it connects again.
const LAST_EVENT_ID: &str = "last-event-id";

/// The parameters of the route.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SelectionQuery {
    /// Events after this position; 0, the whole log, if not said. `head`: only what is recorded from now on. The
    /// header `Last-Event-ID` takes its place.
    after: Option<String>,
    /// Only events of these types, separated by commas.
    types: Option<String>,
    /// Only events of aggregates of this kind (`agent`), or of one (`agent/<id>`).
    aggregate: Option<String>,
    /// For pages: how many at most, 1 to 500.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
    /// For pages: the `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Position>>,
}

/// From where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// After a position.
    After(Position),
    /// After the last one there is.
    Head,
}

/// What a request selects.
#[derive(Debug)]
pub(super) struct Selection {
    pub from: Begin,
    pub choice: Choice,
    pub limit: Limit,
    paged: bool,
}

impl Selection {
    pub(super) fn of(query: &SelectionQuery, headers: &HeaderMap) -> Result<Self, ApiError> {
        let (aggregate, aggregate_id) = match query.aggregate.as_deref() {
            Some(text) => aggregate_of(text)?,
            None => (None, None),
        };
        let types = query.types.as_deref().map(types_of).transpose()?;
        Ok(Self {
            from: from_of(query, headers)?,
            choice: Choice {
                types: types.unwrap_or_default(),
                aggregate,
                aggregate_id,
            },
            limit: query.limit.unwrap_or_default(),
            paged: query.limit.is_some() || query.cursor.is_some(),
        })
    }

    /// The position to begin behind, in a log that ends at `head`.
    pub(super) fn after(&self, head: Position) -> Result<Position, ApiError> {
        match self.from {
            Begin::Head => Ok(head),
            Begin::After(position) if position <= head => Ok(position),
            Begin::After(_) => Err(bad(
                "after",
                format!("the log ends at position {head}, before the one that was given"),
            )),
        }
    }

    /// Streams are not paged.
    pub(super) fn refuse_paging(&self) -> Result<(), ApiError> {
        match self.paged {
            false => Ok(()),
            true => Err(problem::INVALID_PARAMETER
                .detail("limit and cursor are for pages; a stream takes after, types and aggregate")),
        }
    }
}

fn from_of(query: &SelectionQuery, headers: &HeaderMap) -> Result<Begin, ApiError> {
    if let Some(Cursor(position)) = &query.cursor {
        return match query.after {
            None => Ok(Begin::After(*position)),
            Some(_) => Err(bad("after", "give either after or cursor")),
        };
    }
    if let Some(value) = headers.get(LAST_EVENT_ID) {
        // An empty one is what a client sends that has seen nothing.
        let text = value.to_str().unwrap_or("?").trim();
        if !text.is_empty() {
            return position_of(text).map(Begin::After).ok_or_else(|| {
                bad(
                    "Last-Event-ID",
                    "a position: the id of the last event that was seen",
                )
            });
        }
    }
    match query.after.as_deref() {
        None => Ok(Begin::After(Position::ZERO)),
        Some("head") => Ok(Begin::Head),
        Some(text) => position_of(text)
            .map(Begin::After)
            .ok_or_else(|| bad("after", "a position (0, 1, 2 …) or `head`")),
    }
}

fn position_of(text: &str) -> Option<Position> {
    let digits = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok().map(Position)).flatten()
}

fn types_of(text: &str) -> Result<Vec<String>, ApiError> {
    let known = |name: &&str| {
        let mut events = CATALOGUE.iter().flat_map(|entry| entry.events);
        events.any(|event| event.event_type == *name)
    };
    let mut types: Vec<String> = Vec::new();
    for name in text.split(',') {
        let name = Some(name.trim()).filter(known).ok_or_else(|| {
            bad(
                "types",
                "event types separated by commas; GET /v1/event-schemas lists them",
            )
        })?;
        if !types.iter().any(|wanted| wanted == name) {
            types.push(name.to_owned());
        }
    }
    Ok(types)
}

fn aggregate_of(text: &str) -> Result<(Option<String>, Option<String>), ApiError> {
    let (kind, id) = match text.split_once('/') {
        Some((kind, id)) => (kind, Some(id)),
        None => (text, None),
    };
    if registry::find(kind).is_none() {
        let kinds: Vec<_> = CATALOGUE.iter().map(|entry| entry.aggregate).collect();
        return Err(bad(
            "aggregate",
            format!(
                "a kind of aggregate, or one as `kind/id`; kinds are {}",
                kinds.join(", ")
            ),
        ));
    }
    if id.is_some_and(|id| id.is_empty() || id.len() > 128) {
        return Err(bad("aggregate", "`kind/id` with an id of at most 128 characters"));
    }
    Ok((Some(kind.to_owned()), id.map(str::to_owned)))
}

fn bad(field: &str, message: impl Into<String>) -> ApiError {
    problem::INVALID_PARAMETER
        .detail(format!("{field} cannot be used"))
        .field(field, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn selection(query: &str, last_event_id: Option<&str>) -> Result<Selection, String> {
        let query: SelectionQuery = serde_urlencoded::from_str(query).unwrap();
        let headers = last_event_id.map(|id| {
            (
                warp::http::HeaderName::from_static(LAST_EVENT_ID),
                id.parse().unwrap(),
            )
        });
        Selection::of(&query, &headers.into_iter().collect()).map_err(|error| error.fields()[0].field.clone())
    }

    #[test]
    fn a_client_that_connects_again_goes_on_from_the_last_event_it_saw() {
        let from = |query, id| selection(query, id).map(|selection| selection.from);
        assert_eq!(from("", None), Ok(Begin::After(Position(0))));
        assert_eq!(from("after=7", None), Ok(Begin::After(Position(7))));
        assert_eq!(from("after=head", None), Ok(Begin::Head));
        assert_eq!(from("after=7", Some("12")), Ok(Begin::After(Position(12))));
        assert_eq!(from("after=7", Some("")), Ok(Begin::After(Position(7))));
    }

    #[test]
    fn what_cannot_be_selected_names_its_parameter() {
        for (query, id, field) in [
            ("after=-1", None, "after"),
            ("after=1e3", None, "after"),
            ("after=99999999999999999999", None, "after"),
            ("after=", None, "after"),
            ("after=1&cursor=31", None, "after"),
            ("", Some("x"), "Last-Event-ID"),
            ("types=", None, "types"),
            ("types=AgentRegistered,Nonsense", None, "types"),
            ("aggregate=nonsense", None, "aggregate"),
            ("aggregate=agent/", None, "aggregate"),
        ] {
            assert_eq!(selection(query, id).unwrap_err(), field, "{query} {id:?}");
        }
    }

    #[test]
    fn types_and_aggregates_are_read_and_a_type_twice_is_one() {
        let selection = selection(
            "types=AgentRegistered,%20AgentChanged,AgentRegistered&aggregate=agent/a1",
            None,
        );
        let choice = selection.unwrap().choice;
        assert_eq!(choice.types, ["AgentRegistered", "AgentChanged"]);
        assert_eq!(choice.aggregate.as_deref(), Some("agent"));
        assert_eq!(choice.aggregate_id.as_deref(), Some("a1"));
    }

    #[test]
    fn a_position_beyond_the_end_is_refused() {
        let selection = selection("after=7", None).unwrap();
        assert_eq!(selection.after(Position(7)).unwrap(), Position(7));
        assert!(selection.after(Position(6)).is_err());
    }
}
