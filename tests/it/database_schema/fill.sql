-- Makes pg_temp.fill(tenants, rows): so many rows for each tenant in every tenant table of the database, whatever its
-- columns are, so that a table that is added later is filled too. Rows are nonsense but for what they say of their
-- tenant: tenant_id, and every text, which is JSON and names it. Run as superuser, in a database of the test's own:
-- checks are dropped and triggers do not fire.
CREATE FUNCTION pg_temp.value_of(type regtype) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE type::text
        WHEN 'uuid' THEN 'md5(t::text || g)::uuid'
        WHEN 'text' THEN 'json_build_object(''tenant'', t, ''row'', lpad(g::text, 8, ''0''))::text'
        WHEN 'text[]' THEN 'ARRAY[t::text]'
        WHEN 'jsonb' THEN 'jsonb_build_object(''tenant'', t, ''row'', g)'
        WHEN 'bytea' THEN 'decode(md5(t::text || g), ''hex'')'
        WHEN 'boolean' THEN 'true'
        WHEN 'timestamp with time zone' THEN 'now() + make_interval(secs => g)'
        WHEN 'date' THEN 'current_date + (g % 1000)'
        ELSE format('g::%s', type) -- the numbers; any other type is an error, and gets a line here
    END
$$;

CREATE FUNCTION pg_temp.fill(tenants uuid[], per_tenant integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    home    record;
    checked record;
    columns text;
    wanted  text;
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    FOR home IN
        SELECT c.oid, c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%')
    LOOP
        FOR checked IN SELECT conname FROM pg_constraint WHERE conrelid = home.oid AND contype = 'c' LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', home.name, checked.conname);
        END LOOP;
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
               string_agg(CASE attname WHEN 'tenant_id' THEN 't' ELSE pg_temp.value_of(atttypid) END, ', ' ORDER BY attnum)
        INTO columns, wanted
        FROM pg_attribute
        WHERE attrelid = home.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
        EXECUTE format('DELETE FROM %s WHERE tenant_id = ANY ($1)', home.name) USING tenants;
        -- A table with one row a tenant (its key is the tenant) takes the first of them.
        EXECUTE format(
            'INSERT INTO %s (%s) SELECT %s FROM unnest($1) t, generate_series(1, $2) g ON CONFLICT DO NOTHING',
            home.name, columns, wanted) USING tenants, per_tenant;
        EXECUTE format('ANALYZE %s', home.name);
    END LOOP;
    PERFORM set_config('session_replication_role', 'origin', true);
END
$$;
