CREATE TABLE tenants (
    tenant_id    uuid    NOT NULL,
    key          text COLLATE "C" NOT NULL,
    organisation uuid    NOT NULL,
    name         text    NOT NULL,
    home         boolean NOT NULL,
    suspended    text,
    -- Share by organisation, as decimal text.
    carriers     jsonb   NOT NULL,
    exposure     jsonb,
    retain_until text,
    erased       boolean NOT NULL,
    created_at   text    NOT NULL,
    position     bigint  NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
