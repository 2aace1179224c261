//! Text that may stand in events: declared business text, and names in a fixed alphabet.
//!
//! Envelopes hold no content and no personal data; so there is no plain `String` in an event. Free text is
//! business text with a limit ([`Name`], [`Purpose`], [`Owner`]): trimmed, one line, without control or
//! direction-changing characters, and refused when it holds an e-mail address. Everything else is a name of lower
//! entropy ([`Code`], [`ModelName`], [`ToolScope`]).

use std::borrow::Cow;

/// Why a text cannot stand in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("{what} is empty: give it 1 to {limit} characters")]
    Empty {
        /// What the text is.
        what: &'static str,
        /// Most characters.
        limit: usize,
    },
    /// Over the limit.
    #[error("{what} has {chars} characters; at most {limit} are kept: shorten it")]
    TooLong {
        /// What the text is.
        what: &'static str,
        /// How many it has.
        chars: usize,
        /// Most characters.
        limit: usize,
    },
    /// A character outside of what this text may hold.
    #[error("{what} has a character at place {place} that it may not have: use {allowed}")]
    Character {
        /// What the text is.
        what: &'static str,
        /// Which character, from 1.
        place: usize,
        /// What it may have.
        allowed: &'static str,
    },
    /// An e-mail address: personal data has no place in the log.
    #[error("{what} holds an e-mail address: name a team or a role, since the log keeps no personal data")]
    Personal {
        /// What the text is.
        what: &'static str,
    },
}

/// A JSON Schema for a type that is a string in events.
macro_rules! string_schema {
    ($name:ident, { $($keywords:tt)* }) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", $($keywords)* })
            }
        }
    };
}
pub(crate) use string_schema;

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:expr, $schema:tt) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::TextError;

            fn from_str(text: &str) -> Result<Self, $crate::text::TextError> {
                let check: fn(&str) -> Result<&str, $crate::text::TextError> = $check;
                check(text).map(|text| Self(text.to_owned().into()))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::ids::deserialize_text(deserializer)
            }
        }

        $crate::text::string_schema!($name, $schema);
    };
}
pub(crate) use text_newtype;

text_newtype!(
    /// What people call something: 1 to 120 characters.
    Name, |text| business("a name", text, 120), { "minLength": 1, "maxLength": 120 }
);
text_newtype!(
    /// What something is for: 1 to 500 characters.
    Purpose, |text| business("a purpose", text, 500), { "minLength": 1, "maxLength": 500 }
);
text_newtype!(
    /// The team or role that answers for something, never a person: 1 to 120 characters.
    Owner, |text| business("an owner", text, 120), { "minLength": 1, "maxLength": 120 }
);
text_newtype!(
    /// A stable short name: `[a-z0-9_.-]{1,64}`.
    Code, |text| named("a code", text, 64, "a-z 0-9 _ . -", is_code_byte),
    { "pattern": "^[a-z0-9_.-]{1,64}$" }
);
text_newtype!(
    /// The name of a model, as its provider spells it: `[A-Za-z0-9._:/@+-]{1,128}`.
    ModelName, |text| named("a model name", text, 128, "A-Z a-z 0-9 . _ : / @ + -", is_model_byte),
    { "pattern": "^[A-Za-z0-9._:/@+-]{1,128}$" }
);
text_newtype!(
    /// What a tool may be used for, such as `crm.contacts:read`: `[A-Za-z0-9._:/*-]{1,128}`.
    ToolScope, |text| named("a tool scope", text, 128, "A-Z a-z 0-9 . _ : / * -", is_scope_byte),
    { "pattern": "^[A-Za-z0-9._:/*-]{1,128}$" }
);

impl Code {
    /// A code written in the source; in a `const`, a wrong one does not compile.
    ///
    /// # Panics
    /// When it is not of a code's alphabet or length.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= 64,
            "a code has 1 to 64 characters"
        );
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_code_byte(bytes[at]), "a code has only a-z 0-9 _ . -");
            at += 1;
        }
        Self(Cow::Borrowed(text))
    }
}

const fn is_code_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-')
}

const fn is_model_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'@' | b'+' | b'-')
}

const fn is_scope_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'*' | b'-')
}

pub(crate) fn named<'t>(
    what: &'static str,
    text: &'t str,
    limit: usize,
    allowed: &'static str,
    holds: fn(u8) -> bool,
) -> Result<&'t str, TextError> {
    within(what, text, limit)?;
    match text.chars().position(|c| !u8::try_from(c).is_ok_and(holds)) {
        Some(before) => Err(TextError::Character {
            what,
            place: before + 1,
            allowed,
        }),
        None => Ok(text),
    }
}

pub(crate) fn business<'t>(what: &'static str, text: &'t str, limit: usize) -> Result<&'t str, TextError> {
    let text = text.trim();
    within(what, text, limit)?;
    if let Some(before) = text.chars().position(is_unfit) {
        return Err(TextError::Character {
            what,
            place: before + 1,
            allowed: "one line without control characters",
        });
    }
    if text.split_whitespace().any(looks_like_email) {
        return Err(TextError::Personal { what });
    }
    Ok(text)
}

fn within(what: &'static str, text: &str, limit: usize) -> Result<(), TextError> {
    match text.chars().count() {
        0 => Err(TextError::Empty { what, limit }),
        chars if chars > limit => Err(TextError::TooLong { what, chars, limit }),
        _ => Ok(()),
    }
}

/// Control characters (U+0000 among them), line separators, and what is not seen or turns the reading direction
/// (UAX 9): these make a text look like another one on an auditor's screen. Joiners stay, since scripts need them.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn looks_like_email(word: &str) -> bool {
    word.split_once('@').is_some_and(|(local, domain)| {
        let domain = domain.trim_end_matches(|c: char| !c.is_alphanumeric());
        !local.is_empty()
            && domain
                .split_once('.')
                .is_some_and(|(host, rest)| !host.is_empty() && !rest.is_empty())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_counted_in_characters() {
        assert_eq!("  Zürich Re \n".parse::<Name>().unwrap().as_str(), "Zürich Re");
        assert_eq!(
            "é".repeat(120).parse::<Name>().unwrap().as_str().chars().count(),
            120
        );
        let error = "é".repeat(121).parse::<Name>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a name has 121 characters; at most 120 are kept: shorten it"
        );
        assert!(matches!(
            " \t ".parse::<Name>(),
            Err(TextError::Empty { limit: 120, .. })
        ));
    }

    #[test]
    fn a_name_has_no_character_that_hides_or_breaks() {
        for bad in [
            "a\0b",
            "a\nb",
            "a\u{7f}b",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{85}b",
            "a\u{200b}b",
            "a\u{e0041}b",
        ] {
            let error = bad.parse::<Name>().unwrap_err();
            assert!(
                matches!(error, TextError::Character { place: 2, .. }),
                "{bad:?}: {error}"
            );
        }
    }

    #[test]
    fn business_text_with_an_email_address_is_refused() {
        for personal in [
            "ada@example.org",
            "Ada <ada@example.org>",
            "ask (ada@example.org).",
        ] {
            assert_eq!(
                personal.parse::<Owner>(),
                Err(TextError::Personal { what: "an owner" }),
                "{personal}"
            );
        }
        assert!("Support @ Work v2.1".parse::<Owner>().is_ok());
    }

    #[test]
    fn a_code_has_one_alphabet() {
        assert_eq!(
            "policy.authz-2_x".parse::<Code>().unwrap(),
            Code::literal("policy.authz-2_x")
        );
        for bad in ["", "Policy", "a b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<Code>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_model_name_keeps_its_providers_spelling() {
        for good in [
            "gpt-4.1",
            "meta-llama/Llama-3.1-8B-Instruct",
            "models/x@2026-01-01",
            "qwen2.5:7b",
        ] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        assert!("gpt 4".parse::<ModelName>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_is_within_its_limit_and_reads_back(text in "\\PC{0,130}|[ -~]{0,130}") {
            if let Ok(name) = text.parse::<Name>() {
                proptest::prop_assert!((1..=120).contains(&name.as_str().chars().count()));
                let wire = serde_json::to_string(&name).unwrap();
                proptest::prop_assert_eq!(serde_json::from_str::<Name>(&wire).unwrap(), name);
            }
            if let Ok(code) = text.parse::<Code>() {
                proptest::prop_assert_eq!(code.as_str(), text.as_str());
            }
        }
    }
}
