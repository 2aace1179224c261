//! A look at a policy's brackets before it is parsed. The Rego parser reads a literal first as a comprehension and,
//! when that fails, again as a collection: each level of `[` or `{` doubles the work below it, so a line of forty
//! brackets would occupy a core for years. Here the doublings are added up, and a text over the budget is refused.

use super::error::{Place, PolicyError};

/// Most attempts at a bracket in one policy. Fourteen levels in one place, or hundreds of tests with five levels each;
/// parsing that many takes well under a second.
const ATTEMPTS_MAX: u64 = 1 << 15;

/// Refuses texts that would take too long to parse.
pub(super) fn check_nesting(source: &str) -> Result<(), PolicyError> {
    let mut scan = Scan {
        characters: source.chars().peekable(),
        at: Place::START,
    };
    let (mut depth, mut attempts) = (0_u32, 0_u64);
    loop {
        let at = scan.at;
        match scan.next_outside_text() {
            None => return Ok(()),
            Some('[' | '{') => {
                depth += 1;
                attempts = attempts.saturating_add(1_u64.checked_shl(depth).unwrap_or(u64::MAX));
            }
            Some(']' | '}') => depth = depth.saturating_sub(1),
            Some(_) => {}
        }
        if attempts > ATTEMPTS_MAX {
            let reason =
                "brackets nest too deeply up to here: give inner parts rules of their own".to_owned();
            return Err(PolicyError::Contract { at, reason });
        }
    }
}

/// Reads characters, skipping strings and comments.
struct Scan<'a> {
    characters: std::iter::Peekable<std::str::Chars<'a>>,
    at: Place,
}

impl Scan<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.characters.next()?;
        self.at = match character {
            '\n' => Place {
                line: self.at.line + 1,
                column: 1,
            },
            _ => Place {
                line: self.at.line,
                column: self.at.column + 1,
            },
        };
        Some(character)
    }

    /// The next character; a string or comment counts as the one that opens it.
    fn next_outside_text(&mut self) -> Option<char> {
        let character = self.next()?;
        match character {
            '#' => self.skip_line(),
            '"' => self.skip_string(),
            '`' => while self.next().is_some_and(|c| c != '`') {},
            _ => {}
        }
        Some(character)
    }

    fn skip_line(&mut self) {
        while self.characters.peek().is_some_and(|c| *c != '\n') {
            self.next();
        }
    }

    /// A string ends at its quote; one that never ends is cut at the line's end, as the parser does.
    fn skip_string(&mut self) {
        while let Some(character) = self.characters.peek() {
            match character {
                '\n' => return,
                '\\' => {
                    self.next();
                    self.next();
                }
                '"' => {
                    self.next();
                    return;
                }
                _ => {
                    self.next();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_people_write_passes() {
        let test = "test_x if {\n decision.allow with input as {\"a\": {\"b\": [{\"c\": 1}]}}\n}\n";
        check_nesting(&test.repeat(500)).unwrap();
    }

    #[test]
    fn deep_brackets_are_refused_where_they_get_too_deep() {
        let error = check_nesting(&format!("x := \n{}", "[".repeat(40))).unwrap_err();
        assert_eq!(error.place(), Some(Place { line: 2, column: 15 }));
        assert!(check_nesting(&"{[".repeat(20)).is_err());
    }

    #[test]
    fn many_brackets_that_are_moderately_deep_add_up() {
        let literal = format!("x := {}{}\n", "[".repeat(9), "]".repeat(9));
        check_nesting(&literal).unwrap();
        assert!(check_nesting(&literal.repeat(40)).is_err());
    }

    #[test]
    fn brackets_in_texts_and_comments_do_not_count_and_do_not_hide_others() {
        let brackets = "[".repeat(60);
        for hidden in [
            format!("\"{brackets}\""),
            format!("`{brackets}\n\"`"),
            format!("# {brackets}"),
            format!("\"\\\"{brackets}\""),
        ] {
            check_nesting(&hidden).unwrap();
            assert!(
                check_nesting(&format!("{hidden}\n{brackets}")).is_err(),
                "{hidden}"
            );
        }
        assert!(check_nesting(&format!("\"open\n{brackets}")).is_err());
    }
}
