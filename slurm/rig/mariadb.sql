-- slurmdbd would create it, but exits then with MariaDB's library 11.8.9: a connection retried after
-- the first found no database may have no columns in its results.
CREATE DATABASE IF NOT EXISTS minislurm;
