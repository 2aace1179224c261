-- A step of a read model is one statement, so that a fold costs one round trip. What it stands on is checked in it.

-- How often rows of this version were changed. Whoever changes some says at which count he read them: while the count
-- stands, rows that were read stay true, and need not be read again.
ALTER TABLE counterfoil.projection_versions ADD COLUMN steps bigint NOT NULL DEFAULT 0;
-- Counted up with each step: a new count finds room beside the old one.
ALTER TABLE counterfoil.projection_versions SET (fillfactor = 25);

-- Undoes the statement that asks, unless `holds`: somebody else changed the version meanwhile.
CREATE FUNCTION counterfoil.projection_fence(holds boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF holds IS NOT TRUE THEN
        RAISE EXCEPTION 'the version is not where its writer left it: somebody else feeds it' USING ERRCODE = 'CF001';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION counterfoil.projection_fence FROM PUBLIC;
GRANT EXECUTE ON FUNCTION counterfoil.projection_fence TO counterfoil_projector;
