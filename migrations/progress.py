"""Which revision is running, which ones are left to run, and whether the database is ours at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

FOREIGN_POSTGRESQL = (
    "alembic_version is at {heads}, a revision of another program in this database. Give dop_be a schema of its own:"
    " run CREATE SCHEMA dop_be; and end DATABASE_URL with ?options=-csearch_path%3Ddop_be (docs/migrations.md)"
)
FOREIGN_SQLITE = (
    "alembic_version is at {heads}, a revision of another program in this file: give dop_be a file of its own,"
    " in DATABASE_URL"
)
AHEAD = (
    "the database is at {heads}, which this release does not know, since a newer one migrated it: deploy the newer"
    " release, or use it to downgrade the database first"
)
# Its revisions were rewritten before the first release; what they made is taken over.
FIRST_VERSION = frozenset(
    {"21da7929d68a", "1ef3177d92ce", "f3410f9bae30", "e6ae72f933b2", "c41f7d90e2ab", "803362e9f446"}
)
REWRITTEN = (
    "the database is at {heads}, of dop_be's first version, whose revisions were rewritten. Run `flask db stamp --purge"
    " 4b47f7895f36`, then `flask db upgrade`: settings, tokens and windows stay, the old history stays in"
    " system_settings_history, bypasses must be made again"
)
OUR_TABLES = ("system_settings", "live_state")


class Progress:
    """Which Alembic revision is running, and since when it is being tried."""

    def __init__(self) -> None:
        self.revision: str | None = None
        self.in_parts = False  # it has an autocommit_block, and what ran before that is committed
        self.locked = 0  # tries of it that met a lock
        self.waited_since: float | None = None  # when the first such try of any revision began
        self.holders = ""  # who had it then, as far as that is known
        self._began = time.monotonic()
        self._left: list[Any] | None = None

    def follow(self, steps: Callable[..., Iterable[Any]] | None) -> Callable[..., Iterator[Any]]:
        """Wrap the function that gives MigrationContext its steps; one runs and commits before the next is asked for.

        Whoever asks again gets the steps that did not commit: where a target is relative (`+2`), Alembic itself would
        count from where the first try has come to.

        Raises:
            CommandError: the database is at a revision that is not ours.
        """
        assert steps is not None

        def following(heads: tuple[str, ...], context: MigrationContext) -> Iterator[Any]:
            if self._left is None:
                check_heads(heads, context)
                context.autocommit_block = self._noticed(context.autocommit_block)  # type: ignore[assignment]
                self._left = list(steps(heads, context))
            while self._left:
                self.revision, self.in_parts, self._began = self._left[0].info.up_revision_id, False, time.monotonic()
                yield self._left[0]
                self._left.pop(0)
                self.revision, self.locked = None, 0

        return following

    def _noticed(self, block: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def autocommit_block() -> Iterator[None]:
            self.in_parts = True
            with block():
                yield

        return autocommit_block

    def meet_lock(self, holders: str) -> None:
        """Note that a lock, which these hold as far as that is known, ended this try."""
        self.locked += 1
        self.holders = holders
        if self.waited_since is None:
            self.waited_since = self._began

    def prefix(self) -> str:
        return f"in revision {self.revision}: " if self.revision else ""

    def interrupted(self) -> str:
        return (
            f"in revision {self.revision}; its transaction was undone"
            if self.revision
            else "while no revision was running"
        )


def check_heads(heads: tuple[str, ...], context: MigrationContext) -> None:
    """Refuse a database whose revision is none of ours: another program shares it, or a newer release migrated it.

    Raises:
        CommandError: the way out.
    """
    unknown = [head for head in heads if not is_ours(head, context)]
    if not unknown:
        return
    if FIRST_VERSION.issuperset(unknown):
        raise CommandError(REWRITTEN.format(heads=", ".join(unknown)))
    assert context.connection is not None
    inspector = sa.inspect(context.connection)
    ahead = unknown == list(heads) and all(map(inspector.has_table, OUR_TABLES))
    foreign = FOREIGN_POSTGRESQL if context.dialect.name == "postgresql" else FOREIGN_SQLITE
    raise CommandError((AHEAD if ahead else foreign).format(heads=", ".join(unknown)))


def is_ours(head: str, context: MigrationContext) -> bool:
    assert context.script is not None
    try:
        return context.script.get_revision(head).revision == head  # Alembic also takes the beginning of an identifier
    except CommandError:
        return False
