-- When sessions were last used, beside the log: it changes with every minute of use, and nobody needs it for ever. That a
-- session exists, whose it is and how its holder is known, the log says; a row without the log's word opens nothing.

-- Under the platform's tenant, as users are.
CREATE TABLE counterfoil.sessions (
    tenant_id    uuid        NOT NULL,
    session_id   uuid        NOT NULL,
    user_id      uuid        NOT NULL,
    -- BLAKE3 of what its holder shows, under the pepper, as the log has it.
    hash         bytea       NOT NULL CHECK (octet_length(hash) = 32),
    opened_at    timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    -- Its end at the latest.
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
);
CREATE INDEX sessions_of_user ON counterfoil.sessions (tenant_id, user_id);

ALTER TABLE counterfoil.sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY admitted ON counterfoil.sessions AS PERMISSIVE
    TO counterfoil_app, counterfoil_reader USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON counterfoil.sessions AS RESTRICTIVE
    USING (tenant_id = (SELECT NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid));

-- Only what the process that serves needs.
GRANT SELECT, INSERT, DELETE ON counterfoil.sessions TO counterfoil_app;
GRANT UPDATE (last_used_at) ON counterfoil.sessions TO counterfoil_app;
