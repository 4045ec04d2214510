-- What the role that runs the service may do, and nothing more. Run it with psql as the role that migrates, after the
-- first `flask db upgrade`; run again, it ends in the same state.
--
--     psql "$DATABASE_URL_OF_THE_MIGRATING_ROLE" -v runtime=dop_be_run -f deploy/grants.sql
--
-- The runtime role cannot write the record of changes, only cause entries: the trigger that writes them runs as the
-- tables' owner. `flask history prune` shortens the record, so that it needs the role that migrates.
\set ON_ERROR_STOP on
\if :{?runtime}
\else
\set VERBOSITY terse
DO $$ BEGIN RAISE EXCEPTION 'name the role that runs the service: -v runtime=dop_be_run'; END $$;
\endif
\if :{?schema}
\else
\set schema public
\endif

BEGIN;
-- Nobody may put a table or function in the way of ours. (PostgreSQL 14 and older let everybody create in `public`; where
-- the schema is another role's, its owner has to do this.)
REVOKE CREATE ON SCHEMA :"schema" FROM PUBLIC;
GRANT USAGE ON SCHEMA :"schema" TO :"runtime";
REVOKE CREATE ON SCHEMA :"schema" FROM :"runtime";
REVOKE ALL ON ALL TABLES IN SCHEMA :"schema" FROM :"runtime";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA :"schema" TO :"runtime";
GRANT USAGE ON ALL SEQUENCES IN SCHEMA :"schema" TO :"runtime";
REVOKE INSERT, DELETE ON :"schema".system_settings FROM :"runtime";
REVOKE DELETE ON :"schema".api_tokens FROM :"runtime";
REVOKE INSERT, UPDATE, DELETE
    ON :"schema".changes, :"schema".live_state, :"schema".alembic_version FROM :"runtime";
-- Tables that later migrations make:
ALTER DEFAULT PRIVILEGES IN SCHEMA :"schema" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"runtime";
ALTER DEFAULT PRIVILEGES IN SCHEMA :"schema" GRANT USAGE ON SEQUENCES TO :"runtime";
COMMIT;
