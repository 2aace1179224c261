//! Who signs in as whom: rows beside the log, and the links of users that are held to them.
//!
//! To link: 1. the row is written; 2. the user's event commits to it. A row without an event is nobody's, and after a
//! while it gives way to the next who links that subject. To unlink: 1. the row is deleted, and with it what anyone could
//! know of the subject; 2. the event. Cut off in between, the command is sent again: until then only processes that had read
//! the row know it. A row is found, changed and deleted in its tenant's scope: the home tenant of the issuer's organisation.

use std::sync::Arc;

use counterfoil_events::agent::key::KeyPepper;
use counterfoil_events::command::{CommandContext, CommandError, Executed, Extras, LoadError, Target};
use counterfoil_events::ids::{IssuerId, SubjectLinkId, TenantId, UserId};
use counterfoil_events::issuer::subject::{SubjectHash, SubjectRow, SubjectSalt, commit};
use counterfoil_events::ledger::Database;
use counterfoil_events::membership::Scope;
use counterfoil_events::text::Code;
use counterfoil_events::user::{UserCommand, UserError};
use uuid::Uuid;

use crate::commands::Commands;

const ADD: &str = "
    INSERT INTO counterfoil.subjects (tenant_id, link, user_id, hash, salt)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// On the unique key over tenant and hash.
const HOLDER: &str = "
    SELECT link, user_id, made_at < now() - interval '1 minute' FROM counterfoil.subjects
    WHERE tenant_id = $1 AND hash = $2";

const DELETE: &str = "DELETE FROM counterfoil.subjects WHERE tenant_id = $1 AND link = $2";

const DELETE_ALL: &str = "DELETE FROM counterfoil.subjects WHERE tenant_id = $1";

/// A subject cannot be linked or unlinked.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// No such issuer.
    #[error("there is no issuer {0}: configure it first")]
    NoIssuer(IssuerId),
    /// The subject is a user's, or is being linked.
    #[error("this subject is linked to a user already: unlink it there first")]
    Taken,
    /// The user's rules refuse it, or the log does not take it.
    #[error(transparent)]
    User(#[from] CommandError<UserError>),
    /// Issuer, organisation or user could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The row could not be written or deleted.
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
}

/// Links users to who they are at an issuer, and unlinks them.
#[derive(Clone)]
pub struct Subjects {
    database: Database,
    commands: Arc<Commands>,
    pepper: Arc<KeyPepper>,
}

impl Subjects {
    /// On these connections; subjects are hashed under a key of this pepper's.
    #[must_use]
    pub fn new(database: Database, commands: Arc<Commands>, pepper: Arc<KeyPepper>) -> Self {
        Self {
            database,
            commands,
            pepper,
        }
    }

    /// Lets a user sign in as `subject` at an issuer; says the link's name.
    ///
    /// # Errors
    /// See [`SubjectError`].
    pub async fn link(
        &self,
        context: &CommandContext,
        user: UserId,
        issuer: IssuerId,
        subject: &str,
    ) -> Result<(SubjectLinkId, Executed), SubjectError> {
        let home = self.home_of(issuer).await?;
        let row = SubjectRow {
            link: SubjectLinkId::generate(),
            hash: SubjectHash::of(&self.pepper, issuer, subject),
            salt: SubjectSalt::generate(),
        };
        let command = UserCommand::LinkSubject {
            link: row.link,
            issuer,
            home,
            commitment: commit(user, issuer, &row),
        };
        // Decided before the row is written too, so that what is refused anyhow leaves none.
        let target = Target::Existing(user.to_string());
        let handler = &self.commands.users;
        handler
            .decide(TenantId::PLATFORM, &target, command.clone())
            .await?;
        self.place(home, user, &row).await?;
        let executed = handler
            .execute(context, target, command, Extras::default())
            .await?;
        Ok((row.link, executed))
    }

    /// Lets a user sign in so no more, and deletes what is known of the subject.
    ///
    /// # Errors
    /// See [`SubjectError`].
    pub async fn unlink(
        &self,
        context: &CommandContext,
        user: UserId,
        link: SubjectLinkId,
        reason: Code,
    ) -> Result<Executed, SubjectError> {
        let handler = &self.commands.users;
        let loaded = handler.load_fresh(TenantId::PLATFORM, &user.to_string()).await?;
        let details = loaded.state.details.as_ref();
        let home = details
            .and_then(|details| details.links.get(&link))
            .map(|link| link.home);
        let command = UserCommand::UnlinkSubject { link, reason };
        let target = Target::Existing(user.to_string());
        if let Some(home) = home {
            handler
                .decide(TenantId::PLATFORM, &target, command.clone())
                .await?;
            self.delete(home, link).await?;
        }
        let executed = handler
            .execute(context, target, command, Extras::default())
            .await?;
        Ok(executed)
    }

    /// Deletes the rows of all links to the issuers of a home tenant's organisation: nobody signs in by them again, and
    /// nobody can tell who did. For the end of an organisation. Says how many there were.
    ///
    /// # Errors
    /// When Postgres does not confirm.
    pub async fn erase(&self, home: TenantId) -> Result<u64, sqlx::Error> {
        let mut scope = self.database.tenant(home).await?;
        let deleted = sqlx::query(DELETE_ALL)
            .bind(home.0)
            .execute(scope.connection())
            .await?;
        scope.commit().await?;
        Ok(deleted.rows_affected())
    }

    /// In whose scope the rows of an issuer's links lie.
    async fn home_of(&self, issuer: IssuerId) -> Result<TenantId, SubjectError> {
        let (platform, commands) = (TenantId::PLATFORM, &self.commands);
        let loaded = commands.issuers.load_fresh(platform, &issuer.to_string()).await?;
        let details = loaded.state.details.as_ref();
        let place = details.ok_or(SubjectError::NoIssuer(issuer))?.place;
        let organisation = match place {
            Scope::Platform => return Ok(platform),
            Scope::Organisation(organisation) => organisation,
            // A tenant has no issuers.
            Scope::Tenant(_) => return Err(SubjectError::NoIssuer(issuer)),
        };
        let loaded = commands
            .organisations
            .load(platform, &organisation.to_string())
            .await?;
        let details = loaded.state.details.as_ref();
        Ok(details.ok_or(SubjectError::NoIssuer(issuer))?.home_tenant)
    }

    /// Writes the row, in the place of one that nobody's link is held to.
    async fn place(&self, home: TenantId, user: UserId, row: &SubjectRow) -> Result<(), SubjectError> {
        if self.add(home, user, row).await? {
            return Ok(());
        }
        if let Some(abandoned) = self.abandoned(home, row.hash).await? {
            self.delete(home, abandoned).await?;
        }
        match self.add(home, user, row).await? {
            true => Ok(()),
            false => Err(SubjectError::Taken),
        }
    }

    async fn add(&self, home: TenantId, user: UserId, row: &SubjectRow) -> Result<bool, sqlx::Error> {
        let mut scope = self.database.tenant(home).await?;
        let added = sqlx::query(ADD)
            .bind(home.0)
            .bind(row.link.0)
            .bind(user.0)
            .bind(&row.hash.0[..])
            .bind(&row.salt.0[..])
            .execute(scope.connection())
            .await?;
        scope.commit().await?;
        Ok(added.rows_affected() == 1)
    }

    /// The link of a row that was written and never recorded: whoever wrote it was cut off.
    async fn abandoned(
        &self,
        home: TenantId,
        hash: SubjectHash,
    ) -> Result<Option<SubjectLinkId>, SubjectError> {
        let mut scope = self.database.tenant(home).await?;
        let holder: Option<(Uuid, Uuid, bool)> = sqlx::query_as(HOLDER)
            .bind(home.0)
            .bind(&hash.0[..])
            .fetch_optional(scope.connection())
            .await?;
        drop(scope);
        let Some((link, user, true)) = holder else {
            return Ok(None);
        };
        let handler = &self.commands.users;
        let loaded = handler.load_fresh(TenantId::PLATFORM, &user.to_string()).await?;
        let link = SubjectLinkId(link);
        let details = loaded.state.details.as_ref();
        let held = details.is_some_and(|details| details.links.contains_key(&link));
        Ok((!held).then_some(link))
    }

    async fn delete(&self, home: TenantId, link: SubjectLinkId) -> Result<(), sqlx::Error> {
        let mut scope = self.database.tenant(home).await?;
        sqlx::query(DELETE)
            .bind(home.0)
            .bind(link.0)
            .execute(scope.connection())
            .await?;
        scope.commit().await
    }
}
