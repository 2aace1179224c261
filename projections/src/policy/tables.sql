CREATE TABLE policies (
    tenant_id    uuid   NOT NULL,
    key          text COLLATE "C" NOT NULL,
    active       bigint,
    active_since text,
    latest       bigint NOT NULL,
    position     bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE policy_versions (
    tenant_id    uuid   NOT NULL,
    key          text COLLATE "C" NOT NULL,
    layer        text   NOT NULL,
    version      bigint NOT NULL,
    source       jsonb  NOT NULL,
    tests        bigint NOT NULL,
    published_at text   NOT NULL,
    position     bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
-- Serves the list of a layer's versions.
CREATE INDEX ON policy_versions (tenant_id, layer, version);
