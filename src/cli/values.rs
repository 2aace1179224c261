//! Values of arguments that clap would refuse in the words of Rust's parsers: here they say what was expected.

use std::ops::{Bound, RangeBounds};
use std::str::FromStr;

/// A whole number in this range.
pub(super) fn whole<T: FromStr>(
    range: impl RangeBounds<u64> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
        let number = number.and_then(|_| text.parse().ok());
        number.ok_or_else(|| expected(&range))
    }
}

fn expected(range: &impl RangeBounds<u64>) -> String {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    match range.end_bound() {
        Bound::Included(to) => format!("expected a whole number from {from} to {to}"),
        Bound::Excluded(end) => format!("expected a whole number from {from} to {}", end - 1),
        Bound::Unbounded => format!("expected a whole number from {from} on"),
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn what_is_no_such_number_is_refused_in_words() {
        let port = whole::<u16>(0..=65_535);
        assert_eq!(port("8080"), Ok(8080));
        for wrong in ["", "x", "-1", "1.5", "65536"] {
            let expected = Err("expected a whole number from 0 to 65535".to_owned());
            assert_eq!(port(wrong), expected, "{wrong}");
        }
        let position = whole::<u64>(1..);
        assert_eq!(position("0"), Err("expected a whole number from 1 on".to_owned()));
        let beyond = u64::MAX.to_string();
        assert_eq!(whole::<usize>(1..)(&beyond), Ok(usize::MAX));
    }
}
