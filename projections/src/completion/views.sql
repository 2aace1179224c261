CREATE OR REPLACE VIEW read.completions WITH (security_invoker = true) AS
SELECT tenant_id, key, agent, api_key, model, provider, stream, day, asked_at, ended_at, status, corrected,
       input_tokens, output_tokens, estimated, cost, step, code, reasons, position, settle_by
FROM completions;
CREATE OR REPLACE VIEW read.usage WITH (security_invoker = true) AS
SELECT tenant_id, key, agent, model, day, completions, settled, denied, failed, lost, input_tokens, output_tokens, cost
FROM usage;
