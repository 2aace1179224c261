-- Every rule of isolation, asked of the catalog: one line for each place that breaks one. Run in a transaction that has
-- `rules_model`, a table with the two policies as they have to be.
WITH home AS (
    SELECT c.oid, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relacl, c.relowner,
           n.nspname, format('%s.%s', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname = 'counterfoil' OR n.nspname LIKE 'read%') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
), tenants AS (
    -- These two say nothing of any tenant.
    SELECT * FROM home
    WHERE relkind IN ('r', 'p') AND name NOT IN ('counterfoil.projection_versions', 'counterfoil.rebuild_jobs')
), policy AS (
    SELECT polrelid, polname, polpermissive, polcmd, polroles::regrole[]::text[] AS roles,
           pg_get_expr(polqual, polrelid) AS reading, pg_get_expr(polwithcheck, polrelid) AS writing
    FROM pg_policy
), model AS (
    SELECT * FROM policy WHERE polrelid = 'rules_model'::regclass
), granted AS (
    SELECT format('%s %s %s', g.grantee::regrole, string_agg(g.privilege_type, ',' ORDER BY g.privilege_type),
                  CASE WHEN h.nspname LIKE 'read%' THEN 'read models' ELSE h.name END) AS line, h.name
    FROM home h CROSS JOIN LATERAL aclexplode(h.relacl) g
    WHERE g.grantee <> h.relowner
    GROUP BY g.grantee, h.nspname, h.name
), columns_granted AS (
    SELECT format('%s %s %s.%s', g.grantee::regrole, string_agg(g.privilege_type, ',' ORDER BY g.privilege_type), h.name,
                  a.attname) AS line, h.name, a.attname
    FROM pg_attribute a JOIN home h ON h.oid = a.attrelid CROSS JOIN LATERAL aclexplode(a.attacl) g
    GROUP BY g.grantee, h.name, a.attname
)
SELECT format('%s: row-level security is not enabled and forced', name) FROM tenants
WHERE NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT format('%s: policy %s is missing or not as it has to be', t.name, m.polname)
FROM tenants t CROSS JOIN model m
WHERE NOT EXISTS (
    SELECT FROM policy p WHERE p.polrelid = t.oid AND p.polname = m.polname AND p.polpermissive = m.polpermissive
    AND p.polcmd = m.polcmd AND p.roles = m.roles AND p.reading = m.reading AND p.writing = m.writing)
UNION ALL
SELECT format('%s: policy %s is one too many', h.name, p.polname)
FROM policy p JOIN home h ON h.oid = p.polrelid
WHERE p.polname NOT IN (SELECT polname FROM model) OR h.oid NOT IN (SELECT oid FROM tenants)
UNION ALL
SELECT format('%s: no primary key', name) FROM tenants
WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = tenants.oid AND i.indisprimary)
UNION ALL
SELECT format('%s: %s is unique and does not begin with tenant_id', t.name, i.indexrelid::regclass)
FROM tenants t JOIN pg_index i ON i.indrelid = t.oid
WHERE i.indisunique AND NOT EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = i.indkey[0] AND a.attname = 'tenant_id')
UNION ALL
SELECT format('%s: reference %s does not go from tenant_id to tenant_id first', h.name, k.conname)
FROM pg_constraint k JOIN home h ON h.oid = k.conrelid
WHERE k.contype = 'f' AND NOT (
    EXISTS (SELECT FROM pg_attribute a
            WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND a.attname = 'tenant_id')
    AND EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1] AND a.attname = 'tenant_id'))
UNION ALL
SELECT format('%s: a view that does not run as its caller', name) FROM home
WHERE relkind = 'v' AND NOT coalesce(reloptions @> '{security_invoker=true}', false)
UNION ALL
SELECT format('%s: row-level security does not reach this kind of relation', name) FROM home WHERE relkind IN ('m', 'f')
UNION ALL
SELECT format('%s.%s: a table outside the schemas that these rules look at', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT LIKE 'read%'
  AND n.nspname NOT IN ('counterfoil', 'counterfoil_migrations', 'information_schema')
UNION ALL
-- Functions that run as another: in the hands of the role that nobody logs in as, for the log alone, with a pinned
-- search path, and never answering less than they were asked because of row-level security.
SELECT format('%s: runs as another and is not narrow', p.oid::regprocedure)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT coalesce(
    p.proconfig @> '{search_path=pg_catalog,row_security=off}' AND p.proowner = 'counterfoil_append'::regrole
    AND NOT has_function_privilege('counterfoil_app', p.oid, 'EXECUTE')
    AND NOT has_function_privilege('counterfoil_reader', p.oid, 'EXECUTE')
    AND NOT has_function_privilege('counterfoil_projector', p.oid, 'EXECUTE')
    AND has_function_privilege('counterfoil_log', p.oid, 'EXECUTE'), false)
UNION ALL
SELECT format('%s: a role that is not as docs/security.md has it', r.rolname)
FROM pg_roles r LEFT JOIN unnest($1::text[], $2::boolean[], $3::boolean[])
    AS wanted(name, bypasses, logs_in) ON wanted.name = r.rolname
WHERE r.rolname LIKE 'counterfoil%' AND NOT coalesce(
    NOT r.rolsuper AND NOT r.rolcreatedb AND NOT r.rolcreaterole AND NOT r.rolreplication
    AND r.rolbypassrls = wanted.bypasses AND r.rolcanlogin = wanted.logs_in
    -- Who bypasses and logs in is told when a query would have been filtered.
    AND (r.rolbypassrls AND r.rolcanlogin) = coalesce(r.rolconfig @> '{row_security=off}', false), false)
UNION ALL
SELECT format('%s belongs to %s', member.rolname, role.rolname)
FROM pg_auth_members m JOIN pg_roles member ON member.oid = m.member JOIN pg_roles role ON role.oid = m.roleid
WHERE role.rolname LIKE 'counterfoil%' AND member.rolname <> 'counterfoil_owner' AND NOT member.rolsuper
UNION ALL
SELECT format('%s: granted and not in the list: %s', name, line) FROM granted WHERE line <> ALL ($4::text[])
UNION ALL
SELECT format('%s: column %s is granted and not in the list: %s', name, attname, line) FROM columns_granted
WHERE line <> ALL ($4::text[])
UNION ALL
SELECT format('%s: %s may make objects in it', n.nspname, bound)
FROM pg_namespace n CROSS JOIN unnest('{counterfoil_app,counterfoil_reader}'::text[]) bound
WHERE (n.nspname LIKE 'counterfoil%' OR n.nspname LIKE 'read%') AND has_schema_privilege(bound, n.oid, 'CREATE')
ORDER BY 1
