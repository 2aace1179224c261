//! Bodies a route can take: `NoBody`, `Json<T>`, `OptionalJson<T>`, `Bytes`.
//!
//! JSON is checked strictly before serde sees it (`json_check`): depth, keys named twice, and U+0000, which
//! no stored event may contain. What serde then refuses is answered with the field, line and column. What it takes is
//! held against the route's description (`shape`).

use bytes::Bytes;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use warp::http::HeaderMap;
use warp::http::header::CONTENT_TYPE;

use super::json_check;
use super::problem::{self, ApiError};
use super::schema::SchemaRef;
use super::shape::{self, Misshapen};

/// Something that can be read from a request's body.
pub trait RequestBody: Sized + Send + 'static {
    /// Content type and schema for the API description; `None` for a route without a body.
    fn describe() -> Option<BodyDescription>;

    /// Reads it.
    ///
    /// # Errors
    /// 400 or 415, naming what does not fit.
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, ApiError>;
}

/// What the API description says of a body.
#[derive(Debug, Clone)]
pub struct BodyDescription {
    /// Its media type.
    pub content_type: &'static str,
    /// Its schema, if it has one.
    pub schema: Option<SchemaRef>,
    /// Whether there has to be one.
    pub required: bool,
}

/// The route takes no body. An empty JSON object counts as none, since many clients send one with every POST; anything
/// in it is refused by name, so that nobody believes it was heeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoBody;

impl RequestBody for NoBody {
    fn describe() -> Option<BodyDescription> {
        None
    }

    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self);
        }
        let refused =
            || problem::INVALID_BODY.detail("this route takes no body; send none, or an empty JSON object");
        require_json(headers).map_err(|_| refused())?;
        let members: serde_json::Map<String, serde_json::Value> = parse_json(bytes)?;
        if members.is_empty() {
            return Ok(Self);
        }
        Err(members.keys().fold(refused(), |error, name| {
            let mut pointer = String::new();
            json_check::push_segment(&mut pointer, name);
            error.field(pointer, "this route has no such field")
        }))
    }
}

/// A JSON document of type `T`. Let `T` refuse unknown fields (`#[serde(deny_unknown_fields)]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + ToSchema + Send + 'static> RequestBody for Json<T> {
    fn describe() -> Option<BodyDescription> {
        Some(BodyDescription {
            content_type: "application/json",
            schema: Some(SchemaRef::of::<T>()),
            required: true,
        })
    }

    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, ApiError> {
        require_json(headers)?;
        json_check::check(bytes)?;
        let shape = shape_of::<T>(bytes)?;
        // Before serde, which would complain of the array's items one by one.
        if let Err(part) = &shape
            && part.expected == shape::AN_OBJECT
        {
            return Err(misshapen(part));
        }
        let value = parse_json(bytes)?;
        shape.map_err(|part| misshapen(&part))?;
        Ok(Json(value))
    }
}

/// A JSON document of which every member has a default, so that no body at all is one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalJson<T>(pub T);

impl<T: Default + DeserializeOwned + ToSchema + Send + 'static> RequestBody for OptionalJson<T> {
    fn describe() -> Option<BodyDescription> {
        Json::<T>::describe().map(|body| BodyDescription {
            required: false,
            ..body
        })
    }

    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        Json::read(headers, bytes).map(|Json(value)| Self(value))
    }
}

/// Only bodies with an array in them can have one where an object belongs.
fn shape_of<T: ToSchema>(bytes: &[u8]) -> Result<Result<(), Misshapen>, ApiError> {
    if !bytes.contains(&b'[') {
        return Ok(Ok(()));
    }
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(ApiError::internal)?;
    Ok(shape::check(&SchemaRef::of::<T>(), &value))
}

fn misshapen(part: &Misshapen) -> ApiError {
    problem::INVALID_BODY
        .detail("the body does not fit this route")
        .field(part.pointer.as_str(), format!("expected {}", part.expected))
}

/// The bytes as they came, of any content type.
impl RequestBody for Bytes {
    fn describe() -> Option<BodyDescription> {
        Some(BodyDescription {
            content_type: "application/octet-stream",
            schema: None,
            required: true,
        })
    }

    fn read(_: &HeaderMap, bytes: &Bytes) -> Result<Self, ApiError> {
        Ok(bytes.clone())
    }
}

/// Parses a command's JSON: strict check first, then the type.
///
/// # Errors
/// 400 naming line, column and field.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    json_check::check(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes, &error))
}

/// Reads again to find the field; only refused bodies pay for it.
fn explain<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> ApiError {
    let place = format!("line {} column {}", error.line(), error.column());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let tracked = serde_path_to_error::deserialize::<_, T>(&mut reader);
    let mut pointer = tracked
        .err()
        .map(|error| json_pointer(error.path()))
        .unwrap_or_default();
    let text = error.to_string();
    let missing = text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    if let Some(name) = missing {
        json_check::push_segment(&mut pointer, name);
    }
    let message = without_place(&text);
    let problem = problem::INVALID_BODY.detail(format!("the body does not fit this route at {place}"));
    problem.field(pointer, message)
}

/// serde's messages name types, fields and expectations. The place is said in the detail, and values are
/// cut out: an answer never repeats what was sent.
fn without_place(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    let repeats_value = ["invalid type: ", "invalid value: ", "unknown variant "];
    let expected = message.split_once(", expected ").map(|(_, expected)| expected);
    match expected {
        Some(expected) if repeats_value.iter().any(|start| message.starts_with(start)) => {
            format!("expected {}", in_json(expected))
        }
        _ => message.to_owned(),
    }
}

/// What serde expects, in JSON's words: the names of types are ours, not the caller's.
fn in_json(expected: &str) -> &str {
    let is = |names: &[&str]| names.iter().any(|name| expected.starts_with(name));
    if is(&[
        "struct ",
        "internally tagged enum",
        "adjacently tagged enum",
        "a map",
        "map",
        "variant of enum",
    ]) {
        "an object"
    } else if is(&["a sequence", "tuple ", "a tuple"]) {
        "an array"
    } else if is(&["enum ", "variant identifier", "string or map"]) {
        "one of the values in the API description"
    } else if is(&["u8", "u16", "u32", "u64", "usize"]) {
        "a whole number that is not negative, and not too large"
    } else if is(&["i8", "i16", "i32", "i64", "isize"]) {
        "a whole number, and not too large"
    } else if is(&["f32", "f64"]) {
        "a number"
    } else {
        expected
    }
}

fn json_pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => json_check::push_segment(&mut pointer, &index.to_string()),
            Segment::Map { key } => json_check::push_segment(&mut pointer, key),
            Segment::Enum { variant } => json_check::push_segment(&mut pointer, variant),
            Segment::Unknown => {}
        }
    }
    pointer
}

/// Makes sure that a body is announced as JSON.
///
/// # Errors
/// 415 when it is announced as anything else.
pub fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let json = media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"));
    if json {
        return Ok(());
    }
    Err(problem::UNSUPPORTED_MEDIA_TYPE.detail("send the body as `Content-Type: application/json`"))
}
