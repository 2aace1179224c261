CREATE OR REPLACE VIEW read.agents WITH (security_invoker = true) AS
SELECT tenant_id, key, name, spec, models, tool_scopes, risk_tier, suspended, api_keys, registered_at, position
FROM agents;
