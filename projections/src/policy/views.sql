CREATE OR REPLACE VIEW read.policies WITH (security_invoker = true) AS
SELECT tenant_id, key, active, active_since, latest, position FROM policies;
CREATE OR REPLACE VIEW read.policy_versions WITH (security_invoker = true) AS
SELECT tenant_id, key, layer, version, source, tests, published_at, position FROM policy_versions;
