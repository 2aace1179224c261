DROP FUNCTION counterfoil.restore_head;
