"""The live state of a worker: the snapshot that requests read, and the watcher that keeps it fresh."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Flask, current_app
from sqlalchemy.orm import Session

from ..database import witnesses
from ..errors import SettingsMissing
from ..extensions import db
from .loader import read_within
from .watcher import Live, Status

__all__ = ["Live", "Status", "live"]
logger = logging.getLogger(__name__)


def live(app: Flask | None = None) -> Live:
    """Return the live state of an application, the current one if none is given."""
    state: Live = (app or current_app).extensions["live"]
    return state


def witness(session: Session) -> Callable[[], None] | None:
    """Read the state that a transaction is about to commit, so that this process serves it at once.

    It is read before the commit, within its time limit, so that nothing can fail between the two. It is what will be
    committed: a change has locked the row of `live_state`, which every other change needs too. Where no state is in
    force yet, as in a command, nothing is read.

    Raises:
        SettingsMissing: there is no state any more; the transaction is undone.
    """
    state = live()
    if state.snapshot is None:
        return None
    began = state.begin()
    try:
        reading = read_within(session.connection())
    except (ValueError, OverflowError):  # SQL left what Python cannot hold; this write is good
        logger.exception("the state cannot be read, the last known one stays in force")
        return None
    if reading.snapshot is None:
        raise SettingsMissing("The row of system_settings or live_state is missing; nothing was changed.")
    return lambda: state.take(reading, began)


def init_app(app: Flask) -> None:
    """Make the live state, which starts no thread yet, and look at every write."""
    with app.app_context():
        app.extensions["live"] = Live(db.engine, app.config["LISTEN_DATABASE_URI"])
    witnesses(app).append(witness)
