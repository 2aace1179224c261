DROP FUNCTION counterfoil.projection_fence;
ALTER TABLE counterfoil.projection_versions RESET (fillfactor);
ALTER TABLE counterfoil.projection_versions DROP COLUMN steps;
