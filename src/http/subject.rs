//! Where a person signs in: a link to a subject of an issuer. As whom is not recorded, and never shown: it is kept beside
//! the log as a keyed hash, and deleted when the link ends.

use counterfoil_events::ids::{IssuerId, SubjectLinkId, TenantId, UserId};
use counterfoil_events::issuer::subject::SUBJECT_BYTES_MAX;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::answer::{self, Answer};
use super::body::Json;
use super::command::{self, CommandAnswer};
use super::organisation::Reason;
use super::problem::{self, ApiError};
use super::request::Request;
use super::route::{Route, State};
use super::user::Users;
use crate::identity::Permission;
use crate::issuer::subjects::SubjectError;

/// As whom a person signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkSubject {
    /// Where.
    #[schema(value_type = String)]
    issuer: IssuerId,
    /// The subject (`sub`) that the issuer means this person by. It is kept as a keyed hash, and never shown.
    #[schema(example = "248289761001")]
    subject: String,
}

/// A new link.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubjectLinked {
    /// Its name, for unlinking it.
    link: String,
    #[serde(flatten)]
    linked: CommandAnswer,
}

/// The group's routes.
pub fn routes(users: &State<Users>) -> Vec<Route> {
    let (tag, write) = ("users", Permission::UsersWrite);
    vec![
        Route::post(
            "/v1/users/{user}/subjects",
            "Let a person sign in as a subject of an issuer",
        )
        .tag(tag)
        .permission(write)
        .answers::<SubjectLinked>(201, "Linked")
        .handle(users, link),
        Route::post(
            "/v1/users/{user}/subjects/{link}/unlink",
            "Let it sign in so no more, and forget the subject",
        )
        .tag(tag)
        .permission(write)
        .answers::<CommandAnswer>(200, "Unlinked")
        .handle(users, unlink),
    ]
}

async fn link(users: Users, request: Request<Json<LinkSubject>>) -> Answer {
    let user: UserId = request.param("user")?;
    let Json(LinkSubject { issuer, subject }) = &request.body;
    let fits = (1..=SUBJECT_BYTES_MAX).contains(&subject.len());
    if !fits || subject.chars().any(char::is_control) {
        let rule = format!("must be 1 to {SUBJECT_BYTES_MAX} bytes without control characters");
        return Err(
            ApiError::refused("subject_unusable", "the subject cannot be linked").field("/subject", rule),
        );
    }
    let mut context = request.context.command(TenantId::PLATFORM);
    // It would keep a fingerprint of the subject; linking twice is refused without it.
    context.idempotency = None;
    let (link, executed) = users.subjects.link(&context, user, *issuer, subject).await?;
    let body = SubjectLinked {
        link: link.to_string(),
        linked: command::command_answer(&executed),
    };
    let mut response = answer::json(StatusCode::CREATED, &body)?;
    command::put_positions(&mut response, &executed);
    Ok(response)
}

async fn unlink(users: Users, request: Request<Json<Reason>>) -> Answer {
    let (user, link): (UserId, SubjectLinkId) = (request.param("user")?, request.param("link")?);
    let context = request.context.command(TenantId::PLATFORM);
    let reason = request.body.0.reason.clone();
    let executed = users.subjects.unlink(&context, user, link, reason).await?;
    command::heeded(&users.security, &executed).await;
    command::changed(&executed)
}

impl From<SubjectError> for ApiError {
    fn from(error: SubjectError) -> Self {
        let text = error.to_string();
        match error {
            SubjectError::NoIssuer(_) => {
                ApiError::refused("issuer_not_found", text).field("/issuer", "does not exist")
            }
            SubjectError::Taken => problem::CONFLICT
                .detail(text)
                .with("code", "subject_already_linked"),
            SubjectError::User(error) => error.into(),
            SubjectError::Load(_) | SubjectError::Postgres(_) => problem::UNAVAILABLE
                .detail("the link could not be written; nothing was done")
                .because(text),
        }
    }
}
