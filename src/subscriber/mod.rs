//! Tenants' programs that follow their log over NATS by themselves, beside the platform's own processes.
//!
//! The NATS server asks this process about every login that is not the platform's own (auth callout): `callout` answers,
//! from the security state, with what `grant` says the credential may do, in the form that `claims` writes. So nothing of
//! a tenant is configured at the server, and what is revoked is revoked as everything else is.
//!
//! A subscriber lives in an account of its own, which imports from the platform's account just three things: fetching
//! from a consumer, asking how it is, and acknowledging ([decision 16](../../docs/decisions/0016-nats-credentials.md)).
//! The consumer is made here, with the tenant's filter; a subscriber makes none.

mod admitted;
mod callout;
mod claims;
mod grant;

pub use callout::{CalloutParts, answer_logins};
pub use claims::CalloutKey;
pub use grant::{ACCOUNT, API_PREFIX, Grant, PLATFORM_ACCOUNT};
