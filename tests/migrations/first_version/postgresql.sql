SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
COMMENT ON EXTENSION "uuid-ossp" IS 'generate universally unique identifiers (UUIDs)';
CREATE FUNCTION public.live_state_announce() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('dop_be', NEW.version::text);
    RETURN NULL;
END $$;
CREATE FUNCTION public.live_state_raise() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO '$user', 'public'
    AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR to_jsonb(NEW) <> to_jsonb(OLD) THEN
        UPDATE live_state SET version = version + 1;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.system_settings_record() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.id := OLD.id;
        NEW.revision := OLD.revision;
        NEW.updated_at := OLD.updated_at;
        NEW.updated_by := OLD.updated_by;
        NEW.maintenance_since := OLD.maintenance_since;
        IF to_jsonb(NEW) - ARRAY['id', 'singleton', 'revision', 'updated_at', 'updated_by', 'maintenance_since'] = to_jsonb(OLD) - ARRAY['id', 'singleton', 'revision', 'updated_at', 'updated_by', 'maintenance_since'] THEN
            RETURN NEW;
        END IF;
        NEW.revision := OLD.revision + 1;
    ELSE
        SELECT coalesce(max(revision), 0) + 1 INTO NEW.revision FROM system_settings_history;
    END IF;
    NEW.updated_at := clock_timestamp();
    NEW.updated_by := coalesce(nullif(current_setting('dop_be.actor', true), ''), session_user);
    IF TG_OP = 'INSERT' THEN
        NEW.maintenance_since := CASE WHEN NEW.is_maintain THEN NEW.updated_at END;
    ELSIF NEW.is_maintain <> OLD.is_maintain THEN
        NEW.maintenance_since := NEW.updated_at;
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION public.system_settings_refuse() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is refused on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION public.system_settings_remember() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    AS $$
DECLARE
    before jsonb;
    after jsonb := to_jsonb(NEW) - ARRAY['id', 'singleton', 'revision', 'updated_at', 'updated_by', 'maintenance_since'];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := to_jsonb(OLD) - ARRAY['id', 'singleton', 'revision', 'updated_at', 'updated_by', 'maintenance_since'];
    ELSE
        SELECT "values" INTO before FROM system_settings_history ORDER BY revision DESC LIMIT 1;
    END IF;
    INSERT INTO system_settings_history
        (revision, changed_at, changed_by, source, reason, request_id, changes, "values")
    SELECT NEW.revision, NEW.updated_at, NEW.updated_by,
        coalesce(nullif(current_setting('dop_be.source', true), ''), 'sql'),
        nullif(current_setting('dop_be.reason', true), ''),
        nullif(current_setting('dop_be.request_id', true), ''),
        coalesce(jsonb_object_agg(key, jsonb_build_object('from', before -> key, 'to', value)), '{}'),
        after
    FROM jsonb_each(after) WHERE coalesce(before -> key, 'null') <> value;
    RETURN NULL;
END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_tokens (
    id character varying(8) NOT NULL,
    name character varying(200) NOT NULL,
    digest character varying(64) NOT NULL,
    scopes character varying(200) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by character varying(200) NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_by character varying(200)
);
CREATE TABLE public.live_state (
    singleton boolean DEFAULT true NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT ck_live_state_singleton CHECK (singleton)
);
CREATE TABLE public.maintenance_bypasses (
    name character varying(100) NOT NULL,
    digest character varying(64) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by character varying(200) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.maintenance_windows (
    id uuid DEFAULT public.uuid_generate_v4() NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    mode character varying(16) DEFAULT 'full'::character varying NOT NULL,
    message character varying(500),
    timezone character varying(64) DEFAULT 'UTC'::character varying NOT NULL,
    rrule character varying(200),
    ended_at timestamp with time zone,
    CONSTRAINT ck_maintenance_windows_ended_finite CHECK (((ended_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (ended_at < '3000-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT ck_maintenance_windows_finite CHECK (((starts_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (ends_at < '3000-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT ck_maintenance_windows_mode CHECK (((mode)::text = ANY ((ARRAY['full'::character varying, 'read_only'::character varying])::text[]))),
    CONSTRAINT ck_maintenance_windows_starts_before_end CHECK ((starts_at < ends_at))
);
CREATE TABLE public.system_settings (
    id uuid DEFAULT public.uuid_generate_v4() NOT NULL,
    singleton boolean DEFAULT true NOT NULL,
    is_maintain boolean DEFAULT false NOT NULL,
    maintenance_mode character varying(16) DEFAULT 'full'::character varying NOT NULL,
    maintenance_message character varying(500),
    maintenance_since timestamp with time zone,
    revision integer DEFAULT 1 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by character varying(200),
    CONSTRAINT ck_system_settings_maintenance_mode CHECK (((maintenance_mode)::text = ANY ((ARRAY['full'::character varying, 'read_only'::character varying])::text[]))),
    CONSTRAINT ck_system_settings_singleton CHECK (singleton)
);
CREATE TABLE public.system_settings_history (
    revision integer NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    changed_by character varying(200) NOT NULL,
    source character varying(16) NOT NULL,
    reason text,
    request_id text,
    changes jsonb NOT NULL,
    "values" jsonb NOT NULL
);
INSERT INTO public.alembic_version VALUES ('803362e9f446');
INSERT INTO public.api_tokens VALUES ('ebcc3a7a', 'ci', 'd93a73c3d53452bed1ad8e3c1ce977ac7ef964693b0032a1cee9127e24a6cd14', 'settings:write', '2026-11-25 04:08:22.035551+00', 'ada', NULL, NULL, NULL);
INSERT INTO public.live_state VALUES (true, 4);
INSERT INTO public.maintenance_windows VALUES ('8a8cd64d-3423-4786-8fb3-e5cc72757b2b', '2031-01-01 02:00:00+00', '2031-01-01 03:00:00+00', 'full', NULL, 'UTC', NULL, NULL);
INSERT INTO public.system_settings VALUES ('2a35ece6-3686-4f3f-856b-e37f57b17967', true, false, 'full', 'kept', NULL, 2, '2026-11-25 04:08:17.516768+00', 'ada');
INSERT INTO public.system_settings_history VALUES (1, '2026-11-25 04:08:14.264443+00', 'postgres', 'migration', NULL, NULL, '{}', '{"is_maintain": false, "maintenance_mode": "full", "maintenance_message": null}');
INSERT INTO public.system_settings_history VALUES (2, '2026-11-25 04:08:17.516768+00', 'ada', 'cli', NULL, NULL, '{"maintenance_message": {"to": "kept", "from": null}}', '{"is_maintain": false, "maintenance_mode": "full", "maintenance_message": "kept"}');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT pk_api_tokens PRIMARY KEY (id);
ALTER TABLE ONLY public.live_state
    ADD CONSTRAINT pk_live_state PRIMARY KEY (singleton);
ALTER TABLE ONLY public.maintenance_bypasses
    ADD CONSTRAINT pk_maintenance_bypasses PRIMARY KEY (name);
ALTER TABLE ONLY public.maintenance_windows
    ADD CONSTRAINT pk_maintenance_windows PRIMARY KEY (id);
ALTER TABLE ONLY public.system_settings
    ADD CONSTRAINT pk_system_settings PRIMARY KEY (id);
ALTER TABLE ONLY public.system_settings_history
    ADD CONSTRAINT pk_system_settings_history PRIMARY KEY (revision);
ALTER TABLE ONLY public.maintenance_bypasses
    ADD CONSTRAINT uq_maintenance_bypasses_digest UNIQUE (digest);
ALTER TABLE ONLY public.system_settings
    ADD CONSTRAINT uq_system_settings_singleton UNIQUE (singleton);
CREATE UNIQUE INDEX ix_api_tokens_name ON public.api_tokens USING btree (name) WHERE (revoked_at IS NULL);
CREATE TRIGGER live_state_announce AFTER UPDATE ON public.live_state FOR EACH ROW EXECUTE FUNCTION public.live_state_announce();
CREATE TRIGGER live_state_raise AFTER INSERT OR DELETE OR UPDATE ON public.api_tokens FOR EACH ROW EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER live_state_raise AFTER INSERT OR DELETE OR UPDATE ON public.maintenance_bypasses FOR EACH ROW EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER live_state_raise AFTER INSERT OR DELETE OR UPDATE ON public.maintenance_windows FOR EACH ROW EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER live_state_raise AFTER INSERT OR DELETE OR UPDATE ON public.system_settings FOR EACH ROW EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER live_state_raise_emptied AFTER TRUNCATE ON public.api_tokens FOR EACH STATEMENT EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER live_state_raise_emptied AFTER TRUNCATE ON public.maintenance_bypasses FOR EACH STATEMENT EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER live_state_raise_emptied AFTER TRUNCATE ON public.maintenance_windows FOR EACH STATEMENT EXECUTE FUNCTION public.live_state_raise();
CREATE TRIGGER system_settings_history_refuse BEFORE DELETE OR UPDATE OR TRUNCATE ON public.system_settings_history FOR EACH STATEMENT EXECUTE FUNCTION public.system_settings_refuse();
CREATE TRIGGER system_settings_inserted AFTER INSERT ON public.system_settings FOR EACH ROW EXECUTE FUNCTION public.system_settings_remember();
CREATE TRIGGER system_settings_record BEFORE INSERT OR UPDATE ON public.system_settings FOR EACH ROW EXECUTE FUNCTION public.system_settings_record();
CREATE TRIGGER system_settings_refuse BEFORE TRUNCATE ON public.system_settings FOR EACH STATEMENT EXECUTE FUNCTION public.system_settings_refuse();
CREATE TRIGGER system_settings_updated AFTER UPDATE ON public.system_settings FOR EACH ROW WHEN ((old.revision <> new.revision)) EXECUTE FUNCTION public.system_settings_remember();
