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
UNUSABLE_SCHEMA = """
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'uuid-ossp' AND NOT has_schema_privilege(extnamespace, 'USAGE')
"""


def upgrade() -> None:
    context = op.get_context()
    if context.dialect.name != "postgresql":
        return
    if context.as_sql:
        op.execute(STATEMENT)
        return
    role, database = op.get_bind().exec_driver_sql("SELECT quote_ident(current_user), current_database()").one()
    try:
        op.execute(STATEMENT)
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg2.errors.InsufficientPrivilege):
            right = f"role {role} lacks CREATE on database {database} and so may not create the extension uuid-ossp"
            raise CommandError(administrator(right, STATEMENT)) from error
        raise
    if schema := op.get_bind().scalar(sa.text(UNUSABLE_SCHEMA)):
        right = f"role {role} lacks USAGE on schema {schema}, where the extension uuid-ossp is"
        raise CommandError(administrator(right, f"GRANT USAGE ON SCHEMA {schema} TO {role}"))


def administrator(right: str, statement: str) -> str:
    return f"{right}; an administrator must run, in this database: {statement};"


def downgrade() -> None:
    """Leave the extension where it is: it may have been there before us, and others may use it."""
