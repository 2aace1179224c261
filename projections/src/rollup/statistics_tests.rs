//! Examples and laws of the rollup's figures.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use chrono::TimeDelta;
use proptest::prelude::*;

use counterfoil_events::kri::bands::{Direction, Thresholds};

use super::*;

fn at() -> Timestamp {
    "2026-06-01T00:00:00.000000Z".parse().unwrap()
}

fn after(time: Timestamp, micros: i64) -> Timestamp {
    (time.as_datetime() + TimeDelta::microseconds(micros)).into()
}

fn value(text: &str) -> KriValue {
    text.parse().unwrap()
}

fn bands(direction: Direction) -> Bands {
    let lower = Thresholds {
        amber: value("-5"),
        red: value("-10"),
    };
    let upper = Thresholds {
        amber: value("5"),
        red: value("10"),
    };
    match direction {
        Direction::HigherIsWorse => Bands::new(direction, None, Some(upper)),
        Direction::LowerIsWorse => Bands::new(direction, Some(lower), None),
        Direction::TwoSided => Bands::new(direction, Some(lower), Some(upper)),
    }
    .unwrap()
}

fn measured(key: u32, exposure_micros: u64, direction: Direction, text: &str) -> Member<u32> {
    let bands = bands(direction);
    Member {
        key,
        exposure_micros,
        latest: Some(Latest {
            value: value(text),
            band: bands.band(value(text)),
            bands,
            fresh_until: at(),
            previous: None,
        }),
    }
}

fn higher(key: u32, exposure_micros: u64, text: &str) -> Member<u32> {
    measured(key, exposure_micros, Direction::HigherIsWorse, text)
}

fn before(mut member: Member<u32>, previous: &str) -> Member<u32> {
    member.latest.as_mut().unwrap().previous = Some(value(previous));
    member
}

fn stale(mut member: Member<u32>) -> Member<u32> {
    member.latest.as_mut().unwrap().fresh_until = after(at(), -1);
    member
}

fn missing(key: u32) -> Member<u32> {
    Member {
        key,
        exposure_micros: 1,
        latest: None,
    }
}

fn text(value: Option<KriValue>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

#[test]
fn a_carrier_without_tenants_has_no_figures_and_no_zeros() {
    let none = statistics::<u32>(&[], at());
    assert_eq!((none.members, none.statuses), (0, StatusCounts::default()));
    assert_eq!((none.worst_status, none.worst, none.trend), (None, None, None));
    for figure in [
        none.weighted_mean,
        none.median,
        none.p90,
        none.stale_share,
        none.coverage,
    ] {
        assert_eq!(figure, None);
    }
}

#[test]
fn each_figure_is_what_its_definition_says() {
    let members = [
        higher(1, 1_000_000, "2"),
        higher(2, 3_000_000, "6"),
        higher(3, 0, "11"),
        stale(higher(4, 9_000_000, "99")),
        missing(5),
        higher(6, 2_000_000, "3"),
    ];
    let rollup = statistics(&members, at());
    let counts = StatusCounts {
        green: 2,
        amber: 1,
        red: 1,
        stale: 1,
        missing: 1,
    };
    assert_eq!((rollup.members, rollup.statuses), (6, counts));
    assert_eq!(rollup.worst_status, Some(KriStatus::Red));
    let worst = Worst {
        key: 3,
        band: Band::Red,
        value: value("11"),
    };
    assert_eq!(rollup.worst, Some(worst));
    // (1·2 + 3·6 + 0·11 + 2·3) / 6
    assert_eq!(text(rollup.weighted_mean), "4.333333333333");
    // 2, 3, 6, 11
    assert_eq!(text(rollup.median), "4.5");
    assert_eq!(text(rollup.p90), "11");
    assert_eq!(text(rollup.stale_share), "0.166666666667");
    assert_eq!(text(rollup.coverage), "0.666666666667");
    assert_eq!(rollup.trend, None);
}

#[test]
fn p90_is_the_nearest_rank() {
    let p90 = |n: u32| {
        let members: Vec<_> = (1..=n).map(|i| higher(i, 1, &i.to_string())).collect();
        text(statistics(&members, at()).p90)
    };
    for (n, expected) in [
        (1, "1"),
        (2, "2"),
        (9, "9"),
        (10, "9"),
        (11, "10"),
        (20, "18"),
        (100, "90"),
    ] {
        assert_eq!(p90(n), expected, "{n} members");
    }
}

#[test]
fn a_stale_value_enters_no_figure_but_is_never_green() {
    let rollup = statistics(&[stale(higher(1, 5, "0")), stale(higher(2, 5, "99"))], at());
    assert_eq!(
        (rollup.weighted_mean, rollup.median, rollup.p90),
        (None, None, None)
    );
    assert_eq!(
        (rollup.worst, rollup.worst_status),
        (None, Some(KriStatus::Stale))
    );
    assert_eq!(rollup.statuses.stale, 2);
    assert_eq!(
        (text(rollup.stale_share), text(rollup.coverage)),
        ("1".to_owned(), "0".to_owned())
    );
}

#[test]
fn the_same_members_go_stale_as_time_passes() {
    let members = [higher(1, 1, "1")];
    assert_eq!(statistics(&members, at()).statuses.green, 1);
    assert_eq!(statistics(&members, after(at(), 1)).statuses.stale, 1);
}

#[test]
fn the_worst_value_follows_the_direction() {
    let worst = |direction, values: [&str; 3]| {
        let members = [0, 1, 2].map(|i| measured(i as u32, 1, direction, values[i]));
        statistics(&members, at()).worst.unwrap().value.to_string()
    };
    assert_eq!(worst(Direction::HigherIsWorse, ["1", "3", "-2"]), "3");
    assert_eq!(worst(Direction::LowerIsWorse, ["1", "3", "-2"]), "-2");
    assert_eq!(worst(Direction::TwoSided, ["6", "-7", "4"]), "-7");
    assert_eq!(worst(Direction::TwoSided, ["20", "-12", "4"]), "20");
}

#[test]
fn of_equally_bad_members_the_smallest_key_is_named() {
    let members = [higher(7, 1, "12"), higher(3, 1, "12.0"), higher(5, 1, "12")];
    assert_eq!(statistics(&members, at()).worst.unwrap().key, 3);
}

#[test]
fn the_trend_is_read_in_the_direction_of_the_kri() {
    let trend = |direction, previous: &str, now: &str| {
        statistics(&[before(measured(1, 1, direction, now), previous)], at())
            .trend
            .unwrap()
    };
    assert_eq!(trend(Direction::HigherIsWorse, "3", "2"), Trend::Improving);
    assert_eq!(trend(Direction::HigherIsWorse, "2", "3"), Trend::Worsening);
    assert_eq!(trend(Direction::HigherIsWorse, "2", "2.0"), Trend::Flat);
    assert_eq!(trend(Direction::LowerIsWorse, "3", "2"), Trend::Worsening);
    assert_eq!(trend(Direction::LowerIsWorse, "2", "3"), Trend::Improving);
    assert_eq!(trend(Direction::TwoSided, "-8", "7"), Trend::Improving);
    assert_eq!(trend(Direction::TwoSided, "6", "-7"), Trend::Worsening);
    assert_eq!(trend(Direction::TwoSided, "-4", "4"), Trend::Flat);
}

#[test]
fn the_trend_weighs_by_exposure_and_leaves_out_who_has_no_past() {
    let members = [
        before(higher(1, 10, "2"), "1"),
        before(higher(2, 1, "1"), "9"),
        higher(3, 1_000, "0"),
        stale(before(higher(4, 1_000, "0"), "9")),
    ];
    assert_eq!(statistics(&members, at()).trend, Some(Trend::Worsening));
}

#[test]
fn without_exposure_there_is_no_weighted_mean_and_no_trend() {
    let rollup = statistics(
        &[before(higher(1, 0, "1"), "2"), before(higher(2, 0, "3"), "2")],
        at(),
    );
    assert_eq!((rollup.weighted_mean, rollup.trend), (None, None));
    assert_eq!(text(rollup.median), "2");
}

#[test]
fn the_largest_values_and_exposures_do_not_overflow() {
    let largest = "9999999999999999999999999999";
    let members: Vec<_> = (0..100)
        .map(|i| before(higher(i, u64::MAX, largest), &format!("-{largest}")))
        .collect();
    let rollup = statistics(&members, at());
    assert_eq!(text(rollup.weighted_mean), largest);
    assert_eq!(text(rollup.median), largest);
    assert_eq!(rollup.trend, Some(Trend::Worsening));
}

fn any_member(key: u32) -> impl Strategy<Value = Member<u32>> {
    let latest = (-40i128..40, 0u32..3, prop::option::of(-40i128..40), any::<bool>());
    (0u64..5, prop::option::of(latest), 0usize..3).prop_map(move |(exposure, latest, direction)| {
        let direction = [
            Direction::HigherIsWorse,
            Direction::LowerIsWorse,
            Direction::TwoSided,
        ][direction];
        let Some((mantissa, scale, previous, old)) = latest else {
            return missing(key);
        };
        let number = KriValue::from_parts(mantissa, scale).unwrap();
        let mut member = measured(key, exposure * 1_000_003, direction, &number.to_string());
        if let Some(previous) = previous {
            member = before(member, &previous.to_string());
        }
        if old { stale(member) } else { member }
    })
}

fn any_members() -> impl Strategy<Value = Vec<Member<u32>>> {
    (0u32..12).prop_flat_map(|n| (0..n).map(any_member).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn any_order_of_the_members_gives_the_same_figures(
        (members, shuffled) in any_members().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle()))
    ) {
        prop_assert_eq!(statistics(&members, at()), statistics(&shuffled, at()));
    }

    #[test]
    fn every_member_is_counted_once(members in any_members()) {
        let rollup = statistics(&members, at());
        let StatusCounts { green, amber, red, stale, missing } = rollup.statuses;
        prop_assert_eq!(green + amber + red + stale + missing, rollup.members);
        prop_assert_eq!(rollup.median.is_some(), green + amber + red > 0);
    }

    #[test]
    fn figures_of_values_stand_on_fresh_members_only(members in any_members()) {
        let fresh: Vec<_> = members.iter().filter(|m| m.status_at(at()).is_fresh()).cloned().collect();
        let (all, only) = (statistics(&members, at()), statistics(&fresh, at()));
        prop_assert_eq!(
            (all.weighted_mean, all.median, all.p90, all.worst, all.trend),
            (only.weighted_mean, only.median, only.p90, only.worst, only.trend)
        );
    }

    #[test]
    fn equal_exposures_weigh_as_none_do(members in any_members(), exposure in 1u64..) {
        let mut members = members;
        members.iter_mut().for_each(|member| member.exposure_micros = exposure);
        let rollup = statistics(&members, at());
        members.iter_mut().for_each(|member| member.exposure_micros = 1);
        prop_assert_eq!(rollup, statistics(&members, at()));
    }

    #[test]
    fn mean_median_and_p90_lie_among_the_fresh_values(members in any_members()) {
        let rollup = statistics(&members, at());
        let values = members.iter().filter(|m| m.status_at(at()).is_fresh()).map(|m| m.latest.unwrap().value);
        let (low, high) = (values.clone().min(), values.max());
        // At most two digits after the point: rounding at the twelfth cannot leave the range.
        for figure in [rollup.weighted_mean, rollup.median, rollup.p90].into_iter().flatten() {
            prop_assert!(Some(figure) >= low && Some(figure) <= high);
        }
        prop_assert!(rollup.p90 >= rollup.median);
    }
}
