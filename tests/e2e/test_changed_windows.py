"""An open window is changed again and again while every worker is asked at `/gate`: none lets anybody through."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from ..conftest import ADMIN
from .commands import flask
from .servers import Server, eventually, gunicorn
from .workers import ask, connections, watching

WORKERS = 2
CHANGES = 40
STATE = "/api/v1/maintenance"
WINDOWS = f"{STATE}/windows"
A_MINUTE = timedelta(minutes=1)
WRITING = {"X-Forwarded-Method": "POST"}  # which is refused in either mode


def at(minutes: float) -> str:
    return (datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=minutes)).isoformat()


@contextmanager
def refused_throughout(server: Server) -> Iterator[None]:
    """Watch every worker during the block: the gate is closed all the time, and was asked often enough to tell."""
    for connection in connections(server.port, server.workers()).values():
        eventually(30, partial(refuses, connection))
        connection.close()
    with watching(server.port, server.workers(), "/gate", headers=WRITING) as answers:
        yield
    assert len(answers) == WORKERS
    for worker, given in answers.items():
        assert len(given) > CHANGES, worker
        assert [one for one in given if one.status != 503] == []


def refuses(connection: HTTPConnection) -> bool:
    return ask(connection, "/gate", WRITING).status == 503


def put(server: Server, identifier: uuid.UUID, **body: Any) -> requests.Response:
    return server.request("PUT", f"{WINDOWS}/{identifier}", json=body, headers=ADMIN)


def test_no_worker_opens_while_end_mode_and_message_of_an_open_window_change(database_url: str) -> None:
    identifier = uuid.uuid4()
    start = at(-60)
    with gunicorn(database_url, workers=WORKERS) as server:
        assert put(server, identifier, starts_at=start, ends_at=at(60)).status_code == 201
        with refused_throughout(server):
            for number in range(CHANGES):
                body = {"ends_at": at(30 + number), "mode": ("full", "read_only")[number % 2], "message": str(number)}
                assert put(server, identifier, starts_at=start, **body).status_code == 200
        eventually(30, lambda: server.get(STATE).json()["message"] == str(CHANGES - 1))
        server.request("DELETE", f"{WINDOWS}/{identifier}", headers=ADMIN)
        eventually(30, lambda: server.get("/gate").status_code == 200)


@pytest.mark.parametrize("rule", [None, "FREQ=DAILY"])
def test_no_worker_opens_while_the_end_moves_from_a_shell(
    database_url: str, rule: str | None, sql: Callable[..., list[Any]]
) -> None:
    with gunicorn(database_url, workers=WORKERS) as server:
        assert put(server, uuid.uuid4(), starts_at=at(-60), ends_at=at(60), rrule=rule).status_code == 201
        with refused_throughout(server):
            for _ in range(3):
                flask(database_url, "maintenance", "extend", "+30m")
        assert len(sql("SELECT * FROM maintenance_windows")) == (1 if rule is None else 2)
        latest = datetime.fromisoformat(at(60 + 3 * 30))
        eventually(30, lambda: latest - A_MINUTE < datetime.fromisoformat(server.get(STATE).json()["until"]) <= latest)
