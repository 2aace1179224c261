-- The log in the shape that postgres-es reads: ids as text, the payload as an externally tagged enum, what stands
-- beside it as string metadata. For the second reader only (replay --cross-check); never written through.
-- As the caller (security_invoker), so that row-level security binds it to the caller's tenant.
CREATE VIEW counterfoil.cqrs_events WITH (security_invoker = true) AS
SELECT e.aggregate                                                    AS aggregate_type,
       e.aggregate_id                                                 AS aggregate_id,
       e.sequence                                                     AS sequence,
       e.type                                                         AS event_type,
       e.version                                                      AS event_version,
       json_build_object(e.type, e.envelope::json -> 'payload')       AS payload,
       json_build_object(
           'tenant', e.tenant_id::text,
           'position', e.position::text,
           'event_id', e.event_id::text,
           'recorded_at', e.envelope::json ->> 'recorded_at',
           'actor_kind', e.envelope::json -> 'actor' ->> 'kind',
           'actor_id', e.envelope::json -> 'actor' ->> 'id',
           'request_id', e.envelope::json ->> 'request_id')           AS metadata
FROM counterfoil.events e;
GRANT SELECT ON counterfoil.cqrs_events TO counterfoil_reader;
