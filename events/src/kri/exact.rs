//! Exact arithmetic over measured values: sums that never round, so that their order does not matter.
//!
//! A decimal of 28 digits has no room for the sum of two, and rounding at each step would make a rollup
//! depend on the order of its members. So sums are whole numbers of 10⁻²⁸ without a limit, and rounding happens
//! once, at the end, in [`Exact::quotient`]: half to even, to 12 digits after the point, or to as many fewer as
//! the 28 digits of a [`KriValue`] leave room for.

use num_bigint::BigInt;
use num_bigint::Sign;

use super::value::{KriValue, MAX_DIGITS, ValueError};

/// Digits after the point that a division keeps. Shares of a billion events still differ at the last of them.
pub const QUOTIENT_DIGITS: usize = 12;

/// A sum, difference or product of values, exactly.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Exact(BigInt);

impl Exact {
    /// The sum of `terms`.
    pub fn sum(terms: impl IntoIterator<Item = Self>) -> Self {
        Self(terms.into_iter().map(|term| term.0).sum())
    }

    /// This many times over.
    #[must_use]
    pub fn times(&self, factor: u64) -> Self {
        Self(&self.0 * factor)
    }

    /// The sum `self + other`.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self(&self.0 + &other.0)
    }

    /// The difference `self − other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self(&self.0 - &other.0)
    }

    /// The value itself, when it needs no rounding.
    ///
    /// # Errors
    /// When it does not fit the digits of a [`KriValue`].
    pub fn value(&self) -> Result<KriValue, ValueError> {
        parse(&spell(&self.0, MAX_DIGITS))
    }

    /// `self / divisor`, rounded as this module says; `None` for a division by zero.
    ///
    /// # Errors
    /// When the whole part alone has more digits than a [`KriValue`]. A mean of values never does.
    pub fn quotient(&self, divisor: u128) -> Option<Result<KriValue, ValueError>> {
        if divisor == 0 {
            return None;
        }
        let whole = &self.0 / divisor / power_of_ten(MAX_DIGITS);
        let whole_digits = digits(&whole);
        if whole_digits > MAX_DIGITS {
            return Some(Err(ValueError::OutOfRange));
        }
        let kept = QUOTIENT_DIGITS.min(MAX_DIGITS - whole_digits);
        let unit = power_of_ten(MAX_DIGITS - kept) * divisor;
        Some(parse(&spell(&divide_half_even(&self.0, &unit), kept)))
    }
}

impl From<KriValue> for Exact {
    fn from(value: KriValue) -> Self {
        let decimal = value.decimal();
        // The scale of a value is at most MAX_DIGITS.
        let missing = MAX_DIGITS - decimal.scale() as usize;
        Self(BigInt::from(decimal.mantissa()) * power_of_ten(missing))
    }
}

impl From<u64> for Exact {
    fn from(number: u64) -> Self {
        Self(BigInt::from(number) * power_of_ten(MAX_DIGITS))
    }
}

fn power_of_ten(exponent: usize) -> BigInt {
    // Called with at most MAX_DIGITS, and 10^28 < 2^127.
    BigInt::from(10u128.pow(u32::try_from(exponent).unwrap_or(0)))
}

/// How many digits a whole number has; zero has none.
fn digits(number: &BigInt) -> usize {
    match number.sign() {
        Sign::NoSign => 0,
        Sign::Plus | Sign::Minus => number.magnitude().to_string().len(),
    }
}

/// `number × 10^-scale` as text.
fn spell(number: &BigInt, scale: usize) -> String {
    let digits = number.magnitude().to_string();
    let sign = if number.sign() == Sign::Minus { "-" } else { "" };
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// Reads our own spelling back: whatever is too long to be read has too many digits.
fn parse(spelled: &str) -> Result<KriValue, ValueError> {
    spelled.parse().map_err(|error| match error {
        ValueError::TooLong { .. } => ValueError::OutOfRange,
        other => other,
    })
}

/// IEEE 754's default rounding: to the nearest, a tie to the even neighbour, so that ties do not drift upwards.
fn divide_half_even(number: &BigInt, unit: &BigInt) -> BigInt {
    let whole = number / unit;
    let rest = (number - &whole * unit).magnitude() * 2u8;
    let away = match rest.cmp(unit.magnitude()) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole.bit(0),
        std::cmp::Ordering::Greater => true,
    };
    match (away, number.sign()) {
        (false, _) => whole,
        (true, Sign::Minus) => whole - 1,
        (true, _) => whole + 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn exact(text: &str) -> Exact {
        text.parse::<KriValue>().unwrap().into()
    }

    fn quotient(text: &str, divisor: u128) -> String {
        exact(text).quotient(divisor).unwrap().unwrap().to_string()
    }

    #[test]
    fn a_quotient_is_rounded_half_to_even_at_the_twelfth_digit() {
        assert_eq!(quotient("1", 3), "0.333333333333");
        assert_eq!(quotient("2", 3), "0.666666666667");
        assert_eq!(quotient("-2", 3), "-0.666666666667");
        assert_eq!(quotient("0.000000000001", 2), "0");
        assert_eq!(quotient("0.000000000003", 2), "0.000000000002");
        assert_eq!(quotient("-0.000000000001", 2), "0");
        assert_eq!(quotient("-0.000000000003", 2), "-0.000000000002");
        assert_eq!(quotient("0.0000000000010000000000000001", 2), "0.000000000001");
        assert_eq!(quotient("10", 4), "2.5");
    }

    #[test]
    fn a_large_quotient_keeps_fewer_digits_after_the_point() {
        assert_eq!(
            quotient("99999999999999999999.11111111", 1),
            "99999999999999999999.11111111"
        );
        assert_eq!(
            quotient("9999999999999999999999999999", 1),
            "9999999999999999999999999999"
        );
        assert_eq!(
            quotient("9999999999999999999999999999", 10),
            "999999999999999999999999999.9"
        );
    }

    #[test]
    fn dividing_by_zero_has_no_value() {
        assert_eq!(exact("1").quotient(0), None);
    }

    #[test]
    fn a_sum_that_no_longer_fits_is_an_error_and_not_a_rounded_number() {
        let large = exact("9999999999999999999999999999");
        let sum = Exact::sum([large.clone(), exact("1")]);
        assert_eq!(sum.value(), Err(ValueError::OutOfRange));
        assert_eq!(
            Exact::sum([large, exact("0.1")]).value(),
            Err(ValueError::TooManyDigits)
        );
        assert_eq!(
            sum.minus(&exact("1")).value().unwrap().to_string(),
            "9999999999999999999999999999"
        );
    }

    fn any_value() -> impl Strategy<Value = KriValue> {
        (-10i128.pow(28) + 1..10i128.pow(28), 0u32..=28)
            .prop_map(|(m, s)| KriValue::from_parts(m, s).unwrap())
    }

    proptest! {
        #[test]
        fn a_value_comes_back_unchanged(value in any_value()) {
            prop_assert_eq!(Exact::from(value).value(), Ok(value));
        }

        #[test]
        fn exact_order_is_the_order_of_values(a in any_value(), b in any_value()) {
            prop_assert_eq!(Exact::from(a).cmp(&Exact::from(b)), a.cmp(&b));
        }

        #[test]
        fn a_mean_lies_between_the_extremes_up_to_the_last_kept_digit(values in prop::collection::vec(any_value(), 1..20)) {
            let sum = Exact::sum(values.iter().copied().map(Exact::from));
            let mean = Exact::from(sum.quotient(values.len() as u128).unwrap().unwrap());
            let ulp = exact("0.000000000001");
            let low = Exact::from(*values.iter().min().unwrap());
            let high = Exact::from(*values.iter().max().unwrap());
            prop_assert!(mean >= low.minus(&ulp) || mean >= low);
            prop_assert!(mean.minus(&ulp) <= high);
        }

        #[test]
        fn a_rounded_quotient_is_within_half_a_unit_of_the_true_one(number in -10i128.pow(15)..10i128.pow(15), divisor in 1u64..u64::MAX) {
            let sum = Exact::from(KriValue::from_parts(number, 0).unwrap());
            let back = Exact::from(sum.quotient(u128::from(divisor)).unwrap().unwrap()).times(divisor);
            let error = if back > sum { back.minus(&sum) } else { sum.minus(&back) };
            prop_assert!(error.times(2) <= exact("0.000000000001").times(divisor));
        }
    }
}
