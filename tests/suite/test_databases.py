"""A database is put back as it was, whatever a test did to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from .. import shared
from ..databases import Kept
from ..postgres import dump, execute

SCHEMA = """
CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,
    twice text GENERATED ALWAYS AS (name || name) STORED);
CREATE TABLE parts (thing int REFERENCES things, "odd name" jsonb, at timestamptz DEFAULT now());
CREATE TABLE log (entry text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES (TG_OP); RETURN NULL; END$$;
CREATE TRIGGER refuse BEFORE DELETE ON log FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse_all BEFORE TRUNCATE ON log EXECUTE FUNCTION refuse();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON things FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE things ENABLE ALWAYS TRIGGER note;
INSERT INTO things (name) VALUES ('one'), (NULL), (E'a\\nb,"\\\\');
INSERT INTO parts VALUES (1, '{"a": [1, "x\\""]}', 'infinity'), (2, NULL, NULL);
"""
ROWS = [
    "UPDATE things SET name = 'other'",
    "INSERT INTO things (name) VALUES ('more')",
    "DELETE FROM parts; DELETE FROM things WHERE id > 1",
    "SELECT nextval('things_id_seq')",
    "INSERT INTO log VALUES ('x')",
    "SELECT 1",
]
SCHEMAS = [
    "ALTER TABLE things ADD COLUMN colour text",
    "ALTER TABLE things RENAME TO gone",
    "DROP TABLE parts",
    "CREATE TABLE more (id int)",
    "CREATE SCHEMA more",
    "TRUNCATE parts",
    "ALTER TABLE things DISABLE TRIGGER note",
    "DROP TRIGGER refuse ON log",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$",
    "CREATE EXTENSION pgcrypto",
    "CREATE TYPE mood AS ENUM ('good')",
    "ALTER TABLE parts DROP CONSTRAINT parts_thing_fkey",
    "ALTER TABLE things ALTER COLUMN name SET DEFAULT 'x'",
    "GRANT SELECT ON things TO PUBLIC",
    "ALTER DATABASE {name} SET statement_timeout = '200ms'",
    "ALTER DATABASE {name} CONNECTION LIMIT 1",
]


@pytest.fixture(scope="module")
def kept(empty_postgresql: Callable[..., str]) -> Iterator[Kept]:
    template = empty_postgresql()
    execute(template, *SCHEMA.strip().split(";\n"))
    name = make_url(template).database
    kept = Kept(shared.allowed_server(), str(name), f"{name}_kept")
    yield kept
    shared.drop(f"{name}_kept", name)


def everything(url: str) -> str:
    dumped = dump(url, "--create")
    return "\n".join(line for line in dumped.splitlines() if not line.startswith("\\"))


def identity(url: str) -> int:
    [(oid,)] = execute(url, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return int(oid)


@pytest.mark.parametrize("change", ROWS)
def test_rows_and_sequences_are_put_back_in_the_same_database(kept: Kept, change: str) -> None:
    url = kept.as_at_first()
    before, database = everything(url), identity(url)
    execute(url, change)
    assert sorted(everything(kept.as_at_first()).splitlines()) == sorted(before.splitlines())
    assert identity(url) == database


@pytest.mark.parametrize("change", SCHEMAS)
def test_a_changed_schema_makes_the_database_anew(kept: Kept, change: str) -> None:
    url = kept.as_at_first()
    before, database = everything(url), identity(url)
    execute(url, change.format(name=make_url(url).database))
    assert sorted(everything(kept.as_at_first()).splitlines()) == sorted(before.splitlines())
    assert identity(url) != database


def test_a_dropped_database_is_made_anew(kept: Kept) -> None:
    url = kept.as_at_first()
    shared.drop(make_url(url).database)
    assert execute(kept.as_at_first(), "SELECT count(*) FROM things") == [(3,)]


def test_an_open_transaction_of_the_last_test_is_ended(kept: Kept) -> None:
    left = psycopg2.connect(kept.as_at_first())
    left.cursor().execute("UPDATE things SET name = 'locked'")
    kept.as_at_first()
    with pytest.raises(psycopg2.OperationalError):
        left.commit()
    left.close()
