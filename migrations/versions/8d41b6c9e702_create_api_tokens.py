"""create api_tokens

Revision ID: 8d41b6c9e702
Revises: 5c2f0e7d1a34
Create Date: 2026-11-25 03:01:00

Only the SHA-256 of a token is kept. A revoked one stays, to say who held it; its name is free again. A bypass is a
token with the scope `maintenance:bypass`.
"""

import sqlalchemy as sa
from alembic import op

from migrations import sql

revision = "8d41b6c9e702"
down_revision = "5c2f0e7d1a34"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sql.create_table(
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
    if sql.is_postgresql():
        sql.watch("api_tokens", "token", key="name", secret="digest")  # noqa: S106


def downgrade() -> None:
    """Leave the tokens where they are: whoever was given one still has it after the next upgrade."""
    if sql.is_postgresql():
        sql.unwatch("api_tokens")
