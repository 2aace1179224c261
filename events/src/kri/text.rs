//! Business texts of KRIs: units, column names, filter values, addresses. They stand in events, so they are short.

use crate::text::{business, named, text_newtype};

text_newtype!(
    /// What a value counts: `share of settlements`, `hours`, `EUR`. For people; nothing is converted.
    Unit, |text| business("a unit", text, 40), { "minLength": 1, "maxLength": 40 }
);
text_newtype!(
    /// A column's heading in a CSV document.
    ColumnName, |text| business("a column name", text, 100), { "minLength": 1, "maxLength": 100 }
);
text_newtype!(
    /// The text that a row must hold in the filtered column to be counted.
    FilterValue, |text| business("a filter value", text, 200), { "minLength": 1, "maxLength": 200 }
);
text_newtype!(
    /// Where a document is fetched from. Only its length and alphabet are judged here; whether it may be fetched is
    /// the network guard's decision, at definition and again at each fetch.
    SourceUrl, |text| named("a URL", text, 2_000, "ASCII without spaces, other characters as %41", is_url_byte),
    { "format": "uri", "minLength": 1, "maxLength": 2000, "pattern": "^[!-~]*$" }
);

const fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::text::TextError;

    #[test]
    fn a_unit_may_be_any_short_text_of_one_line() {
        for text in ["%", "hours", "€ per day", "件"] {
            assert_eq!(text.parse::<Unit>().unwrap().as_str(), text);
        }
        for bad in ["", " ", "a\0b", "a\nb", &"x".repeat(41)] {
            assert!(bad.parse::<Unit>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_person_is_no_filter() {
        let what = "a filter value";
        assert_eq!(
            "ada@example.org".parse::<FilterValue>(),
            Err(TextError::Personal { what })
        );
    }

    #[test]
    fn a_url_is_printable_ascii() {
        assert!("https://example.org/a?b=%20#c".parse::<SourceUrl>().is_ok());
        for bad in [
            "",
            "http://a b/",
            "http://ex\u{e4}mple.org/",
            "http://a/\0",
            "http://a/\n",
        ] {
            assert!(bad.parse::<SourceUrl>().is_err(), "{bad:?}");
        }
    }
}
