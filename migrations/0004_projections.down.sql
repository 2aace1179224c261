-- The read models are derived: they go with what the engine remembers of them, else the next ones would meet them; a
-- rebuild makes them again. They belong to counterfoil_projector, of which the owner is a member.
DO $$
DECLARE
    derived text;
BEGIN
    FOR derived IN
        SELECT n.nspname FROM pg_namespace n
        WHERE n.nspowner = 'counterfoil_projector'::regrole AND (n.nspname = 'read' OR n.nspname ~ '^read_.+_v[0-9]+$')
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', derived);
    END LOOP;
END
$$;
DROP TABLE counterfoil.rebuild_jobs, counterfoil.parked_events, counterfoil.projection_cursors,
    counterfoil.projection_versions;
