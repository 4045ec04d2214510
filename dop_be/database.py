"""Transactions: every call has a deadline, every write an author, and SQLite one writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from typing import Any, Literal

from flask import Flask, current_app
from sqlalchemy import Connection, Engine, Executable, Result, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from . import deadline, hosts, postgresql
from .deadline import time_limit
from .engines import engine_options, prepare
from .errors import DomainError, Forbidden
from .extensions import db
from .failures import cause, refusal, unavailable, waited_for_lock
from .locks import holder
from .sentences import UNSURE

LOCK_LIMIT = 1000  # milliseconds, less than a statement has, so that the server says why it gave up
ABANDONED_LIMIT = 5000  # milliseconds until the server undoes the transaction of a process that froze in it


@dataclass(frozen=True)
class Author:
    """Who makes a change, through what, and why: recorded beside the change.

    `token` is the id of the token that allowed it, and `scope` what it had to have for that; None for ADMIN_TOKEN and
    the command line. `components` are those that it is limited to; None: it is not limited.
    """

    actor: str
    source: Literal["api", "cli"]
    reason: str | None = None
    request_id: str | None = None
    token: str | None = None
    scope: str | None = None
    components: frozenset[str] | None = None

    def told(self) -> dict[str, Any]:
        """Return what a line of the log tells of it."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "components"}

    def check(self, component: str | None) -> None:
        """Raise Forbidden where the token is limited to other components; None stands for the platform."""
        if self.components is not None and component not in self.components:
            limits = ", ".join(sorted(self.components)) or "no component"
            raise Forbidden(f"The token is limited to {limits}, and this is about {component or 'the platform'}.")


# Looks at a transaction just before its commit, where it may still raise; what it returns runs after the commit.
Witness = Callable[[Session], Callable[[], None] | None]


def init_app(app: Flask) -> None:
    for name in ("SQLALCHEMY_DATABASE_URI", "LISTEN_DATABASE_URI"):
        if app.config[name].get_backend_name() == "postgresql":
            app.config[name] = app.config[name].set(drivername=postgresql.NAME)
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url, app.config["DATABASE_CONNECT_TIMEOUT"])
    app.extensions["witnesses"] = []
    db.init_app(app)
    with app.app_context():
        prepare(db.engine)


def witnesses(app: Flask) -> list[Witness]:
    """Return the witnesses of an application's writes, in the order in which they are asked; append to register."""
    registered: list[Witness] = app.extensions["witnesses"]
    return registered


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a connection for reading, without a lock that a writer would wait for.

    On PostgreSQL each statement sees one state of the whole database, and two may see two: read in one (`columns.rows`)
    what has to fit together. A transaction around them would cost a round trip to begin and another to end.
    """
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with time_limit(), engine.connect().execution_options(reading=True, **level) as connection:
        yield connection


def ask(engine: Engine, statement: Executable) -> Result[Any]:
    """Return the answer to one question, on a new connection where the pooled one had died.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database does not answer.
    """
    with time_limit():
        try:
            return _ask(engine, statement)
        except DBAPIError as error:
            if not _had_died(error):
                raise
            return _ask(engine, statement)


def _ask(engine: Engine, statement: Executable) -> Result[Any]:
    with reading(engine) as connection:
        return connection.execute(statement).freeze()()


def _had_died(error: DBAPIError) -> bool:
    """Whether a connection turned out to be lost, and not slow: then another one may do, while there is time."""
    return error.connection_invalidated and not isinstance(error.orig, deadline.Timeout) and deadline.remaining() != 0.0


def drop_connections(engine: Engine) -> None:
    """Close the pooled connections, which lead to a server that is lost, and try its hosts alike from now on."""
    engine.dispose()
    if engine.dialect.name == "postgresql":
        hosts.forget(engine.dialect.create_connect_args(engine.url)[1])


@contextmanager
def writing(by: Author, *, longer: float = 0) -> Iterator[Session]:
    """Run one bounded transaction with an author; commit at the end of the block, undo it after any error.

    The witnesses look at it before the commit; what they return runs after it. `longer` is by how many seconds it may
    take longer than others, since it writes many rows; negative where some of its time has passed already.

    On PostgreSQL it begins with its first statement, in one message, and what is given to `along` travels likewise.

    Raises:
        InvalidInput: the database refuses the caller's values.
        DatabaseUnavailable: no answer in time, or a fault of the database; nothing was changed unless the commit itself
            was cut off.
    """
    session = db.session()
    with time_limit(deadline.SECONDS + longer):
        try:
            session.info.update(author=by, longer=longer, committing=False)
            _open(session)
            yield session
            session.flush()
            after = [witness(session) for witness in current_app.extensions["witnesses"]]
            session.info["committing"] = True
            session.commit()
        except SQLAlchemyError as error:
            raise _refused(session, error) from error
        finally:
            session.rollback()  # within the time limit, whatever was raised; after a commit there is nothing to undo
    for run in filter(None, after):
        run()


def _refused(session: Session, error: SQLAlchemyError) -> DomainError:
    """Return the domain error for a write that failed; it names the session that held the lock, if one did."""
    if isinstance(cause(error), deadline.Timeout):
        told = unavailable(error)
        return type(told)(UNSURE if session.info["committing"] else f"{told.detail} Nothing was changed.")
    with suppress(SQLAlchemyError):
        session.rollback()  # so that the pool has its connection again
        if (who := in_the_way(db.engine, error)) is not None:
            return unavailable(error, who)
    return refusal(error)


def in_the_way(engine: Engine, error: BaseException) -> str | None:
    """Return, in words, which session holds the lock that a statement waited for; None where there was or is none."""
    if engine.dialect.name == "sqlite" or not waited_for_lock(error):
        return None
    with suppress(SQLAlchemyError), reading(engine) as connection:
        return holder(connection)
    return None


def author(session: Session) -> Author:
    """Return who makes the change of this transaction."""
    by: Author = session.info["author"]
    return by


def along(session: Session, statement: Executable) -> None:
    """Run a statement whose result nobody needs; on PostgreSQL it travels with the next one, or with the commit."""
    session.connection().execute(statement, execution_options={"along": True})


def first(session: Session, statement: Executable, *before: Executable) -> Result[Any]:
    """Run the first statements of a transaction, those `before` along with it; return what the statement found.

    Where the pooled connection had died, the transaction begins once more on a new one.
    """
    try:
        return _first(session, statement, before)
    except DBAPIError as error:
        if not _had_died(error):
            raise
        session.rollback()
        _open(session)
        return _first(session, statement, before)


def _first(session: Session, statement: Executable, before: Iterable[Executable]) -> Result[Any]:
    for one in before:
        along(session, one)
    return session.execute(statement)


def _open(session: Session) -> None:
    """Begin, and tell the database who writes: PostgreSQL's triggers read it, on SQLite `history.record` does."""
    if session.get_bind().dialect.name != "postgresql":
        return
    by, longer = author(session), int(session.info["longer"] * 1000)
    local = {
        "statement_timeout": str(max(1, postgresql.STATEMENT_LIMIT + longer)),
        "lock_timeout": str(max(1, LOCK_LIMIT + longer)),
        "extra_float_digits": "1",
        "idle_in_transaction_session_timeout": str(ABANDONED_LIMIT),
        "dop_be.actor": by.actor,
        "dop_be.source": by.source,
        "dop_be.reason": by.reason or "",
        "dop_be.request_id": by.request_id or "",
    }
    settings = ", ".join(f"set_config('{name}', :v{place}, true)" for place, name in enumerate(local))
    values = {f"v{place}": value for place, value in enumerate(local.values())}
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})  # psycopg2 would begin by itself
    # Whatever level the role has: what is read behind a lock must be new.
    along(session, text("BEGIN ISOLATION LEVEL READ COMMITTED"))
    along(session, text(f"SELECT {settings}").bindparams(**values))
