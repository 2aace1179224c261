-- What lies beside the log for each link of a user to a subject at an issuer: by what a token finds it, and the salt of
-- what the link's event is held to. Who the subject is is not here either; deleting a row is the end of knowing.

-- Under the home tenant of the issuer's organisation; the platform's own issuers under the platform.
CREATE TABLE counterfoil.subjects (
    tenant_id uuid        NOT NULL,
    link      uuid        NOT NULL,
    -- Whose link it is, so that one that was begun and not recorded can be told from one that is.
    user_id   uuid        NOT NULL,
    -- Of issuer and subject, under a key of the server's.
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    salt      bytea       NOT NULL CHECK (octet_length(salt) = 32),
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, link),
    -- A subject at an issuer is one user.
    UNIQUE (tenant_id, hash)
);

ALTER TABLE counterfoil.subjects ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY admitted ON counterfoil.subjects AS PERMISSIVE
    TO counterfoil_app, counterfoil_reader USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON counterfoil.subjects AS RESTRICTIVE
    USING (tenant_id = (SELECT NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid))
    WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('counterfoil.tenant_id', true), '')::uuid));

-- A row is made and deleted, never changed.
GRANT SELECT, INSERT, DELETE ON counterfoil.subjects TO counterfoil_app;
-- The security state of every process reads the rows of all tenants, and so does a backup.
GRANT SELECT ON counterfoil.subjects TO counterfoil_log;
-- Restore.
GRANT SELECT, INSERT ON counterfoil.subjects TO counterfoil_append;
