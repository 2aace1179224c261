CREATE TABLE organisations (
    tenant_id   uuid   NOT NULL,
    key         text COLLATE "C" NOT NULL,
    kind        text   NOT NULL,
    name        text   NOT NULL,
    home_tenant uuid   NOT NULL,
    suspended   text,
    created_at  text   NOT NULL,
    position    bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
