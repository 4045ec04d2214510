"""What the last look at the database found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Status:
    """What the last look at the database found; `error` is None while it answers, `confirmed_at` is monotonic.

    `fault` is what is missing of the schema, None where nothing is.
    `clock_offset` is how many seconds the database's clock was ahead of this host's; `source` where the snapshot is
    from, None while there is none; `lag` how many seconds a replica is behind its primary, None on a primary.
    """

    error: BaseException | None = None
    alembic_revision: str | None = None
    complete: bool = False  # the settings row is there and readable
    confirmed_at: float | None = None
    clock_offset: float | None = None
    source: Literal["database", "last_state"] | None = None
    lag: float | None = None
    fault: BaseException | None = None
