CREATE TABLE kris (
    tenant_id  uuid    NOT NULL,
    key        text COLLATE "C" NOT NULL,
    definition jsonb   NOT NULL,
    retired    boolean NOT NULL,
    latest     jsonb,
    previous   jsonb,
    defined_at text    NOT NULL,
    position   bigint  NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
-- The key begins with the KRI and ends with the instant: the primary key serves a KRI's history in order.
CREATE TABLE kri_measurements (
    tenant_id      uuid  NOT NULL,
    key            text COLLATE "C" NOT NULL,
    kri            text  NOT NULL,
    measured_at    text  NOT NULL,
    measurement    jsonb NOT NULL,
    source         uuid  NOT NULL,
    run            text  NOT NULL,
    payload_digest text  NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE kri_sources (
    tenant_id uuid   NOT NULL,
    key       text COLLATE "C" NOT NULL,
    kri       text   NOT NULL,
    kind      text   NOT NULL,
    disabled  text,
    config    jsonb  NOT NULL,
    position  bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE TABLE kri_runs (
    tenant_id    uuid   NOT NULL,
    key          text COLLATE "C" NOT NULL,
    kri          text   NOT NULL,
    source       uuid   NOT NULL,
    state        text   NOT NULL,
    attempt      bigint NOT NULL,
    runner       text,
    lease_until  text,
    requested_at text   NOT NULL,
    ended_at     text,
    code         text,
    value        text,
    measured_at  text,
    position     bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
