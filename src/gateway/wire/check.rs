//! Typed access to a request's fields, with OpenAI's error messages and codes when one does not fit.
//!
//! `param` names the JSON path (`messages[2].tool_calls[0].id`). Messages say what was expected and what
//! kind of value came, never the value: it may hold what must not be repeated.

use std::fmt;
use std::ops::RangeInclusive;

use super::error::ApiError;
use super::node::Node;

/// Where a value stands. Borrowed from the stack, so that only errors cost an allocation.
#[derive(Clone, Copy)]
pub enum Path<'p> {
    /// The document itself.
    Root,
    /// A member.
    Key(&'p Path<'p>, &'p str),
    /// An item.
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// 400: a value of another kind was expected here.
    #[must_use]
    pub fn wrong_type(&self, expected: &str, found: &Node<'_>) -> ApiError {
        let found = found.kind();
        let message = format!("Invalid type for '{self}': expected {expected}, but got {found} instead.");
        ApiError::invalid(self.to_string(), "invalid_type", message)
    }

    /// 400: required and absent.
    #[must_use]
    pub fn missing(&self) -> ApiError {
        let message = format!("Missing required parameter: '{self}'.");
        ApiError::invalid(self.to_string(), "missing_required_parameter", message)
    }

    /// 400: the right kind, but not a value that is known here.
    #[must_use]
    pub fn not_one_of(&self, allowed: &[&str]) -> ApiError {
        let allowed: Vec<String> = allowed.iter().map(|value| format!("'{value}'")).collect();
        let message = format!(
            "Invalid value for '{self}'. Supported values are: {}.",
            allowed.join(", ")
        );
        ApiError::invalid(self.to_string(), "invalid_value", message)
    }

    /// 400 with a code and a sentence of its own.
    #[must_use]
    pub fn refuse(&self, code: &'static str, what: impl fmt::Display) -> ApiError {
        ApiError::invalid(self.to_string(), code, format!("Invalid '{self}': {what}"))
    }
}

/// An object under inspection.
#[derive(Clone, Copy)]
pub struct Object<'n, 'p> {
    node: &'n Node<'n>,
    /// Where it stands.
    pub path: &'p Path<'p>,
}

impl<'n, 'p> Object<'n, 'p> {
    /// The value as an object.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn of(node: &'n Node<'n>, path: &'p Path<'p>) -> Result<Self, ApiError> {
        match node {
            Node::Object(_) => Ok(Self { node, path }),
            other => Err(path.wrong_type("an object", other)),
        }
    }

    /// The member, null taken for absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Node<'n>> {
        self.node.get(key)
    }

    /// Members in order.
    #[must_use]
    pub fn members(&self) -> &'n [(std::borrow::Cow<'n, str>, Node<'n>)] {
        if let Node::Object(members) = self.node {
            members
        } else {
            &[]
        }
    }

    /// The member, or 400 when it is absent.
    ///
    /// # Errors
    /// 400 `missing_required_parameter`.
    pub fn require(&self, key: &str) -> Result<&'n Node<'n>, ApiError> {
        self.get(key).ok_or_else(|| Path::Key(self.path, key).missing())
    }

    /// A string of at most so many characters.
    ///
    /// # Errors
    /// 400 for another type or a longer string.
    pub fn text(&self, key: &str, max_chars: usize) -> Result<Option<&'n str>, ApiError> {
        let path = Path::Key(self.path, key);
        let Some(node) = self.get(key) else {
            return Ok(None);
        };
        let text = node.as_text().ok_or_else(|| path.wrong_type("a string", node))?;
        // Bytes first: a string with few enough bytes has few enough characters.
        if text.len() > max_chars && text.chars().count() > max_chars {
            let what = format!("string too long. Expected a string with maximum length {max_chars}.");
            return Err(path.refuse("string_above_max_length", what));
        }
        Ok(Some(text))
    }

    /// A string that must be there and not empty.
    ///
    /// # Errors
    /// 400 when absent, empty, too long or of another type.
    pub fn required_text(&self, key: &str, max_chars: usize) -> Result<&'n str, ApiError> {
        let path = Path::Key(self.path, key);
        match self.text(key, max_chars)? {
            None => Err(path.missing()),
            Some("") => {
                let what = "empty string. Expected a string with minimum length 1.";
                Err(path.refuse("empty_string", what))
            }
            Some(text) => Ok(text),
        }
    }

    /// A string from a closed list.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn one_of(&self, key: &str, allowed: &[&str]) -> Result<Option<&'n str>, ApiError> {
        let Some(text) = self.text(key, usize::MAX)? else {
            return Ok(None);
        };
        if allowed.contains(&text) {
            Ok(Some(text))
        } else {
            Err(Path::Key(self.path, key).not_one_of(allowed))
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// 400 for another type.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.get(key) {
            None => Ok(None),
            Some(Node::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(Path::Key(self.path, key).wrong_type("a boolean", other)),
        }
    }

    /// A whole number within limits.
    ///
    /// # Errors
    /// 400 for another type or out of range.
    pub fn integer(&self, key: &str, range: RangeInclusive<i128>) -> Result<Option<i128>, ApiError> {
        let path = Path::Key(self.path, key);
        match self.get(key) {
            None => Ok(None),
            Some(Node::Integer(value)) if value < range.start() => {
                let what = format!(
                    "integer below minimum value. Expected a value >= {}.",
                    range.start()
                );
                Err(path.refuse("integer_below_min_value", what))
            }
            Some(Node::Integer(value)) if value > range.end() => {
                let what = format!(
                    "integer above maximum value. Expected a value <= {}.",
                    range.end()
                );
                Err(path.refuse("integer_above_max_value", what))
            }
            Some(Node::Integer(value)) => Ok(Some(*value)),
            Some(other) => Err(path.wrong_type("an integer", other)),
        }
    }

    /// Any number within limits.
    ///
    /// # Errors
    /// 400 for another type or out of range.
    #[allow(clippy::cast_precision_loss)] // Only compared with limits of one or two digits.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<(), ApiError> {
        let path = Path::Key(self.path, key);
        let value = match self.get(key) {
            None => return Ok(()),
            Some(Node::Integer(value)) => *value as f64,
            Some(Node::Decimal(value)) => *value,
            Some(other) => return Err(path.wrong_type("a decimal", other)),
        };
        if value < *range.start() {
            let what = format!(
                "decimal below minimum value. Expected a value >= {}.",
                range.start()
            );
            return Err(path.refuse("decimal_below_min_value", what));
        }
        if value > *range.end() {
            let what = format!(
                "decimal above maximum value. Expected a value <= {}.",
                range.end()
            );
            return Err(path.refuse("decimal_above_max_value", what));
        }
        Ok(())
    }

    /// An array with a number of items within limits.
    ///
    /// # Errors
    /// 400 for another type, too few or too many.
    pub fn list(&self, key: &str, len: RangeInclusive<usize>) -> Result<Option<&'n [Node<'n>]>, ApiError> {
        let path = Path::Key(self.path, key);
        let items = match self.get(key) {
            None => return Ok(None),
            Some(Node::List(items)) => items,
            Some(other) => return Err(path.wrong_type("an array", other)),
        };
        if items.len() < *len.start() {
            let what = format!(
                "array too short. Expected an array with minimum length {}.",
                len.start()
            );
            return Err(path.refuse(
                if items.is_empty() {
                    "empty_array"
                } else {
                    "array_below_min_length"
                },
                what,
            ));
        }
        if items.len() > *len.end() {
            let what = format!(
                "array too long. Expected an array with maximum length {}.",
                len.end()
            );
            return Err(path.refuse("array_above_max_length", what));
        }
        Ok(Some(items))
    }
}
