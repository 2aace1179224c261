//! Answers of the API for people: lists as tables, one thing as its members, a command as what it made and where that
//! is recorded. Machines get the answer as it came.

use serde_json::Value;

use super::super::exit::CliError;
use super::super::output::Output;
use super::super::table::Table;

/// A longer cell would push the others off the screen; `get` shows it whole.
const CELL_CHARS: usize = 60;

/// A table of the items.
pub fn list(
    output: Output,
    items: &[Value],
    columns: &'static [&'static str],
    nothing: &str,
) -> Result<(), CliError> {
    output.list(items, nothing, |items| table(items, columns))
}

/// A table of the answer's `items`.
pub fn items(
    output: Output,
    answer: &Value,
    columns: &'static [&'static str],
    nothing: &str,
) -> Result<(), CliError> {
    output.print(answer, |answer| {
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        match table(items, columns) {
            table if table.is_empty() => format!("{nothing}\n"),
            table => table.to_string(),
        }
    })
}

/// One member's text, ready to be written to a file.
pub fn text(output: Output, answer: &Value, member: &str) -> Result<(), CliError> {
    output.print(answer, |answer| cell(&answer[member]))
}

fn table(items: &[Value], columns: &'static [&'static str]) -> Table {
    let mut table = Table::of(columns);
    for item in items {
        let member = |column: &&str| short(cell(at(item, column.trim_start_matches('>'))));
        table.cells(columns.iter().map(member));
    }
    table
}

/// What stands at `a.b.c`; null where there is nothing.
fn at<'v>(item: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(item, |value, name| &value[name])
}

/// Every member.
pub fn item(output: Output, value: &Value) -> Result<(), CliError> {
    output.print(value, |value| members(value, &[]).to_string())
}

/// Every member but the receipts, of which only their places are shown.
pub fn done(output: Output, answer: &Value) -> Result<(), CliError> {
    output.print(answer, |answer| {
        let mut table = members(answer, &["receipts", "replayed"]);
        for receipt in answer["receipts"].as_array().into_iter().flatten() {
            let place = format!("{}:{}", cell(&receipt["tenant"]), cell(&receipt["position"]));
            table.cells(["recorded at".to_owned(), place]);
        }
        if answer["replayed"] == true {
            table.cells([
                "replayed".to_owned(),
                "an earlier request with this key did it".to_owned(),
            ]);
        }
        table.to_string()
    })
}

fn members(value: &Value, without: &[&str]) -> Table {
    let mut table = Table::of(&["member", "value"]);
    for (name, value) in value.as_object().into_iter().flatten() {
        if !without.contains(&name.as_str()) {
            table.cells([name.clone(), cell(value)]);
        }
    }
    table
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn short(text: String) -> String {
    match text.char_indices().nth(CELL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
