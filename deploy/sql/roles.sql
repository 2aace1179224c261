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
    -- Requests may come through a pooler, which refuses these as settings of a session.
    ALTER ROLE counterfoil_app SET statement_timeout = '10s';
    ALTER ROLE counterfoil_app SET idle_in_transaction_session_timeout = '10s';
    -- The owner hands the append functions over to their own role.
    GRANT counterfoil_append TO counterfoil_owner;
    -- A down migration drops the read models, which their projector owns.
    GRANT counterfoil_projector TO counterfoil_owner;
END
$$;
