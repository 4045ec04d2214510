"""The live state of a worker: the snapshot that requests read, and the watcher that keeps it fresh."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Config, Flask, current_app
from sqlalchemy.orm import Session

from ..access.service import recheck
from ..database import author, witnesses
from ..engines import watching_engine
from ..errors import SettingsMissing
from ..extensions import db
from .loader import look, look_at_tokens, understand
from .state import Live
from .state_file import StateFile
from .status import Status

__all__ = ["Live", "Status", "live"]
# Said where SQL has stored what Python cannot hold. The write that came upon it has done nothing wrong.
UNREADABLE = "the state cannot be read, the last known one stays in force"
logger = logging.getLogger(__name__)


def live(app: Flask | None = None) -> Live:
    """Return the live state of an application, the current one if none is given."""
    state: Live = (app or current_app).extensions["live"]
    return state


def witness(session: Session) -> Callable[[], None] | None:
    """Read the state that a transaction is about to commit: it must allow its writer, and is served at once.

    Read before the commit, within the same time limit, so that nothing can fail between the two; make the snapshot
    after the commit, when nobody waits for its locks. What is read is what will be committed: this change has locked
    the row of `live_state`, which every other change needs too. Where no state is in force yet, as in a command, read
    nothing.

    Raises:
        SettingsMissing: there is no state any more; the transaction is undone.
        Unauthorized, Forbidden: the writer's token does not allow it any more, likewise.
    """
    state, by = live(), author(session)
    if state.snapshot is None and by.token is None:
        return None
    began = state.begin()
    try:
        found = look(session.connection())
    except (ValueError, OverflowError):
        logger.exception(UNREADABLE)
        recheck(by, *look_at_tokens(session.connection()))
        return None
    if found.settings is None:
        raise SettingsMissing("The row of system_settings or live_state is missing; nothing was changed.")
    assert found.now is not None
    recheck(by, found.tokens, found.now)

    def take() -> None:
        try:
            state.take(understand(found), began)
        except (ValueError, OverflowError):
            logger.exception(UNREADABLE)

    return take


def _file(config: Config) -> StateFile | None:
    """Return the file of the last state; None where there shall be none, as beside an SQLite file."""
    path, url = config["STATE_FILE"], config["SQLALCHEMY_DATABASE_URI"]
    if path is None or url.get_backend_name() == "sqlite":
        return None
    return StateFile(path, config["DATABASE_NAME"], config["MIGRATIONS"], config["STATE_MAX_AGE"])


def init_app(app: Flask) -> None:
    """Make the live state, which starts no thread yet, and look at every write."""
    urls = [app.config["LISTEN_DATABASE_URI"], app.config["SQLALCHEMY_DATABASE_URI"]]
    engines = [watching_engine(url, app.config["DATABASE_CONNECT_TIMEOUT"]) for url in dict.fromkeys(urls)]
    watching, fallback = engines[0], engines[-1] if len(engines) > 1 else None
    with app.app_context():
        app.extensions["live"] = Live(db.engine, watching, fallback, _file(app.config))
    witnesses(app).append(witness)
