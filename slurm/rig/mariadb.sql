-- slurmdbd would make it, and ends with MariaDB's library 11.8.9 when it did: a connection that is
-- tried again, after the first found no database, may have no columns in its results.
CREATE DATABASE IF NOT EXISTS minislurm;
