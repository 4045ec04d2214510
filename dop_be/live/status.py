"""What the last look at the database found."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Literal, Self

from .loader import Reading


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

    def after(self, reading: Reading) -> Self:
        """Return the status after a reading that the database answered."""
        source = "database" if reading.snapshot is not None else self.source
        # A last state is not confirmed by a database that has none.
        confirmed = self.confirmed_at if source == "last_state" else time.monotonic() - (reading.lag or 0.0)
        return replace(
            self,
            error=None,
            alembic_revision=reading.alembic_revision,
            complete=reading.snapshot is not None,
            confirmed_at=confirmed,
            clock_offset=self.clock_offset if reading.clock_offset is None else reading.clock_offset,
            source=source,
            lag=reading.lag,
            fault=reading.fault,
        )
