"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

Before you commit (docs/migrations.md says more), then delete these lines:
- Compatible: the release that runs now serves on while this runs, and after. Add; rename and drop in later releases.
- Locks: a lock is held until this revision ends, and everyone waits. Backfill in a revision of its own; build an index
  on a large table with postgresql_concurrently=True in `with op.get_context().autocommit_block():`, alone.
- Downgrade: it removes functions and triggers, never tables or columns; so whatever upgrade() creates has
  if_not_exists=True and takes what it finds.
- Triggers: `sql.watch(…)` of migrations/sql.py has a table that requests need announce and record its changes.
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
    """Tables and columns stay, with what is in them."""
    ${downgrades if downgrades else "pass"}
