-- The vault: organisations' keys, wrapped by a KMS, and the ciphertexts of secrets' versions. Nothing here opens without
-- the KMS, and nothing here says which ciphertext counts: the log does, by digest.

-- Under the organisation's home tenant.
CREATE TABLE counterfoil.organisation_keys (
    tenant_id       uuid        NOT NULL,
    -- 1, 2, 3 …; the highest wraps new data keys.
    number          integer     NOT NULL CHECK (number > 0),
    organisation_id uuid        NOT NULL,
    -- Which version of the KEK wrapped it, in the KMS's own words.
    kek             text        NOT NULL CHECK (octet_length(kek) <= 512),
    wrapped         bytea       NOT NULL CHECK (octet_length(wrapped) <= 1024),
    made_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, number)
);

CREATE TABLE counterfoil.secret_versions (
    tenant_id        uuid        NOT NULL,
    secret           text        NOT NULL CHECK (octet_length(secret) <= 64),
    version          integer     NOT NULL CHECK (version > 0),
    -- BLAKE3 of `sealed`: of two who store the same version at one time the log names one, by this.
    digest           bytea       NOT NULL CHECK (octet_length(digest) = 32),
    -- The value: nonce, ciphertext, tag. It never changes.
    sealed           bytea       NOT NULL CHECK (octet_length(sealed) <= 65536 + 28),
    data_key         uuid        NOT NULL,
    -- The data key, wrapped by this key of the organisation; wrapped anew when that key is rotated.
    organisation_key integer     NOT NULL CHECK (organisation_key > 0),
    wrapped          bytea       NOT NULL CHECK (octet_length(wrapped) <= 1024),
    stored_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, secret, version, digest)
);

DO $$
DECLARE
    bound text;
BEGIN
    FOREACH bound IN ARRAY ARRAY['organisation_keys', 'secret_versions'] LOOP
        EXECUTE format('ALTER TABLE counterfoil.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', bound);
        EXECUTE format(
            'CREATE POLICY admitted ON counterfoil.%I AS PERMISSIVE '
            'TO counterfoil_app, counterfoil_reader USING (true) WITH CHECK (true)', bound);
        EXECUTE format(
            'CREATE POLICY own_tenant ON counterfoil.%I AS RESTRICTIVE '
            'USING (tenant_id = (SELECT NULLIF(current_setting(''counterfoil.tenant_id'', true), '''')::uuid)) '
            'WITH CHECK (tenant_id = (SELECT NULLIF(current_setting(''counterfoil.tenant_id'', true), '''')::uuid))',
            bound);
    END LOOP;
END
$$;

-- Only what the process that serves needs; auditors' tools and projections get nothing. A value's ciphertext cannot be
-- changed, only wrapped anew or deleted.
GRANT SELECT, INSERT ON counterfoil.organisation_keys, counterfoil.secret_versions TO counterfoil_app;
GRANT UPDATE (kek, wrapped) ON counterfoil.organisation_keys TO counterfoil_app;
GRANT UPDATE (organisation_key, wrapped) ON counterfoil.secret_versions TO counterfoil_app;
GRANT DELETE ON counterfoil.secret_versions TO counterfoil_app;
-- Backup and restore.
GRANT SELECT ON counterfoil.organisation_keys, counterfoil.secret_versions TO counterfoil_log;
GRANT SELECT, INSERT ON counterfoil.organisation_keys, counterfoil.secret_versions TO counterfoil_append;
