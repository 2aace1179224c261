//! The task that answers the NATS server's question who may log in.
//!
//! 1. The user says which installation is meant, since several may share a server: what is another's is left to it. Of
//!    the processes of one installation one answers (a queue group).
//! 2. Who it is, the security state says: a credential that is live, of a tenant that is neither suspended nor closed.
//! 3. Its consumer is made, if it is not there.
//! 4. The answer lets it in for [`ADMITTED_FOR`] at the most; the client then logs in again by itself. So what was revoked
//!    is out after that time without anybody reaching for its connection; its consumer goes at once (`admitted`).
//!
//! Whatever goes wrong, nobody answers or the answer is no: the server then lets nobody in.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use counterfoil_events::agent::key::{KeyPepper, PresentedKey, SUBSCRIBER_MARK};
use counterfoil_events::backbone::{Backbone, HeadsReader};
use counterfoil_events::background::{Background, Heartbeat};
use counterfoil_events::ids::{ApiKeyId, TenantId};
use counterfoil_events::security::{SecurityState, SubscriberEntry};
use counterfoil_events::timestamp::Timestamp;
use futures::StreamExt;

use super::admitted::{Admitted, goes_on};
use super::claims::{CalloutKey, Login, admit, refuse};
use super::grant::Grant;

/// Where the server asks.
const SUBJECT: &str = "$SYS.REQ.USER.AUTH";
/// How long a login holds: a revoked credential is out after that; its consumer is gone at once.
const ADMITTED_FOR: Duration = Duration::from_secs(5 * 60);
/// How often it is looked whether those who were let in would be let in still.
const SWEEP: Duration = Duration::from_millis(500);
/// Pause after a subscription that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Logins that are judged at one time; the server itself gives up on those that wait for seconds.
const AT_ONCE: usize = 16;

/// What answers stand on.
pub struct CalloutParts {
    /// The connection, and the streams.
    pub backbone: Backbone,
    /// Which partition a tenant's events are in.
    pub heads: HeadsReader,
    /// Who has which credential.
    pub security: SecurityState,
    /// Under which they are hashed.
    pub pepper: Arc<KeyPepper>,
    /// By which answers are signed.
    pub key: CalloutKey,
}

/// Starts to answer.
pub fn answer_logins(parts: CalloutParts) -> Background {
    Background::start("logins", |heartbeat| run(parts, heartbeat))
}

async fn run(parts: CalloutParts, heartbeat: Heartbeat) {
    let admitted = Admitted::default();
    loop {
        let client = parts.backbone.client();
        let group = format!("{}_callout", parts.backbone.prefix());
        match client.queue_subscribe(SUBJECT, group).await {
            Ok(requests) => {
                let answering =
                    requests.for_each_concurrent(AT_ONCE, |request| answer(&parts, &admitted, request));
                let sweeping = async {
                    loop {
                        tokio::time::sleep(SWEEP).await;
                        admitted.sweep(&parts.security, &parts.backbone).await;
                    }
                };
                let either = async {
                    tokio::select! {
                        () = answering => {}
                        () = sweeping => {}
                    }
                };
                heartbeat.during(either).await;
            }
            Err(error) => tracing::warn!(%error, "logins of subscribers cannot be heard of"),
        }
        heartbeat.during(tokio::time::sleep(RETRY_PAUSE)).await;
    }
}

async fn answer(parts: &CalloutParts, admitted: &Admitted, request: Message) {
    let (Some(reply), Ok(login)) = (request.reply, Login::read(&request.payload)) else {
        return;
    };
    let Some(credential) = ours(&login, parts.backbone.prefix().to_string().as_str()) else {
        // Another installation's, or nobody's: the server hears nothing, and keeps it out.
        return;
    };
    // By the clock that every credential expires by.
    let now = parts.security.postgres_time().now();
    let text = match judge(parts, &login, credential, now).await {
        Ok((tenant, grant, until)) => {
            admitted.note(credential, tenant, &grant, until);
            admit(&parts.key, &login, &grant, now, until)
        }
        Err(why) => {
            tracing::info!(%credential, %why, cause = why.cause(), "a subscriber was kept out");
            refuse(&parts.key, &login, now, &why.to_string())
        }
    };
    let Some(text) = text else { return };
    if let Err(error) = parts.backbone.client().publish(reply, text.into()).await {
        tracing::warn!(%error, "a login of a subscriber could not be answered");
    }
}

/// `<prefix>.<credential>`, of this prefix.
fn ours(login: &Login, prefix: &str) -> Option<ApiKeyId> {
    let (named, credential) = login.user.split_once('.')?;
    (named == prefix).then(|| credential.parse().ok()).flatten()
}

/// Why a login is refused: the text is for whoever logs in, the cause for the operator's log alone.
#[derive(Debug, thiserror::Error)]
enum KeptOut {
    #[error("no live credential of a tenant that goes on")]
    NoCredential,
    #[error("the tenant's stream is not known yet")]
    UnknownStream,
    #[error("the stream cannot be reached")]
    Stream(String),
    #[error("the consumer cannot be made")]
    Consumer(String),
    #[error("the consumer has another filter")]
    OtherFilter,
    #[error("the clock stands at the end of time")]
    ClockAtItsEnd,
}

impl KeptOut {
    fn cause(&self) -> Option<&str> {
        match self {
            Self::Stream(cause) | Self::Consumer(cause) => Some(cause),
            Self::NoCredential | Self::UnknownStream | Self::OtherFilter | Self::ClockAtItsEnd => None,
        }
    }
}

async fn judge(
    parts: &CalloutParts,
    login: &Login,
    credential: ApiKeyId,
    now: Timestamp,
) -> Result<(TenantId, Grant, Timestamp), KeptOut> {
    let found = find(parts, login, credential).filter(|found| now < found.expires_at);
    let found = found.ok_or(KeptOut::NoCredential)?;
    let partition = parts.heads.partition_of(found.tenant);
    let partition = partition.ok_or(KeptOut::UnknownStream)?;
    let grant = Grant::new(parts.backbone.prefix(), partition, found.tenant, credential);
    let stream = parts.backbone.find_stream(partition).await;
    let stream = stream
        .map_err(|error| KeptOut::Stream(error.to_string()))?
        .ok_or(KeptOut::UnknownStream)?;
    let made = stream
        .get_or_create_consumer(&grant.consumer, grant.consumer())
        .await;
    let made = made.map_err(|error| KeptOut::Consumer(error.to_string()))?;
    // One of its name and another filter would open what is not its own.
    if made.cached_info().config.filter_subject != grant.filter {
        return Err(KeptOut::OtherFilter);
    }
    let until = now.checked_add(ADMITTED_FOR).ok_or(KeptOut::ClockAtItsEnd)?;
    Ok((found.tenant, grant, until.min(found.expires_at)))
}

fn find(parts: &CalloutParts, login: &Login, credential: ApiKeyId) -> Option<SubscriberEntry> {
    let security = &parts.security;
    let shown = PresentedKey::parse_marked(SUBSCRIBER_MARK, &login.password).ok()?;
    if !security.freshness().may_answer() {
        return None;
    }
    let found = security.subscriber(credential, &shown, &parts.pepper)?;
    goes_on(security, credential, found.tenant).then_some(found)
}
