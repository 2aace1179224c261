-- Run with a version's schema as search_path: binds its tables to one tenant and opens them to those it binds.
DO $$
DECLARE
    bound text;
    home  text := current_schema();
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO counterfoil_app, counterfoil_reader', home);
    FOR bound IN SELECT tablename FROM pg_tables WHERE schemaname = home LOOP
        EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', home, bound);
        EXECUTE format(
            'CREATE POLICY admitted ON %I.%I AS PERMISSIVE '
            'TO counterfoil_app, counterfoil_reader USING (true) WITH CHECK (true)', home, bound);
        EXECUTE format(
            'CREATE POLICY own_tenant ON %I.%I AS RESTRICTIVE '
            'USING (tenant_id = (SELECT NULLIF(current_setting(''counterfoil.tenant_id'', true), '''')::uuid)) '
            'WITH CHECK (tenant_id = (SELECT NULLIF(current_setting(''counterfoil.tenant_id'', true), '''')::uuid))',
            home, bound);
        EXECUTE format('GRANT SELECT ON %I.%I TO counterfoil_app, counterfoil_reader', home, bound);
    END LOOP;
END
$$;
