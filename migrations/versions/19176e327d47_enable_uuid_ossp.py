"""enable uuid-ossp

Revision ID: 19176e327d47
Revises:
Create Date: 2026-11-23 00:30:00

On PostgreSQL the identifiers' default is `uuid_generate_v4()`, which this trusted extension brings. SQLite has no
extensions; its default is an expression.
"""

import psycopg2.errors
import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "19176e327d47"
down_revision = None
branch_labels = None
depends_on = None

STATEMENT = 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"'


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    try:
        op.execute(STATEMENT)
    except sa.exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg2.errors.InsufficientPrivilege):
            raise
        raise CommandError(
            "this role may not create the extension uuid-ossp: it needs CREATE on the database;"
            f" or let an administrator run, in this database: {STATEMENT};"
        ) from error


def downgrade() -> None:
    """The extension stays: it may have been there before us, and others may use it."""
