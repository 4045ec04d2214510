"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

Before you commit, see docs/migrations.md:
- The running release still serves while this runs: add, never rename or drop what it reads.
- A lock on a table that requests read is held until the end of this migration: keep it short, backfill elsewhere.
- downgrade() takes the schema back and loses nothing that upgrade() did not make.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
