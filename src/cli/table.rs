//! Tables for people: aligned columns, numbers to the right, no lines around.

use std::fmt;

/// A column's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Rows under a heading.
#[derive(Debug, Clone)]
pub struct Table {
    heading: Vec<&'static str>,
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A name that begins with `>` makes a column of numbers; of a path (`latest.value`), the
    /// last part stands above the column.
    #[must_use]
    pub fn new<const N: usize>(columns: [&'static str; N]) -> Self {
        Self::of(&columns)
    }

    /// The same for columns that are data.
    #[must_use]
    pub fn of(columns: &[&'static str]) -> Self {
        let side = |name: &&'static str| {
            if name.starts_with('>') {
                Side::Right
            } else {
                Side::Left
            }
        };
        Self {
            sides: columns.iter().map(side).collect(),
            heading: columns.iter().map(|name| heading(name)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: as many cells as there are columns. Control characters are shown, not obeyed: what stands
    /// in a table may come from anyone.
    pub fn row<const N: usize>(&mut self, cells: [&dyn fmt::Display; N]) {
        self.cells(cells.iter().map(ToString::to_string));
    }

    /// Adds a row of texts.
    pub fn cells(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().map(|cell| printable(&cell)).collect();
        debug_assert_eq!(row.len(), self.heading.len(), "a row has a cell for every column");
        self.rows.push(row);
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heading.iter().map(|name| name.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let heading: Vec<String> = self.heading.iter().map(|name| name.to_uppercase()).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), side) in row.iter().zip(&widths).zip(&self.sides) {
                let gap = " ".repeat(width - cell.chars().count());
                match side {
                    Side::Left => line.extend([cell, gap.as_str(), "  "]),
                    Side::Right => line.extend([gap.as_str(), cell, "  "]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn heading(column: &'static str) -> &'static str {
    let path = column.trim_start_matches('>');
    path.rsplit('.').next().unwrap_or(path)
}

fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(["name", ">count", "state"]);
        table.row([&"agents", &7, &"live"]);
        table.row([&"kri-status", &12_345, &"rebuilding"]);
        let expected = "\
NAME        COUNT  STATE
agents          7  live
kri-status  12345  rebuilding
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        let mut table = Table::new(["name"]);
        table.row([&"a\u{1b}[31mb\nc"]);
        assert_eq!(table.to_string(), "NAME\na\\u{1b}[31mb\\nc\n");
    }
}
