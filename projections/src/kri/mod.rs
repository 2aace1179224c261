//! KRIs with their latest measurement (key: the KRI's id), all measurements (`kri|measured_at`), sources and runs.
//!
//! *Latest* is by the instant that was measured, not by the order of the log, since history is loaded afterwards; of
//! two measurements of one instant the later one in the log holds. Whether a value is stale depends on when one asks:
//! [`KriRow::status_at`] says so, from the `fresh_until` that the event fixed.

mod measure;
mod row;

use counterfoil_events::kri::aggregates::indicator::{Kri, KriEvent};
use counterfoil_events::kri::aggregates::run::{KriRun, KriRunEvent};
use counterfoil_events::kri::aggregates::source::{KriSource, KriSourceEvent};

use crate::engine::{Declaration, FoldError, FoldEvent, Projection, RowKey, Rows};
use crate::table::table;
pub use measure::{Latest, Measurement};
pub(crate) use row::definition;
pub use row::{KriRow, MeasurementRow, RunRow, RunState, SourceRow};

/// The read model of KRIs.
pub struct Kris;

const KRIS: usize = 0;
const MEASUREMENTS: usize = 1;
const SOURCES: usize = 2;
const RUNS: usize = 3;
const DECLARATION: Declaration = Declaration {
    name: "kri",
    revision: 2,
    event_types: &[
        "KriDefined",
        "KriChanged",
        "KriRetired",
        "KriSourceConfigured",
        "KriSourceChanged",
        "KriSourceDisabled",
        "KriSourceEnabled",
        "KriRunRequested",
        "KriRunStarted",
        "KriRunCompleted",
        "KriRunFailed",
    ],
    spans_logs: false,
    create_tables: include_str!("tables.sql"),
    create_views: include_str!("views.sql"),
    tables: &[
        table!("kris": "definition", "retired", "latest", "previous", "defined_at", "position"),
        table!("kri_measurements": "kri", "measured_at", "measurement", "source", "run", "payload_digest"),
        table!("kri_sources": "kri", "kind", "disabled", "config", "position"),
        table!(
            "kri_runs": "kri", "source", "state", "attempt", "runner", "lease_until", "requested_at", "ended_at", "code",
            "value", "measured_at", "position"
        ),
    ],
};

impl Projection for Kris {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn touches(&self, event: &FoldEvent<'_>) -> Vec<RowKey> {
        match (event.aggregate, event.event_type) {
            ("kri", _) => vec![event.own_row(KRIS)],
            ("kri_source", _) => vec![event.own_row(SOURCES)],
            // There is no row yet.
            (_, "KriRunRequested") => Vec::new(),
            _ => vec![event.own_row(RUNS)],
        }
    }

    fn fold(&self, rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
        match event.aggregate {
            "kri" => fold_kri(rows, event, event.decode::<Kri>()?),
            "kri_source" => fold_source(rows, event, event.decode::<KriSource>()?),
            _ => fold_run(rows, event, event.decode::<KriRun>()?),
        }
    }
}

fn fold_kri(rows: &mut Rows, event: &FoldEvent<'_>, change: KriEvent) -> Result<(), FoldError> {
    let key = event.own_row(KRIS);
    let row = match row::definition(&change) {
        Some(definition) => match rows.get::<KriRow>(&key)? {
            Some(row) => KriRow {
                definition,
                position: event.position,
                ..row
            },
            None => KriRow::defined(definition, event),
        },
        None => KriRow {
            retired: true,
            position: event.position,
            ..rows.existing(&key)?
        },
    };
    rows.put(key, row);
    Ok(())
}

fn fold_source(rows: &mut Rows, event: &FoldEvent<'_>, change: KriSourceEvent) -> Result<(), FoldError> {
    use KriSourceEvent as E;

    let key = event.own_row(SOURCES);
    let row = match change {
        E::KriSourceConfigured { kri, config } => SourceRow {
            kri,
            kind: config.config().kind().to_owned(),
            disabled: None,
            config: config.config().clone(),
            position: event.position,
        },
        E::KriSourceChanged { config } => SourceRow {
            kind: config.config().kind().to_owned(),
            config: config.config().clone(),
            ..rows.existing(&key)?
        },
        E::KriSourceDisabled { reason } => SourceRow {
            disabled: Some(reason),
            ..rows.existing(&key)?
        },
        E::KriSourceEnabled {} => SourceRow {
            disabled: None,
            ..rows.existing(&key)?
        },
    };
    rows.put(
        key,
        SourceRow {
            position: event.position,
            ..row
        },
    );
    Ok(())
}

fn fold_run(rows: &mut Rows, event: &FoldEvent<'_>, change: KriRunEvent) -> Result<(), FoldError> {
    let key = event.own_row(RUNS);
    let run = match RunRow::requested(event, &change) {
        Some(run) => run,
        None => rows.existing::<RunRow>(&key)?.after(event, &change),
    };
    if let Some(measurement) = Measurement::of(event, &change) {
        let kri = RowKey::new(KRIS, event.tenant, run.kri.as_str());
        let mut row: KriRow = rows.existing(&kri)?;
        row.measured(measurement.clone());
        row.position = event.position;
        rows.put(kri, row);
        if let Some(history) = MeasurementRow::of(event, change, measurement) {
            let name = format!("{}|{}", history.kri, history.measured_at);
            rows.put(RowKey::new(MEASUREMENTS, event.tenant, name), history);
        }
    }
    rows.put(key, run);
    Ok(())
}
