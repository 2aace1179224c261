//! Commands where things have stopped: to a tenant that has ended, and to one that is suspended, itself or with its
//! organisation.
//!
//! Where things are suspended only who may let them go on gives commands: to mend what they were stopped for. Everybody
//! else who may do so at all goes on taking away: keys, roles, agents, sources. Reads are answered as before.

use counterfoil_events::membership::{Level, Scope};
use counterfoil_events::tenant::TenantError;
use warp::http::Method;

use super::auth::{Access, Authenticators, Principal};
use super::command;
use super::problem::{self, ApiError};
use super::request::PathParams;
use super::route::RouteSpec;
use crate::identity::{Permission, Place, level_within};

impl Authenticators {
    /// Refuses commands where things have stopped. To be asked of whoever was admitted.
    ///
    /// # Errors
    /// 409 for a command to a tenant that has ended, or to a place that is suspended.
    pub(super) fn refuse_where_stopped(
        &self,
        principal: &Principal,
        route: &RouteSpec<Access>,
        params: &PathParams,
    ) -> Result<(), ApiError> {
        let reads = route.method == Method::GET || route.method == Method::HEAD;
        let Access::Needs(permission) = route.access else {
            return Ok(());
        };
        if reads {
            return Ok(());
        }
        let place = Place::of_path(params)?;
        if let Scope::Tenant(tenant) = place.scope {
            // Of what has ended nothing is changed, but for its erasure and for taking roles away.
            let ends = permission == Permission::TenantsClose
                || (permission == Permission::MembersWrite && route.takes_away);
            if !ends && self.tree().is_closed(tenant) {
                return Err(command::rejected(&TenantError::Closed));
            }
        }
        match self.tree().stopped_at(place.scope) {
            Some(stopped) if !route.takes_away && !self.may_let_go_on(principal, place, stopped) => {
                Err(problem::CONFLICT
                    .detail("this place is suspended: commands are for who may resume it; others can take away only")
                    .with("code", "suspended")
                    .with("suspended_by", stopped.as_str()))
            }
            _ => Ok(()),
        }
    }

    fn may_let_go_on(&self, principal: &Principal, place: Place, stopped: Level) -> bool {
        let level = self.level_of(principal, Permission::TenantsSuspend, place);
        level.is_some_and(|level| level <= stopped)
    }

    /// The highest level from which somebody may do this, there; none if from nowhere.
    pub(super) fn level_of(
        &self,
        principal: &Principal,
        permission: Permission,
        place: Place,
    ) -> Option<Level> {
        match principal {
            Principal::Bootstrap => Some(Level::Platform),
            Principal::User(user) => {
                level_within(user.bounds(), &user.grants, permission, place, self.tree())
            }
            Principal::Agent(_) | Principal::Anonymous => None,
        }
    }
}
