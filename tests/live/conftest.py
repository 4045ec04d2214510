"""Applications that follow their database."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask


@pytest.fixture
def watched(make_app: Callable[..., Flask], database_url: str) -> Flask:
    app = make_app(database_url)
    app.extensions["live"].start()
    return app


@pytest.fixture
def breakable(make_app: Callable[..., Flask], breakable_url: str) -> Flask:
    app = make_app(breakable_url)
    app.extensions["live"].start()
    return app
