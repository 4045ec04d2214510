"""announce changes

Revision ID: 1ef3177d92ce
Revises: 21da7929d68a
Create Date: 2026-11-23 00:34:00

`live_state.version` grows with every change to anything a request needs, whoever writes, and is announced on the
channel `dop_be`. A row trigger per table raises it once per change; what changes nothing raises nothing, since NOTIFY
takes a lock of the whole cluster at commit.
"""

import sqlalchemy as sa
from alembic import op

revision = "1ef3177d92ce"
down_revision = "21da7929d68a"
branch_labels = None
depends_on = None

RAISE = """
CREATE FUNCTION live_state_raise() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP <> 'UPDATE' OR to_jsonb(NEW) <> to_jsonb(OLD) THEN
        UPDATE live_state SET version = version + 1;
    END IF;
    RETURN NULL;
END $$
"""
ANNOUNCE = """
CREATE FUNCTION live_state_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dop_be', NEW.version::text);
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "live_state",
        sa.Column("singleton", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_live_state")),
        sa.CheckConstraint("singleton", name=op.f("ck_live_state_singleton")),
        if_not_exists=True,
    )
    op.execute("INSERT INTO live_state (singleton) SELECT true WHERE NOT EXISTS (SELECT 1 FROM live_state)")
    if op.get_context().dialect.name == "postgresql":
        op.execute(RAISE)
        op.execute(ANNOUNCE)
        op.execute(
            "CREATE TRIGGER live_state_raise AFTER INSERT OR UPDATE OR DELETE ON system_settings"
            " FOR EACH ROW EXECUTE FUNCTION live_state_raise()"
        )
        op.execute(
            "CREATE TRIGGER live_state_announce AFTER UPDATE ON live_state"
            " FOR EACH ROW EXECUTE FUNCTION live_state_announce()"
        )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER live_state_raise ON system_settings")
        op.execute("DROP TRIGGER live_state_announce ON live_state")
        op.execute("DROP FUNCTION live_state_raise()")
        op.execute("DROP FUNCTION live_state_announce()")
