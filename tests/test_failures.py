"""What is said of the errors of real databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dop_be import sentences
from dop_be.errors import DatabaseReadOnly, DatabaseUnavailable, InvalidInput
from dop_be.failures import explain, lacks_schema, refusal, unavailable, waited_for_lock

from . import shared
from .conftest import ADMIN
from .failing import LOCK_ROW, ROW, engine_of, failing, held, sqlite_failing
from .postgres import execute


def test_every_sentence_is_one_and_no_two_are_the_same() -> None:
    said = [value for name, value in vars(sentences).items() if name.isupper() and isinstance(value, str)]
    said += {sentence.format("") for sentence in sentences.BY_SQLITE.values()}
    assert len(said) > 40
    for sentence in said:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert "\n" not in sentence
    assert len(set(said)) == len(said)


# Statements


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (["SET default_transaction_read_only = on", ROW], sentences.READ_ONLY),
        (["ALTER TABLE system_settings RENAME maintenance_message TO elsewhere", ROW], sentences.NOT_MIGRATED),
        (["DROP TABLE system_settings CASCADE", ROW], sentences.NOT_MIGRATED),
        (["SET ROLE pg_monitor", ROW], sentences.NO_PRIVILEGE),
        (["SET statement_timeout = 50", "SELECT pg_sleep(30)"], sentences.SLOW),
        (["SELECT pg_cancel_backend(pg_backend_pid())"], sentences.CANCELLED),
        (["SELECT 1 / 0"], sentences.FAILED),
    ],
)
def test_a_statement(postgresql_url: str, statements: list[str], sentence: str) -> None:
    error = failing(postgresql_url, *statements)
    assert explain(error) == sentence, error


@pytest.mark.parametrize(
    ("code", "sentence"),
    {
        "40001": sentences.CONFLICT,
        "40P01": sentences.CONFLICT,
        "53100": sentences.DISK_FULL,
        "53200": sentences.OUT_OF_MEMORY,
        "53300": sentences.OUT_OF_CONNECTIONS,
        "53400": sentences.OUT_OF_RESOURCES,
        "57P01": sentences.STOPPING,
        "57P02": sentences.CRASHED,
        "57P03": sentences.STARTING,
        "58030": sentences.BROKEN,
        "XX001": sentences.BROKEN,
        "08P01": sentences.LOST,  # as PgBouncer says it
    }.items(),
)
def test_a_statement_that_meets_what_cannot_be_had_here(postgresql_url: str, code: str, sentence: str) -> None:
    error = failing(postgresql_url, f"DO $$ BEGIN RAISE EXCEPTION 'said privately' USING ERRCODE = '{code}'; END $$")
    assert explain(error) == sentence


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_wait_for_the_row_is_told_with_the_holder(postgresql_url: str, limit: str) -> None:
    with held(postgresql_url, LOCK_ROW):
        error = failing(postgresql_url, f"SET {limit} = 50", ROW)
    assert waited_for_lock(error)
    assert explain(error) == sentences.LOCKED
    told = unavailable(error, "PostgreSQL process 4711 of alice (psql), since 12:03:04 UTC")
    assert told.code == "database_unavailable"
    assert told.detail == (
        "Another session holds a lock on the settings: PostgreSQL process 4711 of alice (psql), since 12:03:04 UTC;"
        " end its transaction, or try again when it has ended."
    )


def test_a_deadlock_or_a_missing_column_is_no_wait(postgresql_url: str) -> None:
    error = failing(postgresql_url, "SELECT no_such_column FROM system_settings")
    assert not waited_for_lock(error)
    assert lacks_schema(error)


def test_a_connection_that_was_ended_meanwhile(postgresql_url: str) -> None:
    with engine_of(postgresql_url, poolclass=NullPool).connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        execute(postgresql_url, f"SELECT pg_terminate_backend({pid}, 10000)")
        with pytest.raises(SQLAlchemyError) as caught:
            connection.exec_driver_sql("SELECT 1")
        # Which, is up to what libpq reads before it writes.
        assert explain(caught.value) in {sentences.STOPPING, sentences.LOST}
        connection.invalidate()


def test_a_pool_that_is_used_up(postgresql_url: str) -> None:
    engine = engine_of(postgresql_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(SQLAlchemyError) as caught:
        engine.connect()
    engine.dispose()
    assert explain(caught.value) == sentences.OUT_OF_POOL


# Domain errors


def test_what_is_read_only_has_a_code_of_its_own(postgresql_url: str, sqlite_url: str) -> None:
    for error in (
        failing(postgresql_url, "SET default_transaction_read_only = on", ROW),
        failing(f"{postgresql_url}?target_session_attrs=read-write&options=-cdefault_transaction_read_only%3Don"),
        sqlite_failing(Path(str(make_url(sqlite_url).database)), ROW, mode="ro"),
    ):
        told = unavailable(error)
        assert isinstance(told, DatabaseReadOnly)
        assert (told.status, told.code, told.detail) == (503, "database_read_only", explain(error))
    other = unavailable(failing(postgresql_url, "SELECT no_such_column FROM system_settings"))
    assert type(other) is DatabaseUnavailable


def test_a_domain_error_keeps_its_own_words() -> None:
    assert explain(InvalidInput({"until": ["Not a date."]})) == "until: Not a date."


def test_a_fault_of_our_own_is_not_called_the_databases_silence() -> None:
    assert explain(ValueError("year 10000 is out of range")) == sentences.UNREADABLE_STATE


@contextmanager
def in_encoding(encoding: str) -> Iterator[str]:
    """An empty database that keeps its text in this encoding, with UTF-8 asked for."""
    url = shared.create(f"template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    yield f"{url}?client_encoding=utf8"
    shared.drop(make_url(url).database)


def test_a_character_that_the_database_cannot_store_is_the_callers() -> None:
    with in_encoding("LATIN1") as url:
        told = refusal(failing(url, "SELECT '€'"))
    assert isinstance(told, InvalidInput)
    assert told.detail == (
        "_schema: The database's encoding lacks one of these characters: character with byte sequence 0xe2 0x82 0xac"
        ' in encoding "UTF8" has no equivalent in encoding "LATIN1".'
    )


def test_bytes_that_are_no_text() -> None:
    """A server that keeps any bytes refuses to send those as UTF-8 that are none."""
    with in_encoding("SQL_ASCII") as url:
        assert explain(failing(url, r"SELECT convert_from('\366'::bytea, 'SQL_ASCII')")) == sentences.BAD_TEXT


def test_what_a_read_is_asked_for_is_the_callers_too(make_app: Callable[..., Flask], postgresql_url: str) -> None:
    """Not "unavailable": trying again would not help."""
    app = make_app(postgresql_url)
    assert app.extensions["live"].refresh()

    @app.get("/asked")
    def asked() -> Any:
        raise failing(postgresql_url, "SELECT 100000::smallint")

    answer = app.test_client().get("/asked", headers=ADMIN)
    assert (answer.status_code, answer.get_json(force=True)["code"]) == (422, "invalid")
