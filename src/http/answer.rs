//! Ways to answer from a handler. A response is warp's own; these helpers set what every answer of its
//! kind needs.

use serde::Serialize;
use warp::http::header::{CONTENT_TYPE, LOCATION};
use warp::http::{HeaderValue, StatusCode};

use super::problem::ApiError;

/// What a handler answers with.
pub type Response = warp::reply::Response;

/// What a handler returns.
pub type Answer = Result<Response, ApiError>;

/// A JSON document.
///
/// # Errors
/// A value that cannot be written as JSON (a map with keys that are not strings): a fault of ours.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(bytes_of(status, "application/json", bytes))
}

/// 200 with a JSON document.
///
/// # Errors
/// As [`json`].
pub fn ok(value: &impl Serialize) -> Answer {
    json(StatusCode::OK, value)
}

/// 201 with a JSON document, and `Location` where the new thing has an address of its own.
///
/// # Errors
/// As [`json`].
pub fn created(location: Option<&str>, value: &impl Serialize) -> Answer {
    let mut response = json(StatusCode::CREATED, value)?;
    if let Some(location) = location {
        let location = HeaderValue::from_str(location).map_err(ApiError::internal)?;
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// 204.
#[must_use]
pub fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Text or bytes of a given content type.
#[must_use]
pub fn bytes_of(status: StatusCode, content_type: &'static str, bytes: impl Into<bytes::Bytes>) -> Response {
    let mut response = Response::new(bytes.into().into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// One page of a list: `{"items": […], "next": cursor or null}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Listing<T> {
    /// At most `limit` items.
    pub items: Vec<T>,
    /// Hand this back as `cursor` for the next page; null on the last one.
    pub next: Option<String>,
}
