-- The roles of a cluster. Idempotent; run by `counterfoil init` as an administrator.
-- Roles are cluster-wide, so they are never made by a migration. Passwords are set by `init`, never here.
--
--   counterfoil_owner      migrations; owns the schema
--   counterfoil_append     owns the append functions and alone may write the log; nobody logs in as it
--   counterfoil_app        requests: bound by row-level security
--   counterfoil_reader     auditors' tools, one tenant per connection: bound by row-level security
--   counterfoil_log        sequencer, relay, audit: executes the append functions, reads all tenants
--   counterfoil_projector  reads events, owns the schemas read_*

DO $$
DECLARE
    login text;
BEGIN
    -- Two processes that start fresh make one of each.
    PERFORM pg_advisory_xact_lock(hashtext('counterfoil roles'));
    FOREACH login IN ARRAY ARRAY['owner', 'app', 'reader', 'log', 'projector'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'counterfoil_' || login) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', 'counterfoil_' || login);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'counterfoil_append') THEN
        CREATE ROLE counterfoil_append NOLOGIN;
    END IF;
    ALTER ROLE counterfoil_append NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS;
    ALTER ROLE counterfoil_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    ALTER ROLE counterfoil_app NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    ALTER ROLE counterfoil_reader NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    ALTER ROLE counterfoil_log NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS;
    ALTER ROLE counterfoil_projector NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS;
    -- A query that row-level security would have filtered is an error for them, not a short answer.
    ALTER ROLE counterfoil_log SET row_security = off;
    ALTER ROLE counterfoil_projector SET row_security = off;
    -- Both look rows up by keys, and a statement's plan is kept while its tables grow: one that was made when a table
    -- was small would read all of it for every step, until statistics are gathered the next time (decision 0020).
    ALTER ROLE counterfoil_projector SET enable_seqscan = off;
    ALTER ROLE counterfoil_projector SET enable_bitmapscan = off;
    ALTER ROLE counterfoil_projector SET enable_hashjoin = off;
    ALTER ROLE counterfoil_projector SET enable_mergejoin = off;
    ALTER ROLE counterfoil_projector SET plan_cache_mode = force_generic_plan;
    ALTER ROLE counterfoil_projector SET jit = off;
    ALTER ROLE counterfoil_app SET enable_seqscan = off;
    ALTER ROLE counterfoil_app SET jit = off;
    -- Requests may come through a pooler, which refuses these as settings of a session.
    ALTER ROLE counterfoil_app SET statement_timeout = '10s';
    ALTER ROLE counterfoil_app SET idle_in_transaction_session_timeout = '10s';
    -- The owner hands the append functions over to their own role.
    GRANT counterfoil_append TO counterfoil_owner;
    -- A down migration drops the read models, which their projector owns.
    GRANT counterfoil_projector TO counterfoil_owner;
END
$$;
