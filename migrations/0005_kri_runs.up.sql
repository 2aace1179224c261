-- Serves the runners, who read KRI runs only, from the start of the log when they start. The rest of the log pays
-- nothing for it.
CREATE INDEX kri_run_events ON counterfoil.events (tenant_id, position) WHERE aggregate = 'kri_run';
