-- The log: heads, events, documents, idempotency records, snapshots, head notes.
--
-- Every table is led by tenant_id, in keys too, and bound by row-level security from the start.
-- Only the append functions (0002) write; events, documents and head notes refuse UPDATE, DELETE and TRUNCATE.

CREATE SCHEMA counterfoil;
GRANT USAGE ON SCHEMA counterfoil
    TO counterfoil_append, counterfoil_app, counterfoil_reader, counterfoil_log, counterfoil_projector;

-- One row per tenant: the end of its chain. Updated once per commit, so room is left for in-page updates.
CREATE TABLE counterfoil.chain_heads (
    tenant_id         uuid        PRIMARY KEY,
    partition         integer     NOT NULL CHECK (partition >= 0),
    position          bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    hash              bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(hash) = 32),
    recorded_at       timestamptz NOT NULL DEFAULT 'epoch',
    -- Raised to shut out a write whose outcome is unknown.
    fence             bigint      NOT NULL DEFAULT 0,
    -- Why the tenant takes no appends; null when it does.
    quarantine_reason text
) WITH (fillfactor = 40);

CREATE TABLE counterfoil.events (
    tenant_id    uuid        NOT NULL,
    position     bigint      NOT NULL CHECK (position > 0),
    event_id     uuid        NOT NULL,
    aggregate    text        NOT NULL,
    aggregate_id text        NOT NULL,
    sequence     bigint      NOT NULL CHECK (sequence > 0),
    type         text        NOT NULL,
    version      text        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    hash         bytea       NOT NULL CHECK (octet_length(hash) = 32),
    key_id       bytea       NOT NULL CHECK (octet_length(key_id) = 8),
    signature    bytea       NOT NULL CHECK (octet_length(signature) = 64),
    -- The exact bytes that were hashed and signed.
    envelope     text        NOT NULL CHECK (octet_length(envelope) <= 65535),
    PRIMARY KEY (tenant_id, position),
    -- Serves loading an aggregate and finding its last sequence.
    UNIQUE (tenant_id, aggregate, aggregate_id, sequence)
-- Events are small and read in sequence: up to 4 kB they are not compressed, which would cost more than writing them.
) WITH (toast_tuple_target = 4080);

CREATE TABLE counterfoil.documents (
    tenant_id uuid  NOT NULL,
    digest    bytea NOT NULL CHECK (octet_length(digest) = 32),
    body      text  NOT NULL CHECK (octet_length(body) <= 1048576),
    PRIMARY KEY (tenant_id, digest)
);

-- Which receipts an Idempotency-Key stands for. The key's scope (principal, route) is hashed into it.
CREATE TABLE counterfoil.idempotency (
    tenant_id      uuid        NOT NULL,
    key_hash       bytea       NOT NULL CHECK (octet_length(key_hash) = 32),
    fingerprint    bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    first_position bigint      NOT NULL,
    event_count    integer     NOT NULL CHECK (event_count > 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key_hash)
);
-- Serves the janitor only; block ranges, since rows arrive in time order and the append path pays for every index.
CREATE INDEX idempotency_age ON counterfoil.idempotency USING brin (created_at);

-- A shortcut for loading long aggregates; always re-made from committed events, never trusted for anything else.
CREATE TABLE counterfoil.snapshots (
    tenant_id    uuid   NOT NULL,
    aggregate    text   NOT NULL,
    aggregate_id text   NOT NULL,
    -- Names the state's shape; another shape is not read.
    state_schema bytea  NOT NULL,
    sequence     bigint NOT NULL,
    state        text   NOT NULL,
    PRIMARY KEY (tenant_id, aggregate, aggregate_id)
);

CREATE TABLE counterfoil.head_notes (
    tenant_id uuid        NOT NULL,
    position  bigint      NOT NULL CHECK (position > 0),
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    noted_at  timestamptz NOT NULL,
    note      text        NOT NULL,
    PRIMARY KEY (tenant_id, position)
);

CREATE FUNCTION counterfoil.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: the log is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON counterfoil.events
    FOR EACH STATEMENT EXECUTE FUNCTION counterfoil.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON counterfoil.documents
    FOR EACH STATEMENT EXECUTE FUNCTION counterfoil.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON counterfoil.head_notes
    FOR EACH STATEMENT EXECUTE FUNCTION counterfoil.refuse_change();

-- Row-level security. The permissive policy admits the bound roles; the restrictive one binds them to one tenant.
-- The setting is read once per query, as a sub-select.
DO $$
DECLARE
    bound text;
BEGIN
    FOREACH bound IN ARRAY ARRAY['chain_heads', 'events', 'documents', 'idempotency', 'snapshots', 'head_notes'] LOOP
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

GRANT SELECT ON counterfoil.chain_heads, counterfoil.events, counterfoil.documents, counterfoil.head_notes
    TO counterfoil_app, counterfoil_reader, counterfoil_projector;
GRANT SELECT ON ALL TABLES IN SCHEMA counterfoil TO counterfoil_log;
GRANT INSERT ON counterfoil.head_notes TO counterfoil_log;
GRANT INSERT, UPDATE, DELETE ON counterfoil.snapshots TO counterfoil_log;
GRANT DELETE ON counterfoil.idempotency TO counterfoil_log;

GRANT SELECT, INSERT ON counterfoil.events, counterfoil.documents TO counterfoil_append;
GRANT SELECT, INSERT, UPDATE ON counterfoil.chain_heads, counterfoil.idempotency TO counterfoil_append;
