CREATE TABLE completions (
    tenant_id     uuid    NOT NULL,
    key           text COLLATE "C" NOT NULL,
    agent         uuid    NOT NULL,
    api_key       uuid    NOT NULL,
    model         text,
    provider      text,
    stream        boolean NOT NULL,
    day           text    NOT NULL,
    asked_at      text    NOT NULL,
    ended_at      text,
    status        text    NOT NULL,
    corrected     boolean NOT NULL,
    input_tokens  bigint  NOT NULL,
    output_tokens bigint  NOT NULL,
    estimated     boolean NOT NULL,
    cost          jsonb,
    step          text,
    code          text,
    reasons       text[]  NOT NULL,
    position      bigint  NOT NULL,
    settle_by     text COLLATE "C",
    PRIMARY KEY (tenant_id, key)
);
-- Serves the list of one agent's completions.
CREATE INDEX ON completions (tenant_id, agent, key);
-- Serves the sweeper, which looks at all tenants: only what is under way is in it.
CREATE INDEX ON completions (settle_by) WHERE settle_by IS NOT NULL;
CREATE TABLE usage (
    tenant_id     uuid   NOT NULL,
    key           text COLLATE "C" NOT NULL,
    agent         uuid   NOT NULL,
    model         text,
    day           text   NOT NULL,
    completions   bigint NOT NULL,
    settled       bigint NOT NULL,
    denied        bigint NOT NULL,
    failed        bigint NOT NULL,
    lost          bigint NOT NULL,
    input_tokens  bigint NOT NULL,
    output_tokens bigint NOT NULL,
    -- Micro-units by currency, as integer text.
    cost          jsonb  NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITH (fillfactor = 70);
