//! What to measure, and how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::rows::Row;

/// Measures the budgets of the design beside peers and limits.
#[derive(Debug, Parser)]
#[command(name = "budgets")]
pub struct Options {
    /// Only the rows whose name contains this; several by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Small sizes and short times, for trying it out
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Growth up to a million events, and memory over two minutes
    #[arg(long)]
    pub full: bool,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The rows that are asked for.
    pub fn chosen(&self, all: &'static [Row]) -> anyhow::Result<Vec<&'static Row>> {
        let names: Vec<_> = all.iter().map(|row| row.name).collect();
        if let Some(part) = self
            .only
            .iter()
            .find(|part| !names.iter().any(|name| name.contains(*part)))
        {
            anyhow::bail!("there is no row {part}; there are {}", names.join(", "));
        }
        let wanted =
            |row: &&Row| self.only.is_empty() || self.only.iter().any(|part| row.name.contains(part));
        let rows = all.iter().filter(wanted).collect();
        Ok(rows)
    }

    /// How long one figure is measured.
    pub fn length(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 6 })
    }

    /// How often what is compared is measured in turns; the median counts.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// `usual`, or a tenth of it when in a hurry.
    pub fn size(&self, usual: usize) -> usize {
        if self.quick { usual / 10 } else { usual }
    }
}
