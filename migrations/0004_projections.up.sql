-- What the projection engine remembers: versions, cursors, parked events, rebuilds. The read models themselves live
-- in schemas read_<name>_v<N> that counterfoil_projector makes and owns.

-- Which builds of a projection exist. Fed until dropped; at most one is live.
CREATE TABLE counterfoil.projection_versions (
    projection text        NOT NULL,
    version    integer     NOT NULL CHECK (version > 0),
    -- Of the fold and tables in the code that made it.
    revision   integer     NOT NULL,
    state      text        NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    made_at    timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (projection, version)
);
CREATE UNIQUE INDEX one_live_version ON counterfoil.projection_versions (projection) WHERE state = 'live';

-- Up to where a version has folded a tenant's log. Moved in the transaction of the fold's effect: the fence.
CREATE TABLE counterfoil.projection_cursors (
    tenant_id  uuid    NOT NULL,
    projection text    NOT NULL,
    version    integer NOT NULL,
    position   bigint  NOT NULL CHECK (position >= 0),
    PRIMARY KEY (tenant_id, projection, version)
) WITH (fillfactor = 50);

-- Events that a version could not fold, and later events of the same aggregate, in order behind them.
CREATE TABLE counterfoil.parked_events (
    tenant_id    uuid        NOT NULL,
    projection   text        NOT NULL,
    version      integer     NOT NULL,
    position     bigint      NOT NULL,
    aggregate    text        NOT NULL,
    aggregate_id text        NOT NULL,
    type         text        NOT NULL,
    reason       text        NOT NULL,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, projection, version, position)
);

-- One rebuild per projection at a time; the last one stays visible.
CREATE TABLE counterfoil.rebuild_jobs (
    projection     text        PRIMARY KEY,
    version        integer     NOT NULL,
    state          text        NOT NULL CHECK (state IN ('running', 'cancelled', 'failed', 'done')),
    -- Zero: as fast as it goes.
    events_per_s   integer     NOT NULL DEFAULT 0,
    events_total   bigint      NOT NULL DEFAULT 0,
    events_done    bigint      NOT NULL DEFAULT 0,
    started_at     timestamptz NOT NULL DEFAULT now(),
    heartbeat_at   timestamptz NOT NULL DEFAULT now(),
    ended_at       timestamptz,
    detail         text        NOT NULL DEFAULT ''
);

DO $$
DECLARE
    bound text;
BEGIN
    FOREACH bound IN ARRAY ARRAY['projection_cursors', 'parked_events'] LOOP
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

GRANT SELECT ON counterfoil.projection_cursors, counterfoil.parked_events, counterfoil.projection_versions
    TO counterfoil_app, counterfoil_log;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON counterfoil.projection_versions, counterfoil.projection_cursors, counterfoil.parked_events, counterfoil.rebuild_jobs
    TO counterfoil_projector;
