"""create components

Revision ID: e2a7c4d9f160
Revises: b7e93f5a0c18
Create Date: 2026-11-29 16:00:00

A component is a named part of the platform with a switch and windows of its own; tokens may be limited to some. When
one is removed its windows go with it, and tokens lose it. On PostgreSQL triggers see to that, whoever the writer is; on
SQLite the application does.
"""

import sqlalchemy as sa
from alembic import op

from migrations import sql

revision = "e2a7c4d9f160"
down_revision = "b7e93f5a0c18"
branch_labels = None
depends_on = None

NAME = "name ~ '^[a-z0-9][a-z0-9-]{0,62}$'"
NAME_ON_SQLITE = "name NOT GLOB '*[^a-z0-9-]*' AND name GLOB '[^-]*' AND length(name) < 64"
# Writes when the switch was last flipped, whatever the writer says of it.
NOTE_FLIP = """
CREATE OR REPLACE FUNCTION @schema.note_flip() RETURNS trigger
LANGUAGE plpgsql @definer AS $f$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.maintenance_since := CASE WHEN NEW.is_maintain THEN clock_timestamp() END;
    ELSIF NEW.is_maintain <> OLD.is_maintain THEN
        NEW.maintenance_since := clock_timestamp();
    ELSE
        NEW.maintenance_since := OLD.maintenance_since;
    END IF;
    RETURN NEW;
END $f$
"""
# No foreign key: SQLite's cannot be added to a table, and tokens name several components in one column. The triggers of
# both functions come after raise_version, in the order of their names: by then whoever else writes has committed.
FORGET_COMPONENT = """
CREATE OR REPLACE FUNCTION @schema.forget_component() RETURNS trigger
LANGUAGE plpgsql @definer AS $f$
BEGIN
    DELETE FROM @schema.maintenance_windows WHERE component = OLD.name;
    UPDATE @schema.api_tokens
    SET components = array_to_string(array_remove(string_to_array(components, ' '), OLD.name), ' ')
    WHERE OLD.name = ANY (string_to_array(components, ' '));
    RETURN NULL;
END $f$
"""
KNOW_COMPONENT = """
CREATE OR REPLACE FUNCTION @schema.know_component() RETURNS trigger
LANGUAGE plpgsql @definer AS $f$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM @schema.components WHERE name = NEW.component) THEN
        RAISE EXCEPTION 'there is no component %', NEW.component USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $f$
"""
FUNCTIONS = {"note_flip": NOTE_FLIP, "forget_component": FORGET_COMPONENT, "know_component": KNOW_COMPONENT}
TRIGGERS = (
    "note_flip BEFORE INSERT OR UPDATE ON components FOR EACH ROW EXECUTE FUNCTION note_flip()",
    "removed AFTER DELETE ON components FOR EACH ROW EXECUTE FUNCTION forget_component()",
    "renamed AFTER UPDATE ON components FOR EACH ROW WHEN ((OLD.name)::text <> (NEW.name)::text) EXECUTE FUNCTION forget_component()",
    """refers AFTER INSERT OR UPDATE ON maintenance_windows FOR EACH ROW WHEN (NEW.component IS NOT NULL)
    EXECUTE FUNCTION know_component()""",
)


def upgrade() -> None:
    sql.create_table(
        "components",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("title", sa.String(100), nullable=True),
        sa.Column("is_maintain", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("maintenance_mode", sa.String(16), server_default="full", nullable=False),
        sa.Column("maintenance_message", sa.String(500), nullable=True),
        sa.Column("maintenance_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_components")),
        sa.CheckConstraint(NAME if sql.is_postgresql() else NAME_ON_SQLITE, name=op.f("ck_components_name")),
        sa.CheckConstraint("maintenance_mode IN ('full', 'read_only')", name=op.f("ck_components_maintenance_mode")),
    )
    op.add_column("maintenance_windows", sa.Column("component", sa.String(63), nullable=True), if_not_exists=True)
    op.add_column("api_tokens", sa.Column("components", sa.Text(), nullable=True), if_not_exists=True)
    if sql.is_postgresql():
        for name, function in FUNCTIONS.items():
            sql.execute_in_schema(function)
            op.execute(f"REVOKE EXECUTE ON FUNCTION {name}() FROM PUBLIC")
        sql.watch("components", "component", key="name", derived="maintenance_since")
        for trigger in TRIGGERS:
            op.execute(f"CREATE TRIGGER {trigger}")


def downgrade() -> None:
    """Leave the components where they are, with their windows and tokens."""
    if sql.is_postgresql():
        sql.unwatch("components")
        for trigger in TRIGGERS:
            name, table = trigger.split()[0], "maintenance_windows" if trigger.startswith("refers") else "components"
            op.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        for function in FUNCTIONS:
            op.execute(f"DROP FUNCTION IF EXISTS {function}()")
