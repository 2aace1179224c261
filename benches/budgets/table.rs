//! What was measured: printed as one table, and written as JSON for machines.

use std::path::Path;

use serde::Serialize;

use crate::machine::{self, Machine};

/// One figure beside its budget.
#[derive(Debug, Serialize)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// Our figure, as it is printed.
    pub ours: String,
    /// What it should be.
    pub budget: String,
    /// Whether it is; none where there is no budget.
    pub met: Option<bool>,
    /// Peers and limits, measured in the same run.
    pub beside: String,
    /// Load average of the last minute when it was measured.
    pub load: f64,
}

impl Line {
    /// A figure without a budget.
    pub fn new(what: impl Into<String>, ours: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ours: ours.into(),
            budget: String::new(),
            met: None,
            beside: String::new(),
            load: machine::load(),
        }
    }

    /// What it should be, and whether it is.
    pub fn budget(mut self, budget: impl Into<String>, met: bool) -> Self {
        self.budget = budget.into();
        self.met = Some(met);
        self
    }

    /// What stands beside it.
    pub fn beside(mut self, beside: impl Into<String>) -> Self {
        self.beside = beside.into();
        self
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }
}

/// Everything that was measured in this run.
#[derive(Debug, Serialize)]
pub struct Table {
    machine: Machine,
    lines: Vec<Line>,
}

impl Table {
    /// An empty one.
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            lines: Vec::new(),
        }
    }

    /// Takes a figure, and says so on standard error.
    pub fn add(&mut self, line: Line) {
        eprintln!(
            "bench:   {}: {} {} {} [{}]",
            line.what,
            line.ours,
            line.budget,
            line.verdict(),
            line.beside
        );
        self.lines.push(line);
    }

    /// Prints it as a table that is also Markdown.
    pub fn print(&self) {
        println!("{}\n", self.machine);
        let head = ["what", "ours", "budget", "verdict", "peers, limits", "load"].map(str::to_owned);
        let cells: Vec<[String; 6]> = std::iter::once(head)
            .chain(self.lines.iter().map(cells))
            .collect();
        let widths: Vec<usize> = (0..6)
            .map(|column| {
                cells
                    .iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (index, row) in cells.iter().enumerate() {
            let padded = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!(" {cell:width$} |"));
            println!("|{}", padded.collect::<String>());
            if index == 0 {
                let rule = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2)));
                println!("|{}", rule.collect::<String>());
            }
        }
        let missed = self.lines.iter().filter(|line| line.met == Some(false)).count();
        println!("\n{} figures, {missed} MISSED", self.lines.len());
    }

    /// Writes it as JSON.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }
}

fn cells(line: &Line) -> [String; 6] {
    [
        line.what.clone(),
        line.ours.clone(),
        line.budget.clone(),
        line.verdict().to_owned(),
        line.beside.clone(),
        format!("{:.1}", line.load),
    ]
}

/// A rate, such as `26.5 k/s`.
pub fn rate(per_s: f64) -> String {
    if per_s >= 1000.0 {
        format!("{:.1} k/s", per_s / 1000.0)
    } else {
        format!("{per_s:.0}/s")
    }
}

/// A ratio, such as `3.6×`.
pub fn times(ratio: f64) -> String {
    format!("{ratio:.1}×")
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
