//! Business texts of KRIs: units, column names, filter values, addresses. They stand in events, so they are short.

use crate::text::{TextError, business, named, text_newtype};

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

text_newtype!(
    /// The header that carries a credential, in lower case: `[a-z][a-z0-9-]{0,63}` and none that HTTP itself, or our own
    /// request, is made of.
    CredentialHeader, credential_header, { "pattern": "^[a-z][a-z0-9-]{0,63}$" }
);

/// Headers that say what a request is, and not who sends it.
const NO_CREDENTIALS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

fn credential_header(text: &str) -> Result<&str, TextError> {
    let what = "a credential's header";
    let allowed = "a-z 0-9 -, a letter first, and no header that HTTP itself is made of";
    let holds = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let name = named(what, text, 64, allowed, holds)?;
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && !NO_CREDENTIALS.contains(&name) {
        return Ok(name);
    }
    Err(TextError::Character {
        what,
        place: 1,
        allowed,
    })
}

const fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

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
