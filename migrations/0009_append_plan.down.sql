ALTER FUNCTION counterfoil.append
    RESET plan_cache_mode
    RESET enable_seqscan
    RESET enable_bitmapscan
    RESET enable_hashjoin
    RESET enable_mergejoin
    RESET jit;
