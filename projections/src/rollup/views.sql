CREATE OR REPLACE VIEW read.rollup_carried WITH (security_invoker = true) AS
SELECT tenant_id, key, tenant, name, share, exposure, position, event_id FROM rollup_carried;
CREATE OR REPLACE VIEW read.rollup_members WITH (security_invoker = true) AS
SELECT tenant_id, key, tenant, kri, name, unit, latest, previous, share, exposure, position, event_id
FROM rollup_members;
