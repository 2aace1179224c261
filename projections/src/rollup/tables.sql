CREATE TABLE rollup_homes (
    tenant_id   uuid NOT NULL,
    key         text COLLATE "C" NOT NULL,
    home_tenant uuid NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE rollup_carriages (
    tenant_id uuid   NOT NULL,
    key       text   COLLATE "C" NOT NULL,
    name      text   NOT NULL,
    carriers  jsonb  NOT NULL,
    exposure  jsonb,
    position  bigint NOT NULL,
    event_id  uuid   NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE rollup_kri_names (
    tenant_id uuid   NOT NULL,
    key       text   COLLATE "C" NOT NULL,
    kris      text[] NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE rollup_measures (
    tenant_id uuid    NOT NULL,
    key       text    COLLATE "C" NOT NULL,
    name      text    NOT NULL,
    unit      text    NOT NULL,
    retired   boolean NOT NULL,
    latest    jsonb,
    previous  jsonb,
    position  bigint  NOT NULL,
    event_id  uuid    NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE rollup_carried (
    tenant_id uuid   NOT NULL,
    key       text   COLLATE "C" NOT NULL,
    tenant    uuid   NOT NULL,
    name      text   NOT NULL,
    share     text   NOT NULL,
    exposure  jsonb,
    position  bigint NOT NULL,
    event_id  uuid   NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE rollup_members (
    tenant_id uuid   NOT NULL,
    key       text   COLLATE "C" NOT NULL,
    tenant    uuid   NOT NULL,
    kri       text   NOT NULL,
    name      text   NOT NULL,
    unit      text   NOT NULL,
    latest    jsonb,
    previous  jsonb,
    share     text   NOT NULL,
    exposure  jsonb,
    position  bigint NOT NULL,
    event_id  uuid   NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
-- Serves the rollup of one KRI.
CREATE INDEX ON rollup_members (tenant_id, kri);
