DROP TABLE counterfoil.sessions;
