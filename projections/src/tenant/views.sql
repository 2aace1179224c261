CREATE OR REPLACE VIEW read.tenants WITH (security_invoker = true) AS
SELECT tenant_id, key, organisation, name, home, suspended, carriers, exposure, created_at, position, retain_until, erased FROM tenants;
