//! Why a command was refused, in the one form that every context shares.
//!
//! Each context has its own error enum with a stable code per variant. What a caller can do about a refusal
//! is one of three things, and the HTTP edge maps these once: correct the request (400 or 422), look for the
//! right thing (404), or look at the state first (409).

/// What the caller can do about a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RejectionKind {
    /// The command itself is wrong, whatever the state: change this field.
    Invalid {
        /// The field of the command at fault.
        field: &'static str,
    },
    /// What the command is about does not exist.
    NotFound,
    /// The command is well formed, but the state does not allow it now.
    Conflict,
}

/// A command refused by an aggregate. The text (`Display`) is for the caller: it names the limit and the next step.
pub trait Rejection: std::error::Error + Send + Sync + 'static {
    /// The stable name of the reason, snake case; part of the API.
    fn code(&self) -> &'static str;

    /// What the caller can do about it.
    fn kind(&self) -> RejectionKind;
}

#[cfg(test)]
#[path = "rejection_tests.rs"]
mod tests;
