-- The only ways to write the log. They belong to counterfoil_append; the sequencer may execute them and no more.

-- Bodies are checked when they first run: as their later owner, whom row-level security does not bind.
SET LOCAL check_function_bodies = off;

-- Appends one tenant's batch. Checks first, all or nothing:
--   1. lock the head and compare it with what the batch was placed on,
--   2. compare every expected aggregate sequence, look up every idempotency key,
--   3. when anything is off write nothing and answer {head, refused}; else write all and answer NULL.
-- The caller's COMMIT (of this one statement) is the commit point.
CREATE FUNCTION counterfoil.append(
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
BEGIN
    SELECT h.position, encode(h.hash, 'hex') AS hash, h.fence, h.recorded_at, h.quarantine_reason INTO head
    FROM counterfoil.chain_heads h WHERE h.tenant_id = p_tenant FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('missing', true);
    END IF;

    SELECT jsonb_agg(checks.off) INTO refused FROM (
        SELECT jsonb_build_object('item', want.item, 'aggregate', want.aggregate, 'aggregate_id', want.aggregate_id,
                                  'actual', found.sequence) AS off
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
        SELECT jsonb_build_object('item', want.item, 'fingerprint', encode(kept.fingerprint, 'hex'),
                                  'position', kept.first_position, 'count', kept.event_count)
        FROM unnest(p_key_item, p_key_hash) AS want (item, key_hash)
        JOIN counterfoil.idempotency kept ON kept.tenant_id = p_tenant AND kept.key_hash = want.key_hash
        WHERE kept.created_at > now() - interval '24 hours'
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
    IF cardinality(p_key_hash) > 0 THEN
        -- Only a record past its 24 hours can be in the way here.
        INSERT INTO counterfoil.idempotency AS kept (tenant_id, key_hash, fingerprint, first_position, event_count)
        SELECT p_tenant, k.key_hash, k.fingerprint, k.position, k.count
        FROM unnest(p_key_hash, p_key_fingerprint, p_key_position, p_key_count) AS k (key_hash, fingerprint, position, count)
        ON CONFLICT (tenant_id, key_hash) DO UPDATE
            SET fingerprint = excluded.fingerprint, first_position = excluded.first_position,
                event_count = excluded.event_count, created_at = now();
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

-- Takes the head's lock for the rest of the transaction and answers the head: for placing under it.
CREATE FUNCTION counterfoil.lock_head(p_tenant uuid)
RETURNS TABLE (head_position bigint, head_hash bytea, head_fence bigint, head_recorded_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
    SELECT position, hash, fence, recorded_at FROM counterfoil.chain_heads WHERE tenant_id = p_tenant FOR UPDATE
$$;

-- Shuts out a write whose outcome is unknown: waits for its lock, then makes any later arrival of it miss.
CREATE FUNCTION counterfoil.raise_fence(p_tenant uuid)
RETURNS TABLE (head_position bigint, head_hash bytea, head_fence bigint, head_recorded_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
    UPDATE counterfoil.chain_heads SET fence = fence + 1 WHERE tenant_id = p_tenant
    RETURNING position, hash, fence, recorded_at
$$;

-- Stops (or, with NULL, lets go on) a tenant whose copies disagree.
CREATE FUNCTION counterfoil.set_quarantine(p_tenant uuid, p_reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
    UPDATE counterfoil.chain_heads SET quarantine_reason = p_reason, fence = fence + 1
    WHERE tenant_id = p_tenant AND quarantine_reason IS DISTINCT FROM p_reason
$$;

-- Puts back events that a verified copy still has and this database lost: exactly after the head, in order, chained.
-- The caller has verified hashes and signatures; the chain is checked here again.
CREATE FUNCTION counterfoil.restore_events(
    p_tenant uuid, p_position bigint, p_hash bytea,
    e_event_id uuid[], e_aggregate text[], e_aggregate_id text[], e_sequence bigint[], e_type text[],
    e_version text[], e_recorded_at timestamptz[], e_hash bytea[], e_key_id bytea[], e_signature bytea[],
    e_envelope text[]
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
DECLARE
    head  record;
    total integer := cardinality(e_event_id);
BEGIN
    SELECT h.position, h.hash INTO head FROM counterfoil.chain_heads h WHERE h.tenant_id = p_tenant FOR UPDATE;
    IF NOT FOUND OR head.position IS DISTINCT FROM p_position OR head.hash IS DISTINCT FROM p_hash THEN
        RAISE EXCEPTION 'the head of % moved: restore again from where it stands', p_tenant;
    END IF;
    IF EXISTS (
        SELECT FROM unnest(e_envelope) WITH ORDINALITY AS e (envelope, place)
        WHERE (e.envelope::json ->> 'tenant')::uuid IS DISTINCT FROM p_tenant
           OR (e.envelope::json ->> 'position')::bigint IS DISTINCT FROM p_position + e.place
           OR e.envelope::json ->> 'prev'
              IS DISTINCT FROM encode(CASE e.place WHEN 1 THEN p_hash ELSE e_hash[(e.place - 1)::integer] END, 'hex')
    ) THEN
        RAISE EXCEPTION 'the events do not continue the chain of % after position %', p_tenant, p_position;
    END IF;
    -- No key signs after one that followed it, the head's included. (In the platform's log each event has its one key:
    -- the caller has asked.) Before the platform's first event there is no key.
    IF p_tenant <> '00000000-0000-0000-0000-000000000000' AND EXISTS (
        WITH introduced AS (
            SELECT e.envelope::json -> 'payload' ->> 'key_id' AS key_id, e.position
            FROM counterfoil.events e
            WHERE e.tenant_id = '00000000-0000-0000-0000-000000000000' AND e.aggregate = 'keyring'
              AND e.aggregate_id = 'keyring'
        ), signed AS (
            SELECT 0 AS place, e.key_id FROM counterfoil.events e
            WHERE e.tenant_id = p_tenant AND e.position = p_position
            UNION ALL
            SELECT e.place, e.key_id FROM unnest(e_key_id) WITH ORDINALITY AS e (key_id, place)
        ), dated AS (
            SELECT s.place, i.position, lag(i.position) OVER (ORDER BY s.place) AS before
            FROM signed s LEFT JOIN introduced i ON i.key_id = encode(s.key_id, 'hex')
        )
        SELECT FROM dated d
        WHERE d.place > 0 AND (d.position < d.before OR d.position IS NULL AND EXISTS (SELECT FROM introduced))
    ) THEN
        RAISE EXCEPTION 'events of % after position % are signed by a key that is unknown or that another had followed',
            p_tenant, p_position;
    END IF;
    INSERT INTO counterfoil.events (tenant_id, position, event_id, aggregate, aggregate_id, sequence, type, version,
                                    recorded_at, hash, key_id, signature, envelope)
    SELECT p_tenant, p_position + e.place, e.event_id, e.aggregate, e.aggregate_id, e.sequence, e.type, e.version,
           e.recorded_at, e.hash, e.key_id, e.signature, e.envelope
    FROM unnest(e_event_id, e_aggregate, e_aggregate_id, e_sequence, e_type, e_version, e_recorded_at, e_hash,
                e_key_id, e_signature, e_envelope)
             WITH ORDINALITY AS e (event_id, aggregate, aggregate_id, sequence, type, version, recorded_at, hash,
                                   key_id, signature, envelope, place);
    UPDATE counterfoil.chain_heads
    SET position = p_position + total, hash = e_hash[total], recorded_at = e_recorded_at[total], fence = fence + 1
    WHERE tenant_id = p_tenant;
    RETURN p_position + total;
END
$$;

-- The platform's own head, which everything else is created under.
CREATE FUNCTION counterfoil.create_platform_head() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog SET row_security = off AS $$
    INSERT INTO counterfoil.chain_heads (tenant_id, partition)
    VALUES ('00000000-0000-0000-0000-000000000000', 0) ON CONFLICT DO NOTHING
$$;

-- Hand the functions over to the role that may write; nobody but the log may call them.
GRANT CREATE ON SCHEMA counterfoil TO counterfoil_append;
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'counterfoil'::regnamespace AND p.prosecdef
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO counterfoil_log', function);
        EXECUTE format('ALTER FUNCTION %s OWNER TO counterfoil_append', function);
    END LOOP;
END
$$;
REVOKE CREATE ON SCHEMA counterfoil FROM counterfoil_append;
