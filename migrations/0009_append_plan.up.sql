-- The append function's statements look up a handful of rows by unique keys and insert what they are given: one plan
-- serves every batch. Left to itself Postgres plans them anew for each small batch, which costs more than a single event
-- does; and a plan made while the tables were empty would read them whole until somebody counted their rows.
ALTER FUNCTION counterfoil.append
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off;
