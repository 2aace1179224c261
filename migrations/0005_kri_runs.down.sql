DROP INDEX counterfoil.kri_run_events;
