//! From a carrier's rows to its rollups at an instant: what is served.
//!
//! Values are pooled by KRI, unit and direction, since others do not compare. Every carried tenant is a member of each
//! of its carrier's rollups; one that does not measure the KRI in that unit is *missing* there, so that a gap shows.

use std::collections::BTreeMap;

use counterfoil_events::ids::{EventId, Position, TenantId};
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::bands::Direction;
use counterfoil_events::kri::status::KriStatus;
use counterfoil_events::kri::text::Unit;
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::money::{Currency, Money};
use counterfoil_events::tenant::Share;
use counterfoil_events::timestamp::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;

use super::statistics::{self, Member, Statistics, statistics};
use super::{CarriedRow, MemberRow};
use crate::kri::Measurement;

/// One KRI over a carrier's tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rollup {
    /// Which KRI.
    pub kri: KriId,
    /// In what it is measured.
    pub unit: Unit,
    /// Which way it gets worse; none while nobody has measured it.
    pub direction: Option<Direction>,
    /// The currency of the exposures that weigh the mean; none if there is none, or several, which do not add: then
    /// there is no weighted mean and no trend.
    pub currency: Option<Currency>,
    /// The figures.
    pub statistics: Statistics<TenantId>,
    /// What they stand on.
    pub members: Vec<MemberSummary>,
}

/// One tenant in a rollup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberSummary {
    /// Which tenant.
    pub tenant: TenantId,
    /// Its status at the instant.
    pub status: KriStatus,
    /// The latest value.
    pub value: Option<KriValue>,
    /// The one before.
    pub previous: Option<KriValue>,
    /// When it was measured.
    pub measured_at: Option<Timestamp>,
    /// The event that says so.
    pub event_id: Option<EventId>,
    /// Where that stands in the tenant's log.
    pub position: Option<Position>,
    /// How much of the tenant's risk the carrier carries.
    pub share: Share,
    /// How much is at risk in the tenant.
    pub exposure: Option<Money>,
}

/// The positions that a carrier's rows stand on, by log.
#[must_use]
pub fn position_vector(carried: &[CarriedRow], members: &[MemberRow]) -> BTreeMap<TenantId, Position> {
    let platform = carried.iter().map(|row| (TenantId::PLATFORM, row.position));
    let tenants = members.iter().map(|row| (row.tenant, row.position));
    let mut vector = BTreeMap::new();
    for (tenant, position) in platform.chain(tenants) {
        let highest = vector.entry(tenant).or_insert(position);
        *highest = position.max(*highest);
    }
    vector
}

/// The rollups at `at`, by KRI and unit.
#[must_use]
pub fn rollups(carried: &[CarriedRow], members: &[MemberRow], at: Timestamp) -> Vec<Rollup> {
    let mut pools: BTreeMap<(&KriId, &str, Option<&'static str>), Vec<&MemberRow>> = BTreeMap::new();
    for member in members {
        let direction = direction_of(member).map(direction_name);
        pools
            .entry((&member.kri, member.unit.as_str(), direction))
            .or_default()
            .push(member);
    }
    // Who has a KRI but no value yet is missing in the pools of its unit, and a pool of its own only if there is none.
    let measured: Vec<(KriId, Unit)> = members
        .iter()
        .filter(|member| member.measured.latest.is_some())
        .map(|member| (member.kri.clone(), member.unit.clone()))
        .collect();
    pools
        .into_values()
        .filter(|pool| {
            let has_value = pool.iter().any(|member| member.measured.latest.is_some());
            has_value
                || !pool
                    .iter()
                    .any(|member| measured.contains(&(member.kri.clone(), member.unit.clone())))
        })
        .filter_map(|pool| rollup(carried, &pool, at))
        .collect()
}

fn direction_of(member: &MemberRow) -> Option<Direction> {
    member
        .measured
        .latest
        .as_ref()
        .map(|latest| latest.bands.direction())
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::HigherIsWorse => "higher_is_worse",
        Direction::LowerIsWorse => "lower_is_worse",
        Direction::TwoSided => "two_sided",
    }
}

fn rollup(carried: &[CarriedRow], pool: &[&MemberRow], at: Timestamp) -> Option<Rollup> {
    let first = pool.first()?;
    let currency = one_currency(carried);
    let of = |tenant: TenantId| pool.iter().copied().find(|member| member.tenant == tenant);
    let members: Vec<Member<TenantId>> = carried
        .iter()
        .map(|row| Member {
            key: row.tenant,
            exposure_micros: currency.map_or(0, |_| carried_micros(row)),
            latest: of(row.tenant).and_then(latest),
        })
        .collect();
    Some(Rollup {
        kri: first.kri.clone(),
        unit: first.unit.clone(),
        direction: direction_of(first),
        currency,
        statistics: statistics(&members, at),
        members: carried
            .iter()
            .map(|row| summary(row, of(row.tenant), at))
            .collect(),
    })
}

fn latest(member: &MemberRow) -> Option<statistics::Latest> {
    let latest = member.measured.latest.as_ref()?;
    Some(statistics::Latest {
        value: latest.value,
        band: latest.band,
        bands: latest.bands,
        fresh_until: latest.fresh_until,
        previous: member.measured.previous.as_ref().map(|previous| previous.value),
    })
}

/// What the carrier carries of what is at risk, in whole micro-units, rounded half to even.
fn carried_micros(row: &CarriedRow) -> u64 {
    let Some(exposure) = row.exposure else { return 0 };
    // Within range: an amount has 64 bits, a share is at most 1.
    (Decimal::from(exposure.micros.0) * row.share.decimal())
        .round()
        .to_u64()
        .unwrap_or(0)
}

fn one_currency(carried: &[CarriedRow]) -> Option<Currency> {
    let mut currencies = carried
        .iter()
        .filter_map(|row| row.exposure)
        .map(|exposure| exposure.currency);
    let first = currencies.next()?;
    currencies.all(|other| other == first).then_some(first)
}

fn summary(row: &CarriedRow, member: Option<&MemberRow>, at: Timestamp) -> MemberSummary {
    let latest = member.and_then(|member| member.measured.latest.as_ref());
    let previous = member.and_then(|member| member.measured.previous.as_ref());
    MemberSummary {
        tenant: row.tenant,
        status: latest.map_or(KriStatus::Missing, |latest: &Measurement| latest.status_at(at)),
        value: latest.map(|latest| latest.value),
        previous: previous.map(|previous| previous.value),
        measured_at: latest.map(|latest| latest.measured_at),
        event_id: latest.map(|latest| latest.event_id),
        position: latest.map(|latest| latest.position),
        share: row.share,
        exposure: row.exposure,
    }
}
