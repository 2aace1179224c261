//! The rows of rollups: what each log alone says, and what follows from both.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_events::ids::{EventId, OrganisationId, Position, TenantId};
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::text::Unit;
use counterfoil_events::money::Money;
use counterfoil_events::tenant::Share;
use counterfoil_events::text::Name;
use serde::{Deserialize, Serialize};

use crate::kri::Latest;

/// Where an organisation's rows stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeRow {
    /// Its home tenant.
    pub home_tenant: TenantId,
}

/// Who carries a tenant, from the platform's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriageRow {
    /// What people call the tenant.
    pub name: Name,
    /// Who carries it.
    pub carriers: BTreeMap<OrganisationId, Carrier>,
    /// How much is at risk in it.
    pub exposure: Option<Money>,
    /// The platform's position that this stands on.
    pub position: Position,
    /// The event there.
    pub event_id: EventId,
}

/// One carrier of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    /// Its home tenant.
    pub home: TenantId,
    /// How much of the risk it carries.
    pub share: Share,
}

/// Which KRIs a tenant has, from its own log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KriNamesRow {
    /// Those not retired.
    pub kris: BTreeSet<KriId>,
}

/// What one KRI of a tenant measures, from its own log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureRow {
    /// What people call the KRI.
    pub name: Name,
    /// In what it is measured.
    pub unit: Unit,
    /// Whether it is measured no more.
    pub retired: bool,
    /// The latest measurement in this unit and the one before.
    #[serde(flatten)]
    pub measured: Latest,
    /// The tenant's position that this stands on.
    pub position: Position,
    /// The event there.
    pub event_id: EventId,
}

/// A tenant as its carrier sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedRow {
    /// Which tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub name: Name,
    /// How much of its risk the carrier carries.
    pub share: Share,
    /// How much is at risk in it.
    pub exposure: Option<Money>,
    /// The platform's position that this stands on.
    pub position: Position,
    /// The event there.
    pub event_id: EventId,
}

/// A tenant's KRI as its carrier sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Which tenant.
    pub tenant: TenantId,
    /// Which KRI.
    pub kri: KriId,
    /// What people call the KRI.
    pub name: Name,
    /// In what it is measured.
    pub unit: Unit,
    /// The latest measurement and the one before.
    #[serde(flatten)]
    pub measured: Latest,
    /// How much of the tenant's risk the carrier carries.
    pub share: Share,
    /// How much is at risk in the tenant.
    pub exposure: Option<Money>,
    /// The tenant's position that this stands on.
    pub position: Position,
    /// The event there.
    pub event_id: EventId,
}
