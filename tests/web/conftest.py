"""Fixtures of what HTTP sees."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from dop_be.access import service
from dop_be.database import Author

Headers = dict[str, str]
Holder = Callable[..., Headers]


@pytest.fixture
def holder(app: Flask) -> Holder:
    """Makes a token for somebody with these scopes; the headers that send it."""

    def make(*scopes: str, name: str = "lead", lifetime: timedelta | None = None) -> Headers:
        with app.app_context():
            text, _ = service.create(name, scopes, Author("tester", "cli"), lifetime=lifetime)
        return {"Authorization": f"Bearer {text}"}

    return make
