//! Commands that decide who administers the platform: a user's and the administration's, in one commit.
//!
//! 1. Load the user as the log has it, and decide the command on just that state.
//! 2. If by it the user becomes a live administrator, or ceases to be one, decide that on the administration as the log
//!    has it. The last one stays.
//! 3. Append both. Both are compared with the log: when either has moved, all of it is decided again.
//!
//! Every grant, revocation, suspension and resumption of a user passes here; no other command changes who administers.

use counterfoil_events::administration::{
    AGGREGATE_ID, Administration, AdministrationCommand, AdministrationError,
};
use counterfoil_events::command::{
    CommandContext, CommandError, CommandHandler, Decided, Executed, Extras, LoadError, Loaded, MAX_ATTEMPTS,
    Target,
};
use counterfoil_events::ids::{TenantId, UserId};
use counterfoil_events::ledger::AppendError;
use counterfoil_events::membership::{Grant, Role, Scope, WrongLevel};
use counterfoil_events::schema::EventSourced;
use counterfoil_events::user::{User, UserCommand, UserError};

use crate::commands::Commands;

const PLATFORM: TenantId = TenantId::PLATFORM;

/// It was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationFailed {
    /// The user's rules refuse it, or the log does not take it.
    #[error(transparent)]
    User(#[from] CommandError<UserError>),
    /// The administration's rules refuse it, or the log does not take it.
    #[error(transparent)]
    Administration(#[from] CommandError<AdministrationError>),
    /// The user or the administration could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Whoever is to administer instead of the bootstrap token could not get in.
    #[error("the user signs in at no issuer of the platform: link a subject first, or nobody could get in")]
    SignsInNowhere,
    /// Never: the role belongs to the platform.
    #[error(transparent)]
    Role(#[from] WrongLevel),
    /// Others changed the same things each time.
    #[error("others kept changing the same things, {MAX_ATTEMPTS} times: try again")]
    Moved,
}

impl AdministrationFailed {
    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::User(CommandError::Append(AppendError::Conflict { .. }))
                | Self::Administration(CommandError::Append(AppendError::Conflict { .. }))
        )
    }
}

/// A decision on a user, and the state before it; none when another command came in between.
type UserDecision = Option<(Decided<User>, bool)>;

/// Carries out a command to a user that may change who administers.
///
/// # Errors
/// See [`AdministrationFailed`].
pub async fn change_user(
    commands: &Commands,
    context: &CommandContext,
    user: UserId,
    command: UserCommand,
) -> Result<Executed, AdministrationFailed> {
    let mut attempts = Attempts::default();
    loop {
        let attempt = try_change(commands, context, user, command.clone()).await;
        if let Some(done) = attempts.done(attempt) {
            return done;
        }
    }
}

/// Refuses the bootstrap token from now on: `user` administers instead, and gets the role if it has not got it.
///
/// # Errors
/// See [`AdministrationFailed`].
pub async fn close_bootstrap(
    commands: &Commands,
    context: &CommandContext,
    user: UserId,
) -> Result<Executed, AdministrationFailed> {
    let mut attempts = Attempts::default();
    loop {
        let attempt = try_close(commands, context, user).await;
        if let Some(done) = attempts.done(attempt) {
            return done;
        }
    }
}

/// Counts how often it was tried while others changed the same things.
#[derive(Default)]
struct Attempts(u32);

impl Attempts {
    /// What came of the last attempt; none when it is to be made again.
    fn done(
        &mut self,
        attempt: Result<Option<Executed>, AdministrationFailed>,
    ) -> Option<Result<Executed, AdministrationFailed>> {
        self.0 += 1;
        match attempt {
            Ok(Some(executed)) => Some(Ok(executed)),
            Ok(None) if self.0 < MAX_ATTEMPTS => None,
            Err(error) if error.is_conflict() && self.0 < MAX_ATTEMPTS => None,
            Err(error) => Some(Err(error)),
            Ok(None) => Some(Err(AdministrationFailed::Moved)),
        }
    }
}

async fn try_change(
    commands: &Commands,
    context: &CommandContext,
    user: UserId,
    command: UserCommand,
) -> Result<Option<Executed>, AdministrationFailed> {
    let (id, before) = (user.to_string(), load_user(commands, user).await?);
    let decided = match decide_user(commands, &before, &id, command).await {
        Err(error) => return earlier(&commands.users, context, error).await,
        Ok(None) => return Ok(None),
        Ok(Some(decided)) => decided,
    };
    let (decided, after) = decided;
    let part = match (before.state.administers(), after) {
        (false, true) => Some(AdministrationCommand::Add { user }),
        (true, false) => Some(AdministrationCommand::Remove { user }),
        (true, true) | (false, false) => None,
    };
    let mut extras = Extras::default();
    if let Some(command) = part {
        match decide_administration(commands, command).await {
            Err(error) => return earlier(&commands.administration, context, error).await,
            Ok(decided) => extras.parts.push(decided.append),
        }
    }
    let target = Target::Existing(id);
    let executed = commands.users.commit(context, target, decided, &extras).await?;
    Ok(Some(executed))
}

async fn try_close(
    commands: &Commands,
    context: &CommandContext,
    user: UserId,
) -> Result<Option<Executed>, AdministrationFailed> {
    let (id, before) = (user.to_string(), load_user(commands, user).await?);
    let links = before
        .state
        .details
        .iter()
        .flat_map(|details| details.links.values());
    if before.state.details.is_some() && !links.into_iter().any(|link| link.home.is_platform()) {
        return Err(AdministrationFailed::SignsInNowhere);
    }
    let mut extras = Extras::default();
    let joins = !before.state.administers();
    if joins {
        let grant = Grant::new(Scope::Platform, Role::PlatformAdmin)?;
        match decide_user(commands, &before, &id, UserCommand::Grant(grant)).await {
            Err(error) => return earlier(&commands.users, context, error).await,
            Ok(None) => return Ok(None),
            Ok(Some((_, false))) => return Err(CommandError::Rejected(UserError::Suspended).into()),
            Ok(Some((decided, true))) => extras.parts.push(decided.append),
        }
    }
    let close = AdministrationCommand::Close { user, joins };
    let handler = &commands.administration;
    match decide_administration(commands, close).await {
        Err(error) => earlier(handler, context, error).await,
        Ok(decided) => {
            let target = Target::Existing(AGGREGATE_ID.to_owned());
            Ok(Some(handler.commit(context, target, decided, &extras).await?))
        }
    }
}

async fn load_user(
    commands: &Commands,
    user: UserId,
) -> Result<std::sync::Arc<Loaded<User>>, AdministrationFailed> {
    Ok(commands.users.load_fresh(PLATFORM, &user.to_string()).await?)
}

/// Decides on just this state, and says whether the user administers after it.
async fn decide_user(
    commands: &Commands,
    before: &Loaded<User>,
    id: &str,
    command: UserCommand,
) -> Result<UserDecision, CommandError<UserError>> {
    let target = Target::Existing(id.to_owned());
    let decided = commands.users.decide(PLATFORM, &target, command).await?;
    let after = decided.after.state.administers();
    Ok((decided.append.expected == before.sequence).then_some((decided, after)))
}

async fn decide_administration(
    commands: &Commands,
    command: AdministrationCommand,
) -> Result<Decided<Administration>, CommandError<AdministrationError>> {
    let handler = &commands.administration;
    // What another process wrote, or this one beside a user's event, is in no cache.
    handler.load_fresh(PLATFORM, AGGREGATE_ID).await?;
    let target = Target::Existing(AGGREGATE_ID.to_owned());
    handler.decide(PLATFORM, &target, command).await
}

/// What is refused under an Idempotency-Key may be the second arrival of what was done: the first answer, then.
async fn earlier<A>(
    handler: &CommandHandler<A>,
    context: &CommandContext,
    error: CommandError<A::Error>,
) -> Result<Option<Executed>, AdministrationFailed>
where
    A: EventSourced,
    A::Command: Clone + Send,
    AdministrationFailed: From<CommandError<A::Error>>,
{
    match error {
        CommandError::Rejected(_) => match handler.earlier(context).await? {
            Some(executed) => Ok(Some(executed)),
            None => Err(error.into()),
        },
        error => Err(error.into()),
    }
}
