CREATE OR REPLACE VIEW read.organisations WITH (security_invoker = true) AS
SELECT tenant_id, key, kind, name, home_tenant, suspended, created_at, position FROM organisations;
