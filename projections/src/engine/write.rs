//! Writing what a step came to: rows, parked events, cursors, and the count of the version's steps. All of it is one
//! statement, so it is one round trip and a transaction by itself. Its fence is part of it: unless everything stands where
//! the writer left it, nothing is written.

use std::collections::BTreeMap;

use counterfoil_events::ids::{Position, TenantId};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, Encode, PgConnection, Postgres, Type};
use uuid::Uuid;

use crate::engine::error::EngineError;
use crate::engine::fold::{AtHand, Batch};
use crate::engine::parked::NewlyParked;
use crate::engine::projection::{FoldError, Projection, Table};
use crate::engine::rows::RowKey;

/// What `counterfoil.projection_fence` raises.
const FENCED: &str = "CF001";

/// How a writer makes sure that nobody else has changed what it read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// The version has made so many steps, and makes one more: nobody else has changed any row of it.
    Steps(i64),
    /// The cursors stand where the step begins: nobody else has folded these logs. Enough where each row stands on one
    /// log, in a version that only its rebuild writes; several logs can then be folded at once.
    Cursors,
}

/// A move of one tenant's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Move {
    tenant: TenantId,
    old: Position,
    new: Position,
}

/// Writes what was folded into `at_hand` since the last time, and moves the cursors of the batches behind it. In the
/// version's schema; within a transaction, or as one by itself.
///
/// # Errors
/// [`EngineError::Fenced`] when somebody else has written, and nothing was; what is at hand is then forgotten.
pub(super) async fn write(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    version: i32,
    fence: Fence,
    at_hand: &mut AtHand,
    batches: &[Batch],
) -> Result<(), EngineError> {
    let mut statement = Statement::default();
    statement.rows(
        projection.declaration().tables,
        at_hand.rows.take_changes().map_err(EngineError::Store)?,
    )?;
    statement.parked(projection.name(), version, at_hand.parked.take_new())?;
    let moves: Vec<Move> = batches
        .iter()
        .filter(|batch| batch.to > batch.from)
        .map(|batch| Move {
            tenant: batch.tenant,
            old: batch.from,
            new: batch.to,
        })
        .collect();
    statement.fence(projection.name(), version, fence, &moves)?;
    statement.run(connection).await.map_err(|error| {
        match error.as_database_error().and_then(|error| error.code()) {
            Some(code) if code == FENCED => EngineError::Fenced {
                projection: projection.name(),
                version,
            },
            _ => error.into(),
        }
    })
}

/// A statement as it is put together: data-modifying parts, and what must be so that they hold.
#[derive(Default)]
struct Statement {
    parts: Vec<String>,
    /// Names of parts whose rows are counted.
    counted: Vec<&'static str>,
    expected: i64,
    arguments: PgArguments,
}

impl Statement {
    /// Adds an argument; answers its name.
    fn bind<'q, T>(&mut self, value: T) -> Result<String, sqlx::Error>
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        self.arguments.add(value).map_err(sqlx::Error::Encode)?;
        Ok(format!("${}", self.arguments.len()))
    }

    fn rows(&mut self, tables: &[Table], changes: Vec<(RowKey, Option<String>)>) -> Result<(), EngineError> {
        let mut by_table: BTreeMap<usize, (Vec<String>, Vec<RowKey>)> = BTreeMap::new();
        for (key, row) in changes {
            let (written, deleted) = by_table.entry(key.table).or_default();
            match row {
                Some(row) => written.push(whole_row(&key, &row).map_err(EngineError::Store)?),
                None => deleted.push(key),
            }
        }
        for (index, (written, deleted)) in by_table {
            if !written.is_empty() {
                let rows = self.bind(format!("[{}]", written.join(",")))?;
                let store = tables[index].store.replace("$rows", &rows);
                self.parts.push(format!("stored_{index} AS ({store})"));
            }
            if !deleted.is_empty() {
                let tenants = self.bind(deleted.iter().map(|key| key.tenant.0).collect::<Vec<_>>())?;
                let keys = self.bind(deleted.into_iter().map(|key| key.key).collect::<Vec<_>>())?;
                let delete = tables[index].delete.replace("$tenants", &tenants);
                let delete = delete.replace("$keys", &keys);
                self.parts.push(format!("deleted_{index} AS ({delete})"));
            }
        }
        Ok(())
    }

    fn parked(
        &mut self,
        projection: &str,
        version: i32,
        parked: Vec<NewlyParked>,
    ) -> Result<(), sqlx::Error> {
        if parked.is_empty() {
            return Ok(());
        }
        let (projection, version) = (self.bind(projection.to_owned())?, self.bind(version)?);
        let tenants = self.bind(parked.iter().map(|event| event.tenant.0).collect::<Vec<_>>())?;
        let positions = self.bind(
            parked
                .iter()
                .map(|event| event.position.as_i64())
                .collect::<Vec<_>>(),
        )?;
        let mut texts = |of: fn(&NewlyParked) -> &String| {
            self.bind(parked.iter().map(|event| of(event).clone()).collect::<Vec<_>>())
        };
        let aggregates = texts(|event| &event.aggregate)?;
        let ids = texts(|event| &event.aggregate_id)?;
        let types = texts(|event| &event.event_type)?;
        let reasons = texts(|event| &event.reason)?;
        self.parts.push(format!(
            "parked AS (INSERT INTO counterfoil.parked_events \
             (projection, version, tenant_id, position, aggregate, aggregate_id, type, reason) \
             SELECT {projection}::text, {version}::int, * FROM unnest({tenants}::uuid[], {positions}::bigint[], \
             {aggregates}::text[], {ids}::text[], {types}::text[], {reasons}::text[]) ON CONFLICT DO NOTHING)"
        ));
        Ok(())
    }

    /// The steps first and the cursors behind them, so that two writers wait for each other instead of deadlocking.
    fn fence(
        &mut self,
        projection: &str,
        version: i32,
        fence: Fence,
        moves: &[Move],
    ) -> Result<(), sqlx::Error> {
        if fence == Fence::Cursors && moves.is_empty() {
            return Ok(());
        }
        let (name, number) = (self.bind(projection.to_owned())?, self.bind(version)?);
        let mut after = "";
        if let Fence::Steps(steps) = fence {
            let steps = self.bind(steps)?;
            self.counts("stepped", 1);
            self.parts.push(format!(
                "stepped AS (UPDATE counterfoil.projection_versions SET steps = steps + 1 \
                 WHERE projection = {name}::text AND version = {number}::int AND steps = {steps} RETURNING 1)"
            ));
            after = "AND EXISTS (SELECT FROM stepped)";
        }
        let (begun, moved): (Vec<Move>, Vec<Move>) =
            moves.iter().partition(|step| step.old == Position::ZERO);
        if !begun.is_empty() {
            self.counts("begun", begun.len());
            let (tenants, new) = (self.tenants(&begun)?, self.ends(&begun, |step| step.new)?);
            self.parts.push(format!(
                "begun AS (INSERT INTO counterfoil.projection_cursors AS c (tenant_id, projection, version, position) \
                 SELECT m.tenant_id, {name}::text, {number}::int, m.new \
                 FROM unnest({tenants}::uuid[], {new}::bigint[]) AS m (tenant_id, new) WHERE true {after} ORDER BY 1 \
                 ON CONFLICT (tenant_id, projection, version) DO UPDATE SET position = excluded.position \
                 WHERE c.position = 0 RETURNING 1)"
            ));
        }
        if !moved.is_empty() {
            self.counts("moved", moved.len());
            let (tenants, old) = (self.tenants(&moved)?, self.ends(&moved, |step| step.old)?);
            let new = self.ends(&moved, |step| step.new)?;
            self.parts.push(format!(
                "moved AS (UPDATE counterfoil.projection_cursors c SET position = m.new \
                 FROM unnest({tenants}::uuid[], {old}::bigint[], {new}::bigint[]) AS m (tenant_id, old, new) \
                 WHERE c.tenant_id = m.tenant_id AND c.projection = {name}::text AND c.version = {number}::int \
                 AND c.position = m.old {after} RETURNING 1)"
            ));
        }
        Ok(())
    }

    fn tenants(&mut self, moves: &[Move]) -> Result<String, sqlx::Error> {
        self.bind(moves.iter().map(|step| step.tenant.0).collect::<Vec<Uuid>>())
    }

    fn ends(&mut self, moves: &[Move], end: fn(&Move) -> Position) -> Result<String, sqlx::Error> {
        self.bind(moves.iter().map(|step| end(step).as_i64()).collect::<Vec<i64>>())
    }

    /// The part `name` must answer so many rows.
    fn counts(&mut self, name: &'static str, rows: usize) {
        self.counted.push(name);
        self.expected += i64::try_from(rows).unwrap_or(i64::MAX);
    }

    async fn run(mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let expected = self.expected;
        let expected = self.bind(expected)?;
        let counts: Vec<String> = self
            .counted
            .iter()
            .map(|name| format!("(SELECT count(*) FROM {name})"))
            .chain(["0".to_owned()])
            .collect();
        let fence = format!(
            "counterfoil.projection_fence({} = {expected})",
            counts.join(" + ")
        );
        let sql = ["WITH", &self.parts.join(", "), "SELECT", &fence].join(" ");
        sqlx::query_with(&sql, self.arguments).execute(connection).await?;
        Ok(())
    }
}

/// A row's JSON object with its two key columns put in front of its own.
fn whole_row(key: &RowKey, row: &str) -> Result<String, FoldError> {
    let error = |source| FoldError::Row {
        key: key.clone(),
        source,
    };
    let name = serde_json::to_string(&key.key).map_err(error)?;
    let rest = row.strip_prefix('{').unwrap_or(row);
    let comma = if rest.starts_with('}') { "" } else { "," };
    Ok(format!(
        "{{\"tenant_id\":\"{}\",\"key\":{name}{comma}{rest}",
        key.tenant
    ))
}
