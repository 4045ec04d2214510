BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('803362e9f446');
CREATE TABLE api_tokens (
	id VARCHAR(8) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	scopes VARCHAR(200) NOT NULL, 
	created_at DATETIME NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	revoked_by VARCHAR(200), 
	CONSTRAINT pk_api_tokens PRIMARY KEY (id)
);
INSERT INTO "api_tokens" VALUES('55c4d574','ci','5532f4b8f958f0c5e9abd0550dbe67a2ff5275c7f97b38b48f8b41f7f49de1f1','settings:write','2026-11-25 04:08:36.461362','ada',NULL,NULL,NULL);
CREATE TABLE live_state (
	singleton BOOLEAN DEFAULT 1 NOT NULL, 
	version BIGINT DEFAULT 1 NOT NULL, 
	CONSTRAINT pk_live_state PRIMARY KEY (singleton), 
	CONSTRAINT ck_live_state_singleton CHECK (singleton)
);
INSERT INTO "live_state" VALUES(1,4);
CREATE TABLE maintenance_bypasses (
	name VARCHAR(100) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	created_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	created_by VARCHAR(200) NOT NULL, 
	expires_at DATETIME NOT NULL, 
	CONSTRAINT pk_maintenance_bypasses PRIMARY KEY (name), 
	CONSTRAINT uq_maintenance_bypasses_digest UNIQUE (digest)
);
CREATE TABLE maintenance_windows (
	id CHAR(32) DEFAULT (lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2) || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2)) NOT NULL, 
	starts_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	mode VARCHAR(16) DEFAULT 'full' NOT NULL, 
	message VARCHAR(500), 
	timezone VARCHAR(64) DEFAULT 'UTC' NOT NULL, 
	rrule VARCHAR(200), 
	ended_at DATETIME, 
	CONSTRAINT pk_maintenance_windows PRIMARY KEY (id), 
	CONSTRAINT ck_maintenance_windows_starts_before_end CHECK (starts_at < ends_at), 
	CONSTRAINT ck_maintenance_windows_finite CHECK (starts_at >= '2000-01-01' AND ends_at < '3000-01-01'), 
	CONSTRAINT ck_maintenance_windows_ended_finite CHECK (ended_at >= '2000-01-01' AND ended_at < '3000-01-01'), 
	CONSTRAINT ck_maintenance_windows_mode CHECK (mode IN ('full', 'read_only'))
);
INSERT INTO "maintenance_windows" VALUES('11e9fd337c1a465588bc877d5d0e364e','2031-01-01 02:00:00.000000','2031-01-01 03:00:00.000000','full',NULL,'UTC',NULL,NULL);
CREATE TABLE system_settings (
	id CHAR(32) DEFAULT (lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2) || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2)) NOT NULL, 
	singleton BOOLEAN DEFAULT 1 NOT NULL, 
	is_maintain BOOLEAN DEFAULT 0 NOT NULL, 
	maintenance_mode VARCHAR(16) DEFAULT 'full' NOT NULL, 
	maintenance_message VARCHAR(500), 
	maintenance_since DATETIME, 
	revision INTEGER DEFAULT 1 NOT NULL, 
	updated_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL, 
	updated_by VARCHAR(200), 
	CONSTRAINT pk_system_settings PRIMARY KEY (id), 
	CONSTRAINT uq_system_settings_singleton UNIQUE (singleton), 
	CONSTRAINT ck_system_settings_singleton CHECK (singleton), 
	CONSTRAINT ck_system_settings_maintenance_mode CHECK (maintenance_mode IN ('full', 'read_only'))
);
INSERT INTO "system_settings" VALUES('4efbd989ca9945c28c9f80b48308eb47',1,0,'full','kept',NULL,2,'2026-11-25 04:08:32.997027','ada');
CREATE TABLE system_settings_history (
	revision INTEGER NOT NULL, 
	changed_at DATETIME NOT NULL, 
	changed_by VARCHAR(200) NOT NULL, 
	source VARCHAR(16) NOT NULL, 
	reason TEXT, 
	request_id TEXT, 
	changes JSON NOT NULL, 
	"values" JSON NOT NULL, 
	CONSTRAINT pk_system_settings_history PRIMARY KEY (revision)
);
INSERT INTO "system_settings_history" VALUES(1,'2026-11-25 04:08:28','migration','migration',NULL,NULL,'{}','{"is_maintain":false,"maintenance_mode":"full","maintenance_message":null}');
INSERT INTO "system_settings_history" VALUES(2,'2026-11-25 04:08:32.997027','ada','cli',NULL,NULL,'{"maintenance_message": {"from": null, "to": "kept"}}','{"is_maintain": false, "maintenance_mode": "full", "maintenance_message": "kept"}');
CREATE TRIGGER system_settings_history_no_UPDATE BEFORE UPDATE ON system_settings_history BEGIN SELECT RAISE(ABORT, 'UPDATE is refused on system_settings_history'); END;
CREATE TRIGGER system_settings_history_no_DELETE BEFORE DELETE ON system_settings_history BEGIN SELECT RAISE(ABORT, 'DELETE is refused on system_settings_history'); END;
CREATE UNIQUE INDEX ix_api_tokens_name ON api_tokens (name) WHERE revoked_at IS NULL;
COMMIT;
