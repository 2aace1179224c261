//! Who may do what: one table of permissions and roles, and one function that decides by it.
//!
//! - `permission` names what can be done, `roles` which role may; both are rendered into `docs/permissions.md`.
//! - `reach` decides from somebody's grants, a permission and the place: allowed, allowed into a tenant only with a
//!   reason, forbidden, or hidden. Pure.
//! - `crossing` puts it on record when a platform role enters a tenant.
//! - `tokens` tells who somebody is by a short-lived token.
//! - `place` reads the place out of a request's path.
//!
//! What is not in the table is denied. Who somebody is, and which roles they have, the log says
//! (`counterfoil_events::membership`).

mod crossing;
mod permission;
mod place;
mod reach;
mod render;
mod roles;
mod tokens;

pub use crossing::{Crossing, OnRecord, REASON, Record, reason as crossing_reason};
pub use permission::{Depth, Permission};
pub use place::Place;
pub use reach::{Bounds, Decision, Tree, decide, decide_within, level_within};
pub use render::render;
pub use roles::permits;
pub use tokens::{UserTokens, live, principal};
