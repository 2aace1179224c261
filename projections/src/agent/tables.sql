CREATE TABLE agents (
    tenant_id     uuid   NOT NULL,
    key           text COLLATE "C" NOT NULL,
    name          text   NOT NULL,
    spec          jsonb  NOT NULL,
    models        text[] NOT NULL,
    tool_scopes   text[] NOT NULL,
    risk_tier     text   NOT NULL,
    suspended     text,
    api_keys      jsonb  NOT NULL,
    registered_at text   NOT NULL,
    position      bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
