//! One file for each row of the table.

mod append;
mod completion;
mod growth;
mod http;
mod limits;
mod memory;
mod peer;
mod processes;
mod rebuild;
mod refusals;
mod verify;
mod visible;

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::options::Options;
use crate::site::Site;
use crate::table::Table;

type Measure = for<'a> fn(&'a Site, &'a Options, &'a mut Table) -> LocalBoxFuture<'a, anyhow::Result<()>>;

/// A row, which may come to several lines.
pub struct Row {
    /// For `--only`.
    pub name: &'static str,
    pub measure: Measure,
}

/// All of them, in the order of the design.
pub const ALL: &[Row] = &[
    Row {
        name: "limits",
        measure: |site, options, table| limits::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "append",
        measure: |site, options, table| append::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "http",
        measure: |site, options, table| http::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "completion",
        measure: |site, options, table| completion::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "visible",
        measure: |site, options, table| visible::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "rebuild",
        measure: |site, options, table| rebuild::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "verify",
        measure: |site, options, table| verify::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "memory",
        measure: |site, options, table| memory::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "processes",
        measure: |site, options, table| processes::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "refusals",
        measure: |site, options, table| refusals::measure(site, options, table).boxed_local(),
    },
    Row {
        name: "growth",
        measure: |site, options, table| growth::measure(site, options, table).boxed_local(),
    },
];
