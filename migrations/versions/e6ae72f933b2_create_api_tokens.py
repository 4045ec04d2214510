"""create api_tokens

Revision ID: e6ae72f933b2
Revises: f3410f9bae30
Create Date: 2026-11-23 01:01:00

Only the SHA-256 of a token is kept. A revoked one stays, to be able to say who held it; its name is free again.
"""

import sqlalchemy as sa
from alembic import op

revision = "e6ae72f933b2"
down_revision = "f3410f9bae30"
branch_labels = None
depends_on = None

ANNOUNCE = """
CREATE TRIGGER live_state_raise AFTER INSERT OR UPDATE OR DELETE ON api_tokens
FOR EACH ROW EXECUTE FUNCTION live_state_raise();
CREATE TRIGGER live_state_raise_emptied AFTER TRUNCATE ON api_tokens
FOR EACH STATEMENT EXECUTE FUNCTION live_state_raise()
"""


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(8), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        if_not_exists=True,
    )
    op.create_index(
        op.f("ix_api_tokens_name"),
        "api_tokens",
        ["name"],
        unique=True,
        if_not_exists=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
        sqlite_where=sa.text("revoked_at IS NULL"),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(ANNOUNCE)


def downgrade() -> None:
    """The table stays, with its tokens."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER live_state_raise_emptied ON api_tokens")
        op.execute("DROP TRIGGER live_state_raise ON api_tokens")
