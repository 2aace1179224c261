REVOKE SELECT ON counterfoil_migrations._sqlx_migrations FROM counterfoil_log;
REVOKE USAGE ON SCHEMA counterfoil_migrations FROM counterfoil_log;
