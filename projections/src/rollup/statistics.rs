//! Statistics of one KRI over a carrier's tenants, at an explicit instant.
//!
//! They are a function of the *set* of members: any order gives the same result, to the last digit. Sums are
//! exact and each published figure is rounded once (`counterfoil_events::kri::exact`).
//!
//! **Only fresh values enter figures about values** (mean, median, p90, worst value, trend): a stale value says
//! nothing about the present, and a carrier must not read an old green into a mean. What is stale or missing is
//! counted instead, in the statuses, the stale share and the coverage, so that nothing vanishes.

use serde::{Deserialize, Serialize};

use counterfoil_events::kri::bands::{Band, Bands};
use counterfoil_events::kri::exact::Exact;
use counterfoil_events::kri::status::{KriStatus, status_at, worst};
use counterfoil_events::kri::value::KriValue;
use counterfoil_events::timestamp::Timestamp;

/// One tenant of the carrier, with what is known of its KRI. `K` names the tenant; a tenant appears once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member<K> {
    /// Who it is.
    pub key: K,
    /// Its weight in the mean: the carrier's exposure to it, in integer micro-units of one currency.
    pub exposure_micros: u64,
    /// Its latest measurement; none if the KRI was never measured there.
    pub latest: Option<Latest>,
}

/// A tenant's latest measurement. Values can be pooled only where unit and direction are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latest {
    /// The value.
    pub value: KriValue,
    /// Its colour, as recorded when it was measured.
    pub band: Band,
    /// The bands it was judged by.
    pub bands: Bands,
    /// The last instant at which it counts as fresh.
    pub fresh_until: Timestamp,
    /// The value before it, if there was one.
    pub previous: Option<KriValue>,
}

/// How many members have which status; they add up to all members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StatusCounts {
    /// Fresh and within appetite.
    pub green: u64,
    /// Fresh and to be watched.
    pub amber: u64,
    /// Fresh and breached.
    pub red: u64,
    /// Measured too long ago.
    pub stale: u64,
    /// Never measured.
    pub missing: u64,
}

/// The member whose fresh value is worst.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Worst<K> {
    /// Who it is; of several equally bad ones the smallest key.
    pub key: K,
    /// The colour of its value.
    pub band: Band,
    /// Its value.
    pub value: KriValue,
}

/// Where the KRI is going.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// In the direction that is better.
    Improving,
    /// Exactly where it was; for a corridor also a move within green.
    Flat,
    /// In the direction that is worse.
    Worsening,
}

/// A rollup's figures. What cannot be computed (a mean of nothing) is `None`, never zero.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statistics<K> {
    /// How many tenants the carrier has here.
    pub members: u64,
    /// How many have which status.
    pub statuses: StatusCounts,
    /// The status most in need of attention; stale and missing outrank amber, red outranks all.
    pub worst_status: Option<KriStatus>,
    /// The fresh value that is worst: by colour first, then by how far it has gone in the bad direction.
    pub worst: Option<Worst<K>>,
    /// Mean of the fresh values weighted by exposure: `Σ exposure·value / Σ exposure`, over the exact sums, rounded
    /// half to even to twelve digits. None if no fresh member has exposure.
    pub weighted_mean: Option<KriValue>,
    /// Middle of the fresh values, unweighted; of an even number, the mean of the two in the middle.
    pub median: Option<KriValue>,
    /// 90th percentile of the fresh values in ascending order, by nearest rank: the smallest value that at least
    /// nine tenths of them do not exceed. Always a value that was measured, whatever the direction of the KRI.
    pub p90: Option<KriValue>,
    /// Stale members by all members.
    pub stale_share: Option<KriValue>,
    /// Fresh members by all members.
    pub coverage: Option<KriValue>,
    /// The weighted mean against that of the values before, over the fresh members that have both, so that a
    /// tenant that joins or leaves is no trend.
    pub trend: Option<Trend>,
}

/// Computes the figures at `at`.
#[must_use]
pub fn statistics<K: Ord + Clone>(members: &[Member<K>], at: Timestamp) -> Statistics<K> {
    let fresh: Vec<Fresh<'_, K>> = members
        .iter()
        .filter_map(|member| Fresh::of(member, at))
        .collect();
    let statuses = count(members, at);
    let values = sorted_values(&fresh);
    Statistics {
        members: members.len() as u64,
        statuses,
        worst_status: worst(members.iter().map(|member| member.status_at(at))),
        worst: worst_value(&fresh),
        weighted_mean: weighted_mean(&fresh),
        median: median(&values),
        p90: nearest_rank(&values, 90).copied(),
        stale_share: share(statuses.stale, members.len()),
        coverage: share(fresh.len() as u64, members.len()),
        trend: trend(&fresh),
    }
}

impl<K> Member<K> {
    /// This member's status at `at`.
    #[must_use]
    pub fn status_at(&self, at: Timestamp) -> KriStatus {
        self.latest.as_ref().map_or(KriStatus::Missing, |latest| {
            status_at(latest.band, latest.fresh_until, at)
        })
    }
}

/// A member whose latest value is fresh.
struct Fresh<'m, K> {
    key: &'m K,
    exposure_micros: u64,
    latest: &'m Latest,
}

impl<'m, K> Fresh<'m, K> {
    fn of(member: &'m Member<K>, at: Timestamp) -> Option<Self> {
        let latest = member.latest.as_ref()?;
        member.status_at(at).is_fresh().then_some(Self {
            key: &member.key,
            exposure_micros: member.exposure_micros,
            latest,
        })
    }

    fn adversity(&self, value: KriValue) -> Exact {
        self.latest.bands.adversity(value)
    }
}

fn count<K>(members: &[Member<K>], at: Timestamp) -> StatusCounts {
    let mut counts = StatusCounts::default();
    for member in members {
        let count = match member.status_at(at) {
            KriStatus::Green => &mut counts.green,
            KriStatus::Amber => &mut counts.amber,
            KriStatus::Red => &mut counts.red,
            KriStatus::Stale => &mut counts.stale,
            KriStatus::Missing => &mut counts.missing,
        };
        *count += 1;
    }
    counts
}

fn worst_value<K: Ord + Clone>(fresh: &[Fresh<'_, K>]) -> Option<Worst<K>> {
    // The key is reversed so that of equally bad members the smallest one is the greatest here.
    let badness = |member: &&Fresh<'_, K>| {
        let adversity = member.adversity(member.latest.value);
        (
            member.latest.band,
            adversity,
            std::cmp::Reverse(member.key.clone()),
        )
    };
    fresh.iter().max_by_key(badness).map(|member| Worst {
        key: member.key.clone(),
        band: member.latest.band,
        value: member.latest.value,
    })
}

fn weighted_mean<K>(fresh: &[Fresh<'_, K>]) -> Option<KriValue> {
    let exposure = fresh
        .iter()
        .map(|member| u128::from(member.exposure_micros))
        .sum();
    let weighted = fresh
        .iter()
        .map(|member| Exact::from(member.latest.value).times(member.exposure_micros));
    // A mean lies between its values, so it always fits a value's digits.
    Exact::sum(weighted).quotient(exposure)?.ok()
}

fn sorted_values<K>(fresh: &[Fresh<'_, K>]) -> Vec<KriValue> {
    let mut values: Vec<KriValue> = fresh.iter().map(|member| member.latest.value).collect();
    values.sort_unstable();
    values
}

fn median(sorted: &[KriValue]) -> Option<KriValue> {
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(sorted.len() / 2 - 1)?;
    Exact::sum([lower.into(), upper.into()]).quotient(2)?.ok()
}

/// The value at rank `⌈percent/100 · n⌉`, counted from 1.
fn nearest_rank(sorted: &[KriValue], percent: usize) -> Option<&KriValue> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?)
}

fn share(part: u64, whole: usize) -> Option<KriValue> {
    // A share lies between 0 and 1, so it always fits a value's digits.
    Exact::from(part).quotient(whole as u128)?.ok()
}

fn trend<K>(fresh: &[Fresh<'_, K>]) -> Option<Trend> {
    let paired: Vec<_> = fresh
        .iter()
        .filter(|member| member.exposure_micros > 0)
        .filter_map(|member| member.latest.previous.map(|previous| (member, previous)))
        .collect();
    if paired.is_empty() {
        return None;
    }
    // Both means have the same divisor, so their exact sums compare as they do.
    let weighted = |member: &Fresh<'_, K>, value| member.adversity(value).times(member.exposure_micros);
    let now = Exact::sum(
        paired
            .iter()
            .map(|(member, _)| weighted(member, member.latest.value)),
    );
    let before = Exact::sum(
        paired
            .iter()
            .map(|(member, previous)| weighted(member, *previous)),
    );
    Some(match now.cmp(&before) {
        std::cmp::Ordering::Less => Trend::Improving,
        std::cmp::Ordering::Equal => Trend::Flat,
        std::cmp::Ordering::Greater => Trend::Worsening,
    })
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
