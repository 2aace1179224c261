CREATE OR REPLACE VIEW read.kris WITH (security_invoker = true) AS
SELECT tenant_id, key, definition, retired, latest, previous, defined_at, position,
       -- As `status_at`: too old is a state of its own, never the colour that was measured.
       CASE
           WHEN latest IS NULL THEN 'missing'
           WHEN (latest ->> 'fresh_until')::timestamptz < statement_timestamp() THEN 'stale'
           ELSE latest ->> 'band'
       END AS status
FROM kris;
CREATE OR REPLACE VIEW read.kri_measurements WITH (security_invoker = true) AS
SELECT tenant_id, key, kri, measured_at, measurement, source, run, payload_digest FROM kri_measurements;
CREATE OR REPLACE VIEW read.kri_sources WITH (security_invoker = true) AS
SELECT tenant_id, key, kri, kind, disabled, position, config FROM kri_sources;
CREATE OR REPLACE VIEW read.kri_runs WITH (security_invoker = true) AS
SELECT tenant_id, key, kri, source, state, attempt, runner, lease_until, requested_at, ended_at, code, value,
       measured_at, position
FROM kri_runs;
