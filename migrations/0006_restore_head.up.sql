-- For `audit reconcile --repair`: the head of a tenant whose creation was put back into the platform log. Its events
-- then go in through restore_events, which checks their chain.

SET LOCAL check_function_bodies = off;

CREATE FUNCTION counterfoil.restore_head(p_tenant uuid, p_partition integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM counterfoil.events
        WHERE tenant_id = '00000000-0000-0000-0000-000000000000' AND aggregate = 'tenant'
          AND aggregate_id = p_tenant::text AND sequence = 1
    ) THEN
        RAISE EXCEPTION 'the platform log does not create tenant %: restore the platform log first', p_tenant;
    END IF;
    INSERT INTO counterfoil.chain_heads (tenant_id, partition) VALUES (p_tenant, p_partition) ON CONFLICT DO NOTHING;
END
$$;

REVOKE ALL ON FUNCTION counterfoil.restore_head FROM PUBLIC;
GRANT EXECUTE ON FUNCTION counterfoil.restore_head TO counterfoil_log;
GRANT CREATE ON SCHEMA counterfoil TO counterfoil_append;
ALTER FUNCTION counterfoil.restore_head OWNER TO counterfoil_append;
REVOKE CREATE ON SCHEMA counterfoil FROM counterfoil_append;
