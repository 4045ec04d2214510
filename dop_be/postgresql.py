"""The SQLAlchemy dialect for PostgreSQL: few round trips, each with a deadline, and text in any encoding."""

from __future__ import annotations

import codecs
import select
from typing import Any, Literal

import psycopg2
from psycopg2 import extensions
from sqlalchemy import Connection as Checkout
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import URL

from . import deadline, hosts
from .failures import words

NAME = "postgresql+dop_be"  # in a URL
STATEMENT_LIMIT = 1200  # milliseconds; the server gives up before our deadline, so that it costs no connection
# Sent along with each statement of a reader. Whatever level the role has: a replica refuses `serializable`.
READING = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL extra_float_digits = 1; SET LOCAL statement_timeout = "
)
UNASKED = 3  # messages that an idle connection may have brought, and be as good as new; its end is the second one
OPEN = (extensions.TRANSACTION_STATUS_INTRANS, extensions.TRANSACTION_STATUS_INERROR)
QUOTING = "standard_conforming_strings"
LENIENT = "dop_be_lenient_utf_8"


class Connection(extensions.connection):
    """A connection with the statements that travel with the next one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queued: list[bytes] = []
        self.quoting = self.get_parameter_status(QUOTING)  # by which psycopg2 quotes from now on


class Dialect(PGDialect_psycopg2):
    """psycopg2's dialect, with fewer round trips and with hosts that fail.

    Where the driver is in autocommit, a transaction may be begun by a statement with the execution option `along`: it
    is not sent by itself, but in one message with the next one, and so is every other such statement, whose result
    nobody can read. A commit ends it. With the option `reading` a statement is a transaction of its own, with a limit.
    """

    driver = "dop_be"
    supports_statement_cache = True

    def create_connect_args(self, url: URL) -> Any:
        names = {"user": url.username, "password": url.password, "host": url.host, "port": url.port}
        given = {name: value for name, value in {**names, "dbname": url.database}.items() if value is not None}
        return [], {**given, **url.query}

    def connect(self, *args: Any, **arguments: Any) -> Any:
        connection = hosts.connect(arguments, Connection)
        if connection.get_parameter_status("server_encoding") == "SQL_ASCII":
            # It stores bytes as they come; they need not be UTF-8.
            connection.set_client_encoding("SQL_ASCII")
        return connection

    def _get_server_version_info(self, connection: Checkout) -> tuple[int, ...]:
        number: int = _driver(connection).server_version
        return number // 10_000, number % 10_000

    def _get_default_schema_name(self, connection: Checkout) -> Any:
        # It takes a round trip, and only what looks at the schema, as migrations do, wants to know it.
        asked: Any = super()._get_default_schema_name
        return asked(connection) if deadline.remaining() is None else None

    def _set_backslash_escapes(self, connection: Checkout) -> None:
        self._backslash_escapes = _driver(connection).get_parameter_status(QUOTING) == "off"

    def get_default_isolation_level(self, dbapi_conn: Any) -> Literal["READ COMMITTED"]:
        return "READ COMMITTED"

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        if not dbapi_connection.autocommit:
            dbapi_connection.rollback()  # psycopg2's own way undoes what is open too
        # In this order psycopg2 sends nothing: it tells the server a level only while in autocommit.
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        if level != "AUTOCOMMIT":
            dbapi_connection.isolation_level = level

    def reset_isolation_level(self, dbapi_connection: Any) -> None:
        dbapi_connection.autocommit = False
        dbapi_connection.isolation_level = None

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether a pooled connection is still open, as far as can be seen without asking the server."""
        poller = select.poll()
        try:
            poller.register(dbapi_connection.fileno(), select.POLLIN)
            for _ in range(UNASKED):
                if not poller.poll(0):
                    return _quotes_well(dbapi_connection) and not dbapi_connection.closed
                dbapi_connection.poll()  # the server has said something unasked: most likely that it has ended
        except (psycopg2.Error, UnicodeDecodeError):
            pass
        return False

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        options = context.execution_options if context is not None else {}
        queued = getattr(cursor.connection, "queued", [])
        if not _quotes_well(cursor.connection):
            cursor.connection.close()
            raise psycopg2.OperationalError(f"{QUOTING} was changed: connection already closed")
        if options.get("along"):
            queued.append(cursor.mogrify(statement, parameters))
            return
        if options.get("reading"):
            # PostgreSQL takes both as one transaction, in one round trip.
            queued = [(READING + str(STATEMENT_LIMIT)).encode()]
        try:
            if queued:
                message = b"; ".join([*queued, cursor.mogrify(statement, parameters)])
                queued.clear()
                cursor.execute(message)
            else:
                cursor.execute(statement, parameters)
        except UnicodeDecodeError as error:  # an error in the server's language
            raise psycopg2.OperationalError(words(error)) from None

    def do_executemany(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        # It goes round do_execute, and must not run before what is queued: the BEGIN of its transaction.
        if queued := getattr(cursor.connection, "queued", []):
            message = b"; ".join(queued)
            queued.clear()
            cursor.execute(message)
        run: Any = super().do_executemany
        run(cursor, statement, parameters, context)

    def do_commit(self, dbapi_connection: Any) -> None:
        if dbapi_connection.autocommit:
            _end(dbapi_connection, b"COMMIT")
        else:
            dbapi_connection.commit()

    def do_rollback(self, dbapi_connection: Any) -> None:
        if dbapi_connection.autocommit:
            dbapi_connection.queued.clear()
            _end(dbapi_connection, b"ROLLBACK")
        else:
            dbapi_connection.rollback()


def _driver(connection: Checkout) -> Any:
    return connection.connection.driver_connection


def _quotes_well(connection: Any) -> bool:
    """Whether psycopg2 goes by what the server says of quotes now: after a reload, a text could end its own."""
    quoting = getattr(connection, "quoting", None)
    return quoting is None or bool(connection.get_parameter_status(QUOTING) == quoting)


def _end(connection: Any, statement: bytes) -> None:
    """End the transaction, in one message with what is queued; send nothing where none was begun."""
    if connection.queued or connection.get_transaction_status() in OPEN:
        with connection.cursor() as cursor:
            message = b"; ".join([*connection.queued, statement])
            connection.queued.clear()
            cursor.execute(message)


def _lenient(name: str) -> codecs.CodecInfo | None:
    """Return a codec that writes UTF-8, and replaces other bytes where it reads."""

    def decode(data: Any, errors: str = "strict", /) -> tuple[str, int]:
        return codecs.utf_8_decode(data, "replace", True)

    return codecs.CodecInfo(codecs.utf_8_encode, decode, name=LENIENT) if name == LENIENT else None


codecs.register(_lenient)
extensions.encodings["SQL_ASCII"] = extensions.encodings["SQLASCII"] = LENIENT
registry.register("postgresql.dop_be", __name__, "Dialect")
