"""What travels in one message: the beginning of a transaction, statements that nobody reads, and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, insert, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dop_be import postgresql
from dop_be.database import along, first
from dop_be.deadline import time_limit
from dop_be.engines import engine_options

from .postgres import execute

# Other tests have connections of that name to the same server.
OURS = "FROM pg_stat_activity WHERE application_name = 'dop_be' AND datname = current_database()"
THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("said", Text))
HARD = r"""it's 100%, %s, %(name)s, :name, {brace}, "quoted", \ and $1; DROP TABLE things; --"""


@pytest.fixture
def url(own_postgresql: str) -> str:
    execute(own_postgresql, "CREATE TABLE things (id integer PRIMARY KEY, said text)")
    return own_postgresql


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    parsed = make_url(url).set(drivername=postgresql.NAME)
    engine = create_engine(parsed, **engine_options(parsed, 5))
    with time_limit(60):
        yield engine
    engine.dispose()


def begun(session: Session) -> Session:
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    along(session, text("BEGIN"))
    return session


def test_statements_travel_with_the_next_one_and_with_the_commit(engine: Engine, url: str) -> None:
    with begun(Session(engine)) as session:
        along(session, insert(THINGS).values(id=1, said="first"))
        along(session, insert(THINGS).values(id=2, said="second"))
        assert execute(url, "SELECT count(*) FROM pg_locks WHERE relation = 'things'::regclass") == [
            (0,)
        ]  # not yet sent
        assert session.scalars(select(THINGS.c.said).order_by(THINGS.c.id)).all() == ["first", "second"]
        assert execute(url, "SELECT * FROM things") == []
        along(session, insert(THINGS).values(id=3, said="third"))
        session.commit()
    assert execute(url, "SELECT id FROM things ORDER BY id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_every_text_arrives_as_it_is(engine: Engine, url: str, conforming: str) -> None:
    name = make_url(url).database
    execute(url, f"ALTER DATABASE {name} SET standard_conforming_strings = {conforming}")
    with begun(Session(engine)) as session:
        along(session, insert(THINGS).values(id=1, said=HARD))
        along(session, text("SELECT set_config('dop_be.reason', :said, true)").bindparams(said=HARD))
        assert session.execute(text("SELECT current_setting('dop_be.reason'), :said"), {"said": HARD}).one() == (
            HARD,
            HARD,
        )
        session.commit()
    assert execute(url, "SELECT said FROM things") == [(HARD,)]


def test_an_error_in_a_statement_that_travels_along_undoes_everything(engine: Engine, url: str) -> None:
    for ends_with_commit in (False, True):
        with begun(Session(engine)) as session:
            along(session, insert(THINGS).values(id=1))
            along(session, insert(THINGS).values(id=1))
            with pytest.raises(DBAPIError, match="duplicate key"):
                session.commit() if ends_with_commit else session.execute(select(literal(1)))
            session.rollback()
            assert session.scalar(select(literal(1))) == 1  # the connection goes on
        assert execute(url, "SELECT * FROM things") == []


def test_what_was_begun_and_not_ended_is_undone_when_the_connection_goes_back(engine: Engine, url: str) -> None:
    session = begun(Session(engine))
    session.execute(insert(THINGS).values(id=1))
    along(session, insert(THINGS).values(id=2))
    session.close()
    assert execute(url, f"SELECT state {OURS}") == [("idle",)]
    with engine.connect() as connection:  # the same one: it sends nothing that was left
        assert connection.scalar(select(literal(1))) == 1
        connection.commit()
    assert execute(url, "SELECT * FROM things") == []


def terminate(url: str) -> None:
    execute(url, f"SELECT pg_terminate_backend(pid, 10000) {OURS}")


def test_a_connection_that_was_ended_while_it_was_idle_is_not_used(engine: Engine, url: str) -> None:
    with engine.connect() as connection:
        before = connection.scalar(text("SELECT pg_backend_pid()"))
    terminate(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != before


def test_a_transaction_begins_again_where_its_connection_has_just_died(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dop_be.database._open", begun)
    with begun(Session(engine)) as session:
        terminate(url)
        found = first(session, select(THINGS), insert(THINGS).values(id=1, said="once")).all()
        assert [tuple(row) for row in found] == [(1, "once")]
        terminate(url)
        with pytest.raises(DBAPIError):  # later it is not safe to begin again
            session.execute(select(THINGS))
    assert execute(url, "SELECT * FROM things") == []


def test_a_role_that_is_serializable_takes_no_further_round_trip(engine: Engine, url: str) -> None:
    """psycopg2 would set the level back whenever the connection returns to the pool."""
    name = make_url(url).database
    execute(url, f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
    for level in ("AUTOCOMMIT", "READ COMMITTED", "AUTOCOMMIT"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            found = connection.scalar(text("SELECT current_setting('transaction_isolation')"))
            assert found == ("serializable" if level == "AUTOCOMMIT" else "read committed")
    last = execute(url, f"SELECT query {OURS}")
    assert "transaction_isolation" in last[0][0]
    assert "DEFAULT" not in last[0][0]


def test_bytes_that_are_no_utf_8_are_read_with_a_replacement() -> None:
    decode = postgresql._lenient(postgresql.LENIENT)
    assert decode is not None
    assert decode.decode(b"Gr\xf6\xdfe \xe2\x82\xac")[0] == "Gr\ufffd\ufffde €"
    assert decode.encode("€")[0] == b"\xe2\x82\xac"
    assert postgresql._lenient("another") is None


def test_a_server_that_changes_how_it_reads_quotes_gets_no_text_that_could_end_its_own(
    engine: Engine, url: str
) -> None:
    """psycopg2 settles when connecting how it quotes, and libpq follows the server's reload."""
    name = make_url(url).database
    execute(url, f"ALTER DATABASE {name} SET standard_conforming_strings = off")
    with begun(Session(engine)) as session:
        session.execute(text("SET standard_conforming_strings = on"))  # as a reload would; its report comes along
        with pytest.raises(DBAPIError, match="standard_conforming_strings was changed"):
            session.execute(text("SELECT :said"), {"said": "\\'; DROP TABLE things; --"})
    assert execute(url, "SELECT * FROM things") == []
