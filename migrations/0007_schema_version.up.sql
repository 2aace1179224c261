-- Which migrations a database has had is no secret to those who work on the log: a backup records it, so that a
-- restore can make the same schema first.
GRANT USAGE ON SCHEMA counterfoil_migrations TO counterfoil_log;
GRANT SELECT ON counterfoil_migrations._sqlx_migrations TO counterfoil_log;
