"""docs/endpoints.md, "A table of your own", followed to the letter on both databases."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from dop_be.extensions import db
from tests.conftest import ADMIN_TOKEN
from tests.e2e.servers import serving

from .guide import Reader, chapters
from .tree import ROOT, Tree

GUIDE = chapters(ROOT / "docs" / "endpoints.md")["A table of your own"]
SERVE = ("python", "serve.py", "--local")  # what `make run` ends with


@pytest.fixture
def reader(make_tree: Callable[[str], Tree], database_url: str) -> Reader:
    tree = make_tree(database_url)
    tree.environment |= {"ADMIN_TOKEN": ADMIN_TOKEN, "WEB_CONCURRENCY": "1"}
    reader = Reader(tree, {"/srv/dop_be": str(tree.path)})
    reader.begin([])
    return reader


def test_every_step_does_what_it_says(reader: Reader, make_app: Callable[..., Flask]) -> None:
    calls = next(number for number, (kind, body) in enumerate(GUIDE) if kind == "console" and "$ curl" in body)
    for kind, body in GUIDE[:calls]:
        reader.follow(kind, body)
    with serving(SERVE, cwd=reader.tree.path, **reader.tree.environment) as server:
        reader.names["http://127.0.0.1:8000"] = server.url
        for kind, body in GUIDE[calls:]:
            reader.follow(kind, body)
    assert_foreign_key_holds(make_app(reader.tree.url))


def assert_foreign_key_holds(app: Flask) -> None:
    """A line of no order, beside what the guide shows: SQLite checks that only where it is told to."""
    line = text("INSERT INTO shop_order_lines (order_id, item, quantity) VALUES (:order, 'tea', 1)")
    with app.app_context(), pytest.raises(IntegrityError, match=r"(?i)foreign key"), db.engine.begin() as connection:
        connection.execute(line, {"order": uuid.uuid4().hex})
