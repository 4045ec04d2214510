"""A PostgreSQL database that is put back between tests, which takes a few milliseconds, where making one takes 100.

Nothing here knows a table by name. What counts is that all tables have the rows again, and all sequences the values,
that they had at first. Where a test has changed the schema, the database is made anew from its template.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier
from sqlalchemy.engine import make_url

from .postgres import execute

PASSES = 3  # a trigger that fires always may change one table while another is put back
# Where a schema is kept. A row that was made or changed has a newer xmin; one that was deleted is not counted.
CATALOGS = [
    *("pg_attrdef", "pg_attribute", "pg_cast", "pg_class", "pg_collation", "pg_constraint", "pg_default_acl"),
    *("pg_enum", "pg_event_trigger", "pg_extension", "pg_index", "pg_inherits", "pg_namespace", "pg_policy"),
    *("pg_proc", "pg_publication", "pg_publication_rel", "pg_rewrite", "pg_sequence", "pg_statistic_ext"),
    *("pg_trigger", "pg_type"),
]
# Sequences are told apart from tables by `relkind`; what belongs to an extension is a table like any other.
RELATIONS = """
SELECT nspname, relname, relkind = 'S', array(
    SELECT attname FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'S') AND relpersistence <> 't' AND nspname NOT IN ('pg_catalog', 'information_schema')
"""
OWN = """
(SELECT (datdba, datacl, datconnlimit, datallowconn,
    array(SELECT (setrole, setconfig) FROM pg_db_role_setting WHERE setdatabase = d.oid))::text
FROM pg_database d WHERE datname = current_database())
"""
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
END_OTHERS = f"SELECT pg_terminate_backend(pid, 10000) {OTHERS}"


class Table:
    """A table or sequence, and how it was at first.

    Its rows are kept as text, which every type has; COPY cannot be had in a process that has set a wait callback.
    """

    def __init__(self, cursor: Any, schema: str, name: str, is_sequence: bool, columns: list[str]) -> None:
        self.name, self.is_sequence, self._columns = Identifier(schema, name), is_sequence, columns
        what = "(last_value, is_called)" if is_sequence else '("a row".*)'
        cursor.execute(SQL(f'SELECT {what}::text FROM {{}} "a row"').format(self.name))
        self._at_first = [row for (row,) in cursor.fetchall()]

    @property
    def state(self) -> Composable:
        """A query for one value that tells what is in it."""
        if self.is_sequence:
            return SQL("(SELECT (last_value, is_called)::text FROM {})").format(self.name)
        rows = SQL('(SELECT md5(string_agg(("a row".*)::text, chr(10) ORDER BY ("a row".*)::text)) FROM {} "a row")')
        return rows.format(self.name)

    def put_back(self, cursor: Any) -> None:
        if self.is_sequence:
            value, is_called = self._at_first[0].strip("()").split(",")
            cursor.execute("SELECT setval(%s::regclass, %s, %s)", (self.name.as_string(cursor), value, is_called))
            return
        cursor.execute(SQL("DELETE FROM {}").format(self.name))
        insert = SQL(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM"
            ' (SELECT unnest(%s)::{table} AS "value") "a row"'
        ).format(
            table=self.name,
            columns=SQL(", ").join(map(Identifier, self._columns)),
            values=SQL(", ").join(SQL('("a row"."value").{}').format(Identifier(name)) for name in self._columns),
        )
        cursor.execute(insert, (self._at_first,))


class Kept:
    """A database made from a template, to be had again and again as it was at first."""

    def __init__(self, server_url: str, template: str, name: str) -> None:
        self._server_url, self._template, self._name = server_url, template, name
        self.url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
        self._make()
        with self._cursor() as cursor:
            cursor.execute(RELATIONS)
            self._tables = [Table(cursor, *row) for row in cursor.fetchall()]
            schema = [SQL(f"(SELECT (count(*), max(xmin::text::bigint))::text FROM {name})") for name in CATALOGS]
            parts = [SQL(OWN), *schema, *(table.state for table in self._tables)]
            self._question = SQL("SELECT {}").format(SQL(", ").join(parts))
            self._at_first = self._state(cursor)

    def as_at_first(self) -> str:
        """Put it back, and return its URL; whoever is still connected is disconnected."""
        try:
            with self._cursor() as cursor:
                cursor.execute(END_OTHERS)
                if self._restored(cursor):
                    return self.url
        except psycopg2.Error:
            pass  # it was dropped, say, or its rows cannot be deleted
        self._make()
        return self.url

    def _restored(self, cursor: Any) -> bool:
        """Put back what differs; whether all is as it was at first, then."""
        for _ in range(PASSES):
            now = self._state(cursor)
            if now == self._at_first:
                return True
            tables = len(self._tables)
            if now[:-tables] != self._at_first[:-tables]:
                return False
            differ = zip(self._tables, now[-tables:], self._at_first[-tables:], strict=True)
            cursor.execute("BEGIN; SET LOCAL session_replication_role = replica")
            for table in [table for table, current, first in differ if current != first]:
                table.put_back(cursor)
            cursor.execute("COMMIT")
        return False

    def _state(self, cursor: Any) -> tuple[str | None, ...]:
        """What tells any difference: of the database, of its schema, and of each table."""
        cursor.execute(self._question)
        state: tuple[str | None, ...] = cursor.fetchone()
        return state

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with closing(psycopg2.connect(self.url, connect_timeout=10)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            yield cursor

    def _make(self) -> None:
        execute(
            self._server_url,
            f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)',
            f'CREATE DATABASE "{self._name}" TEMPLATE "{self._template}"',
        )
