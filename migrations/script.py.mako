"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

Before you commit (docs/migrations.md says more), then delete these lines:
- Compatible: the release that runs now serves on while this runs, and after. Add; rename and drop in later releases.
- Locks: a lock is held until this revision ends, and everyone waits. Backfill in a revision of its own; build an index
  on a large table with postgresql_concurrently=True in `with op.get_context().autocommit_block():`, alone.
- Downgrade: it loses no rows. op.keep_table and op.keep_column rename aside, op.create_kept_table and
  op.add_kept_column take back.
- Triggers: a table that requests need announces its changes through live_state_raise(); drop it before keep_table.
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
