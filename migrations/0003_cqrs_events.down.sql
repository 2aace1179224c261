DROP VIEW counterfoil.cqrs_events;
