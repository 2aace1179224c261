-- The read models are derived: they are dropped by their owner and made again by a rebuild.
DROP TABLE counterfoil.rebuild_jobs, counterfoil.parked_events, counterfoil.projection_cursors,
    counterfoil.projection_versions;
