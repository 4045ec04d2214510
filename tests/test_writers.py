"""Several writers at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session

from dop_be.extensions import db

from .test_database import write


def test_busy_writers_all_get_their_turn(make_app: Callable[..., Flask], sqlite_url: str) -> None:
    app = make_app(sqlite_url)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda index: write(app.test_client(), maintenance_message=str(index)), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    with app.app_context():
        assert Session(db.engine).scalar(text("SELECT revision FROM system_settings")) == 21
