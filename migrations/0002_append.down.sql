DROP FUNCTION counterfoil.append, counterfoil.lock_head, counterfoil.raise_fence, counterfoil.set_quarantine,
    counterfoil.restore_events, counterfoil.create_platform_head;
