-- Bodies are checked when they first run: as their owner, whom row-level security does not bind.
SET LOCAL check_function_bodies = off;

-- Appends one tenant's batch. Checks first, all or nothing:
--   1. lock the head and compare it with what the batch was placed on,
--   2. compare every expected aggregate sequence, look up every idempotency key,
--   3. ask whether the batch is signed by the key that was introduced last: a process that missed a rotation is told so,
--   4. when anything is off write nothing and answer {head, refused}; else write all and answer NULL.
-- The caller's COMMIT (of this one statement) is the commit point.
CREATE OR REPLACE FUNCTION counterfoil.append(
    p_tenant uuid, p_position bigint, p_hash bytea, p_fence bigint, p_new_hash bytea, p_recorded_at timestamptz,
    p_key_id bytea,
    -- One row per aggregate that the batch touches; p_item names the request.
    p_item integer[], p_aggregate text[], p_aggregate_id text[], p_expected bigint[],
    -- One row per idempotency key; p_key_item names the request.
    p_key_item integer[], p_key_hash bytea[], p_key_fingerprint bytea[], p_key_position bigint[], p_key_count integer[],
    -- One row per event, in position order.
    e_event_id uuid[], e_aggregate text[], e_aggregate_id text[], e_sequence bigint[], e_type text[],
    e_version text[], e_hash bytea[], e_signature bytea[], e_envelope text[],
    d_digest bytea[], d_body text[],
    -- Tenants that this batch of the platform log creates.
    h_tenant uuid[], h_partition integer[]
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
DECLARE
    head    record;
    refused jsonb;
    expired boolean;
    signing text;
BEGIN
    SELECT h.position, encode(h.hash, 'hex') AS hash, h.fence, h.recorded_at, h.quarantine_reason INTO head
    FROM counterfoil.chain_heads h WHERE h.tenant_id = p_tenant FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('missing', true);
    END IF;

    -- Under the head's lock and in a snapshot that was taken after it: once a later key has signed in this log, an
    -- earlier one cannot. There is no key before the first event.
    SELECT e.envelope::json -> 'payload' ->> 'key_id' INTO signing FROM counterfoil.events e
    WHERE e.tenant_id = '00000000-0000-0000-0000-000000000000' AND e.aggregate = 'keyring'
      AND e.aggregate_id = 'keyring'
    ORDER BY e.sequence DESC LIMIT 1;
    IF signing <> encode(p_key_id, 'hex') THEN
        RETURN jsonb_build_object('superseded', signing);
    END IF;

    SELECT jsonb_agg(checks.off) FILTER (WHERE NOT checks.expired), bool_or(checks.expired) INTO refused, expired
    FROM (
        SELECT false AS expired,
               jsonb_build_object('item', want.item, 'aggregate', want.aggregate,
                                  'aggregate_id', want.aggregate_id, 'actual', found.sequence) AS off
        FROM unnest(p_item, p_aggregate, p_aggregate_id, p_expected)
                 AS want (item, aggregate, aggregate_id, expected)
        CROSS JOIN LATERAL (
            SELECT coalesce((
                SELECT e.sequence FROM counterfoil.events e
                WHERE e.tenant_id = p_tenant AND e.aggregate = want.aggregate AND e.aggregate_id = want.aggregate_id
                ORDER BY e.sequence DESC LIMIT 1), 0) AS sequence
        ) found
        WHERE found.sequence <> want.expected
        UNION ALL
        SELECT kept.created_at <= now() - interval '24 hours',
               jsonb_build_object('item', want.item, 'fingerprint', encode(kept.fingerprint, 'hex'),
                                  'position', kept.first_position, 'count', kept.event_count)
        FROM unnest(p_key_item, p_key_hash) AS want (item, key_hash)
        JOIN counterfoil.idempotency kept ON kept.tenant_id = p_tenant AND kept.key_hash = want.key_hash
    ) AS checks;

    IF refused IS NOT NULL OR head.quarantine_reason IS NOT NULL OR head.position <> p_position
       OR head.fence <> p_fence OR head.hash <> encode(p_hash, 'hex') THEN
        RETURN jsonb_build_object(
            'head', jsonb_build_object('position', head.position, 'hash', head.hash, 'fence', head.fence,
                                       'recorded_at_micros', (extract(epoch FROM head.recorded_at) * 1000000)::bigint),
            'quarantine', head.quarantine_reason,
            'refused', coalesce(refused, '[]'));
    END IF;

    INSERT INTO counterfoil.events (tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version,
                                    recorded_at, hash, key_id, signature, envelope)
    SELECT p_tenant, p_position + e.place, e.event_id, e.aggregate, e.aggregate_id, e.sequence, e.type, e.version,
           p_recorded_at, e.hash, p_key_id, e.signature, e.envelope
    FROM unnest(e_event_id, e_aggregate, e_aggregate_id, e_sequence, e_type, e_version, e_hash, e_signature, e_envelope)
             WITH ORDINALITY AS e (event_id, aggregate, aggregate_id, sequence, type, version, hash, signature,
                                   envelope, place);

    IF cardinality(d_digest) > 0 THEN
        INSERT INTO counterfoil.documents (tenant_id, digest, body)
        SELECT p_tenant, d.digest, d.body FROM unnest(d_digest, d_body) AS d (digest, body)
        ON CONFLICT DO NOTHING;
    END IF;
    IF expired THEN
        -- Records past their 24 hours are in the way.
        INSERT INTO counterfoil.idempotency AS kept (tenant_id, key_hash, fingerprint, first_position, event_count)
        SELECT p_tenant, k.key_hash, k.fingerprint, k.position, k.count
        FROM unnest(p_key_hash, p_key_fingerprint, p_key_position, p_key_count) AS k (key_hash, fingerprint, position, count)
        ON CONFLICT (tenant_id, key_hash) DO UPDATE
            SET fingerprint = excluded.fingerprint, first_position = excluded.first_position,
                event_count = excluded.event_count, created_at = now();
    ELSIF cardinality(p_key_hash) > 0 THEN
        -- Nothing is in the way: the head is locked, so nobody else adds keys of this tenant; and it costs less than the above.
        INSERT INTO counterfoil.idempotency (tenant_id, key_hash, fingerprint, first_position, event_count)
        SELECT p_tenant, k.key_hash, k.fingerprint, k.position, k.count
        FROM unnest(p_key_hash, p_key_fingerprint, p_key_position, p_key_count) AS k (key_hash, fingerprint, position, count);
    END IF;
    IF cardinality(h_tenant) > 0 THEN
        INSERT INTO counterfoil.chain_heads (tenant_id, partition)
        SELECT h.tenant, h.partition FROM unnest(h_tenant, h_partition) AS h (tenant, partition);
    END IF;

    UPDATE counterfoil.chain_heads
    SET position = p_position + cardinality(e_event_id), hash = p_new_hash, recorded_at = p_recorded_at
    WHERE tenant_id = p_tenant;
    RETURN NULL;
END
$$;
