"""How SQLAlchemy connects to the database: the engine of the pool, and that of a watcher's own connection."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from . import columns, deadline, sqlite


def engine_options(url: URL, connect_timeout: int) -> dict[str, Any]:
    """Return what `create_engine` is given for this URL; `connect_timeout` are the seconds for each host."""
    from_json = partial(json.loads, parse_float=Decimal)  # a number keeps all its digits
    if url.get_backend_name() == "sqlite":
        # No pool: opening a file is cheap, and a kept connection would go on in a file that was replaced by a backup.
        creator = partial(sqlite.open_file, Path(str(url.database)))
        return {"poolclass": NullPool, "hide_parameters": True, "creator": creator, "json_deserializer": from_json}
    return {
        "hide_parameters": True,  # an error's text, which may be logged, shows no values
        "json_deserializer": from_json,
        "use_native_hstore": False,  # which would be asked for on each connection
        "pool_size": 1,  # writers queue at one row anyway
        "max_overflow": 3,
        "pool_timeout": deadline.SECONDS,
        "pool_pre_ping": True,
        "pool_use_lifo": True,
        "connect_args": connect_arguments(url, connect_timeout),
    }


def connect_arguments(url: URL, connect_timeout: int) -> dict[str, Any]:
    """Return what libpq is told beside what stands in the URL."""
    ours = {"connect_timeout": connect_timeout, "keepalives_idle": 30, "tcp_user_timeout": 5000}
    return {**ours, **url.query, "application_name": "dop_be", "client_encoding": "utf8"}


def watching_engine(url: URL, connect_timeout: int) -> Engine:
    """Return an engine for the one connection over which a watcher reads and listens."""
    options = engine_options(url, connect_timeout)
    if url.get_backend_name() != "sqlite":
        options = {name: value for name, value in options.items() if not name.startswith(("pool", "max_"))}
        options["connect_args"]["application_name"] = "dop_be listener"
    engine = create_engine(url, **{**options, "poolclass": NullPool})
    prepare(engine)
    return engine


def prepare(engine: Engine) -> None:
    """Have every connection lock, and read times, as dop_be needs it."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "begin", sqlite.begin)
        event.listen(engine, "commit", sqlite.limit_lock_wait)
    else:
        event.listen(engine, "connect", columns.read_every_year)
