//! Laws and examples of bands.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn value(text: &str) -> KriValue {
    text.parse().unwrap()
}

fn thresholds(amber: &str, red: &str) -> Thresholds {
    Thresholds {
        amber: value(amber),
        red: value(red),
    }
}

fn two_sided() -> Bands {
    Bands::new(
        Direction::TwoSided,
        Some(thresholds("-5", "-10")),
        Some(thresholds("5", "10")),
    )
    .unwrap()
}

#[test]
fn a_threshold_belongs_to_the_worse_side() {
    let upper = Bands::new(Direction::HigherIsWorse, None, Some(thresholds("5", "10"))).unwrap();
    for (text, band) in [
        ("-1", Band::Green),
        ("4.9999", Band::Green),
        ("5", Band::Amber),
        ("9.9999", Band::Amber),
        ("10", Band::Red),
        ("1e27", Band::Red),
    ] {
        assert_eq!(upper.band(value(text)), band, "{text}");
    }
    let lower = Bands::new(Direction::LowerIsWorse, Some(thresholds("95", "90")), None).unwrap();
    for (text, band) in [
        ("95.01", Band::Green),
        ("95", Band::Amber),
        ("90.01", Band::Amber),
        ("90", Band::Red),
    ] {
        assert_eq!(lower.band(value(text)), band, "{text}");
    }
    for (text, band) in [
        ("0", Band::Green),
        ("5", Band::Amber),
        ("-5", Band::Amber),
        ("10", Band::Red),
        ("-10", Band::Red),
    ] {
        assert_eq!(two_sided().band(value(text)), band, "{text}");
    }
}

#[test]
fn bands_that_overlap_or_leave_a_gap_are_refused_by_the_name_of_the_bound() {
    let ordered = Some(thresholds("5", "10"));
    let low = Some(thresholds("-5", "-10"));
    for (direction, lower, upper, text) in [
        (
            Direction::HigherIsWorse,
            None,
            None,
            "direction higher_is_worse needs upper.amber and upper.red",
        ),
        (
            Direction::LowerIsWorse,
            None,
            ordered,
            "direction lower_is_worse needs lower.amber and lower.red",
        ),
        (
            Direction::TwoSided,
            None,
            ordered,
            "direction two_sided needs lower.amber and lower.red",
        ),
        (
            Direction::TwoSided,
            low,
            None,
            "direction two_sided needs upper.amber and upper.red",
        ),
        (
            Direction::HigherIsWorse,
            low,
            ordered,
            "direction higher_is_worse does not use lower: leave it out, or use two_sided",
        ),
        (
            Direction::LowerIsWorse,
            low,
            ordered,
            "direction lower_is_worse does not use upper: leave it out, or use two_sided",
        ),
        (
            Direction::HigherIsWorse,
            None,
            Some(thresholds("10", "5")),
            "upper.red (5) must be greater than upper.amber (10)",
        ),
        (
            Direction::HigherIsWorse,
            None,
            Some(thresholds("5", "5.0")),
            "upper.red (5) must be greater than upper.amber (5)",
        ),
        (
            Direction::LowerIsWorse,
            Some(thresholds("5", "10")),
            None,
            "lower.red (10) must be less than lower.amber (5)",
        ),
        (
            Direction::TwoSided,
            Some(thresholds("6", "1")),
            ordered,
            "upper.amber (5) must be greater than lower.amber (6)",
        ),
    ] {
        assert_eq!(Bands::new(direction, lower, upper).unwrap_err().to_string(), text);
    }
}

#[test]
fn bands_have_one_wire_form_and_bad_ones_cannot_be_read() {
    insta::assert_snapshot!(
        serde_json::to_string(&two_sided()).unwrap(),
        @r#"{"direction":"two_sided","lower":{"amber":"-5","red":"-10"},"upper":{"amber":"5","red":"10"}}"#
    );
    for text in [
        r#"{"direction":"higher_is_worse","upper":{"amber":"2","red":"1"}}"#,
        r#"{"direction":"higher_is_worse","upper":{"amber":2,"red":"3"}}"#,
        r#"{"direction":"higher_is_worse","upper":{"amber":"1","red":"2"},"middle":{}}"#,
        r#"{"direction":"sideways","upper":{"amber":"1","red":"2"}}"#,
    ] {
        assert!(serde_json::from_str::<Bands>(text).is_err(), "{text}");
    }
}

fn any_bands() -> impl Strategy<Value = Bands> {
    let direction = prop_oneof![
        Just(Direction::HigherIsWorse),
        Just(Direction::LowerIsWorse),
        Just(Direction::TwoSided)
    ];
    (
        direction,
        prop::collection::btree_set(-1000i128..1000, 4),
        0u32..3,
    )
        .prop_map(|(direction, bounds, scale)| {
            let bound: Vec<KriValue> = bounds
                .into_iter()
                .map(|mantissa| KriValue::from_parts(mantissa, scale).unwrap())
                .collect();
            let lower = Thresholds {
                red: bound[0],
                amber: bound[1],
            };
            let upper = Thresholds {
                amber: bound[2],
                red: bound[3],
            };
            match direction {
                Direction::HigherIsWorse => Bands::new(direction, None, Some(upper)),
                Direction::LowerIsWorse => Bands::new(direction, Some(lower), None),
                Direction::TwoSided => Bands::new(direction, Some(lower), Some(upper)),
            }
            .unwrap()
        })
}

fn any_value() -> impl Strategy<Value = KriValue> {
    (-2000i128..2000, 0u32..4).prop_map(|(mantissa, scale)| KriValue::from_parts(mantissa, scale).unwrap())
}

proptest! {
    #[test]
    fn every_set_of_bands_survives_the_wire(bands in any_bands()) {
        let text = serde_json::to_string(&bands).unwrap();
        prop_assert_eq!(serde_json::from_str::<Bands>(&text).unwrap(), bands);
    }

    #[test]
    fn moving_in_the_bad_direction_never_improves_the_colour(bands in any_bands(), a in any_value(), b in any_value()) {
        let (low, high) = (a.min(b), a.max(b));
        match bands.direction() {
            Direction::HigherIsWorse => prop_assert!(bands.band(low) <= bands.band(high)),
            Direction::LowerIsWorse => prop_assert!(bands.band(low) >= bands.band(high)),
            Direction::TwoSided => {
                // Between two values nothing is worse than the worse of them: the colours form one valley.
                let middle = Exact::sum([low.into(), high.into()]).quotient(2).unwrap().unwrap();
                prop_assert!(bands.band(middle) <= bands.band(low).max(bands.band(high)));
            }
        }
    }

    #[test]
    fn the_colour_is_green_exactly_between_the_amber_thresholds(bands in any_bands(), value in any_value()) {
        let below_upper = bands.upper().is_none_or(|upper| value < upper.amber);
        let above_lower = bands.lower().is_none_or(|lower| value > lower.amber);
        prop_assert_eq!(bands.band(value) == Band::Green, below_upper && above_lower);
        let red = bands.upper().is_some_and(|upper| value >= upper.red)
            || bands.lower().is_some_and(|lower| value <= lower.red);
        prop_assert_eq!(bands.band(value) == Band::Red, red);
    }

    #[test]
    fn on_one_side_adversity_grows_with_the_colour(bands in any_bands(), a in any_value(), b in any_value()) {
        prop_assume!(bands.direction() != Direction::TwoSided);
        if bands.adversity(a) <= bands.adversity(b) {
            prop_assert!(bands.band(a) <= bands.band(b));
        }
    }
}
