//! How events change the base rows, and the members that follow from them.

use counterfoil_events::ids::TenantId;
use counterfoil_events::kri::aggregates::KriId;
use counterfoil_events::kri::aggregates::indicator::{Kri, KriDefinition};
use counterfoil_events::kri::aggregates::run::{KriRun, KriRunEvent};
use counterfoil_events::organisation::{Organisation, OrganisationEvent};
use counterfoil_events::tenant::{Tenant, TenantEvent};

use super::{
    CARRIAGES, CARRIED, CarriageRow, CarriedRow, Carrier, HOMES, HomeRow, KRI_NAMES, KriNamesRow, MEASURES,
    MEMBERS, MeasureRow, MemberRow,
};
use crate::engine::{FoldError, FoldEvent, RowKey, Rows};
use crate::kri::{Measurement, definition};

pub(super) fn carriage(tenant: TenantId) -> RowKey {
    RowKey::new(CARRIAGES, tenant, "")
}

pub(super) fn kri_names(tenant: TenantId) -> RowKey {
    RowKey::new(KRI_NAMES, tenant, "")
}

fn measure(tenant: TenantId, kri: &KriId) -> RowKey {
    RowKey::new(MEASURES, tenant, kri.as_str())
}

pub(super) fn fold(rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
    match event.aggregate {
        "organisation" => {
            if let OrganisationEvent::OrganisationCreated { home_tenant, .. } =
                event.decode::<Organisation>()?
            {
                rows.put(event.own_row(HOMES), HomeRow { home_tenant });
            }
            Ok(())
        }
        "tenant" => fold_tenant(rows, event),
        "kri" => fold_kri(rows, event),
        _ => fold_run(rows, event),
    }
}

fn fold_tenant(rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
    use TenantEvent as E;

    let tenant: TenantId = event
        .aggregate_id
        .parse()
        .map_err(|error| FoldError::Contradiction(format!("tenant {:?}: {error}", event.aggregate_id)))?;
    let change = event.decode::<Tenant>()?;
    let mut row = match &change {
        E::TenantCreated { name, .. } => CarriageRow {
            name: name.clone(),
            carriers: Default::default(),
            exposure: None,
            position: event.position,
            event_id: event.event_id,
        },
        _ => rows.existing(&carriage(tenant))?,
    };
    match change {
        E::TenantRenamed { name } => row.name = name,
        E::ExposureSet { amount } => row.exposure = Some(amount),
        E::TenantCarried { carrier, share } => {
            let key = RowKey::new(HOMES, TenantId::PLATFORM, carrier.to_string());
            let home = rows.existing::<HomeRow>(&key)?.home_tenant;
            row.carriers.insert(carrier, Carrier { home, share });
        }
        E::TenantReleased { carrier } => {
            if let Some(released) = row.carriers.remove(&carrier) {
                release(rows, tenant, released.home)?;
            }
        }
        // None of these is seen by carriers: what they carried of a tenant that has ended, they have carried.
        E::TenantCreated { .. }
        | E::TenantSuspended { .. }
        | E::TenantResumed {}
        | E::TenantClosed { .. }
        | E::TenantErased { .. } => {}
    }
    (row.position, row.event_id) = (event.position, event.event_id);
    let names: KriNamesRow = rows.get(&kri_names(tenant))?.unwrap_or_default();
    for carrier in row.carriers.values() {
        rows.put(
            RowKey::new(CARRIED, carrier.home, tenant.to_string()),
            carried(tenant, &row, *carrier),
        );
        for kri in &names.kris {
            let measured = rows.existing(&measure(tenant, kri))?;
            put_member(rows, tenant, kri, &row, &measured, *carrier);
        }
    }
    rows.put(carriage(tenant), row);
    Ok(())
}

/// The carrier sees nothing of the tenant any more.
fn release(rows: &mut Rows, tenant: TenantId, home: TenantId) -> Result<(), FoldError> {
    let names: KriNamesRow = rows.get(&kri_names(tenant))?.unwrap_or_default();
    rows.delete(RowKey::new(CARRIED, home, tenant.to_string()));
    for kri in &names.kris {
        rows.delete(member(home, tenant, kri));
    }
    Ok(())
}

fn fold_kri(rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
    let kri: KriId = event
        .aggregate_id
        .parse()
        .map_err(|error| FoldError::Contradiction(format!("KRI {:?}: {error}", event.aggregate_id)))?;
    let before: Option<MeasureRow> = rows.get(&measure(event.tenant, &kri))?;
    let mut names: KriNamesRow = rows.get(&kri_names(event.tenant))?.unwrap_or_default();
    let row = match definition(&event.decode::<Kri>()?) {
        Some(definition) => {
            names.kris.insert(kri.clone());
            defined(event, before, definition)
        }
        None => {
            names.kris.remove(&kri);
            MeasureRow {
                retired: true,
                ..rows.existing(&measure(event.tenant, &kri))?
            }
        }
    };
    rows.put(kri_names(event.tenant), names);
    put_measure(rows, event, &kri, row)
}

/// What was measured in another unit or direction says nothing in the new one: it is measured anew.
fn defined(event: &FoldEvent<'_>, before: Option<MeasureRow>, definition: KriDefinition) -> MeasureRow {
    let comparable = |measured: &Measurement| measured.bands.direction() == definition.bands.direction();
    let measured = before
        .filter(|row| row.unit == definition.unit)
        .map(|row| row.measured);
    let measured = measured.filter(|measured| measured.latest.as_ref().is_none_or(comparable));
    MeasureRow {
        name: definition.name,
        unit: definition.unit,
        retired: false,
        measured: measured.unwrap_or_default(),
        position: event.position,
        event_id: event.event_id,
    }
}

fn fold_run(rows: &mut Rows, event: &FoldEvent<'_>) -> Result<(), FoldError> {
    let change = event.decode::<KriRun>()?;
    let (KriRunEvent::KriRunCompleted { kri, .. }, Some(measurement)) =
        (&change, Measurement::of(event, &change))
    else {
        return Ok(());
    };
    let mut row: MeasureRow = rows.existing(&measure(event.tenant, kri))?;
    row.measured.take(measurement);
    put_measure(rows, event, kri, row)
}

/// Puts a tenant's side of the join, and what its carriers see of it.
fn put_measure(
    rows: &mut Rows,
    event: &FoldEvent<'_>,
    kri: &KriId,
    mut row: MeasureRow,
) -> Result<(), FoldError> {
    (row.position, row.event_id) = (event.position, event.event_id);
    if let Some(carriage) = rows.get::<CarriageRow>(&carriage(event.tenant))? {
        for carrier in carriage.carriers.values() {
            put_member(rows, event.tenant, kri, &carriage, &row, *carrier);
        }
    }
    rows.put(measure(event.tenant, kri), row);
    Ok(())
}

fn member(home: TenantId, tenant: TenantId, kri: &KriId) -> RowKey {
    RowKey::new(MEMBERS, home, format!("{tenant}|{kri}"))
}

/// The member that follows from both sides; none if the KRI is retired.
fn put_member(
    rows: &mut Rows,
    tenant: TenantId,
    kri: &KriId,
    carriage: &CarriageRow,
    measured: &MeasureRow,
    carrier: Carrier,
) {
    let key = member(carrier.home, tenant, kri);
    if measured.retired {
        return rows.delete(key);
    }
    let row = MemberRow {
        tenant,
        kri: kri.clone(),
        name: measured.name.clone(),
        unit: measured.unit.clone(),
        measured: measured.measured.clone(),
        share: carrier.share,
        exposure: carriage.exposure,
        position: measured.position,
        event_id: measured.event_id,
    };
    rows.put(key, row);
}

fn carried(tenant: TenantId, row: &CarriageRow, carrier: Carrier) -> CarriedRow {
    CarriedRow {
        tenant,
        name: row.name.clone(),
        share: carrier.share,
        exposure: row.exposure,
        position: row.position,
        event_id: row.event_id,
    }
}
