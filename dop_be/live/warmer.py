"""The thread of a worker that keeps one pooled connection open and used, so that no write has to wait for it."""

from __future__ import annotations

import logging
import random
import threading
import time

from sqlalchemy import Engine, literal, select

from ..database import drop_connections, reading
from ..deadline import patient, round_trip
from ..failures import words

WARM_SECONDS = 10.0  # an idle connection is used this often: networks forget those that are silent for long
FIRST, AGAIN = 1.0, 10.0  # seconds over which the workers of a platform come, and come back to a restarted database
logger = logging.getLogger(__name__)


class Warmer(threading.Thread):
    """Connects soon after `warm`, and measures the round trip now and then."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="dop_be warmer", daemon=True)
        self._engine = engine
        self._due, self._stopping = threading.Event(), threading.Event()

    def warm(self) -> None:
        """Connect soon: the database answers again."""
        self._due.set()

    def stop(self) -> None:
        """End the thread when it has nothing to do; nobody needs to wait for that."""
        self._stopping.set()
        self._due.set()

    def run(self) -> None:
        """Ask until `stop`."""
        patient.set(True)
        self._due.wait()
        self._due.clear()
        spread = FIRST
        while not self._stopping.wait(random.uniform(0.0, spread)):  # noqa: S311 - spreads, hides nothing
            self._ask()
            spread = AGAIN if self._due.wait(WARM_SECONDS) else 0.0
            self._due.clear()

    def _ask(self) -> None:
        try:
            with reading(self._engine) as connection:
                began = time.monotonic()
                connection.execute(select(literal(1)))
                round_trip.note(time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - whatever it is, and the watcher says what there is to say
            logger.debug("no connection is kept warm: %s", words(error))
            if not self._stopping.is_set():
                drop_connections(self._engine)
