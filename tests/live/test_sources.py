"""How a watcher hears of changes: a source reports every change, survives nonsense, and leaves nothing open."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url

from dop_be.live import sources
from dop_be.live.loader import read_mark
from dop_be.live.snapshot import Mark
from dop_be.live.sources import ERRORS, ChangeSource, Listener, Poll, Reopen, SQLiteFile, Wake, open_source

from ..clock import Clock
from ..pgbouncer import pgbouncer
from ..postgres import Cluster, execute

pytestmark = pytest.mark.limits
HEARD = 5.0  # seconds, far more than any source takes


@contextmanager
def engine_of(url: str) -> Iterator[tuple[Engine, URL]]:
    parsed = make_url(url.replace("postgresql://", "postgresql+psycopg2://", 1))
    engine = create_engine(parsed, pool_pre_ping=True)
    try:
        yield engine, parsed
    finally:
        engine.dispose()


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


@pytest.fixture
def source(database_url: str, wake: Wake) -> Iterator[ChangeSource]:
    with engine_of(database_url) as (engine, url), closing(open_source(engine, url, wake)) as source:
        yield source


@pytest.fixture
def loaded(database_url: str) -> Mark:
    with engine_of(database_url) as (engine, _):
        mark = read_mark(engine)
    assert mark is not None
    return mark


def listener_on(url: str, wake: Wake) -> Listener:
    return Listener({"dsn": url}, wake)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_change_by_sql_ends_the_wait(source: ChangeSource, loaded: Mark, sql: Callable[..., object]) -> None:
    clock = Clock()
    timer = threading.Timer(0.2, sql, ["UPDATE system_settings SET is_maintain = true"])
    timer.start()
    assert source.wait(HEARD, loaded)
    assert clock.stop() < HEARD
    timer.join()


def test_a_change_before_the_wait_is_heard(source: ChangeSource, loaded: Mark, sql: Callable[..., object]) -> None:
    sql("UPDATE system_settings SET is_maintain = true")
    assert source.wait(HEARD, loaded)


def test_nothing_is_told_where_nothing_changes(source: ChangeSource, loaded: Mark) -> None:
    assert not source.wait(0.3, loaded)


def test_a_wake_ends_the_wait(source: ChangeSource, loaded: Mark, wake: Wake) -> None:
    threading.Timer(0.1, wake.set).start()
    clock = Clock()
    assert not source.wait(60, loaded)
    assert clock.stop() < HEARD


def test_a_wake_is_set_by_many_threads_at_once_and_again() -> None:
    for _ in range(50):
        wake = Wake()
        threads = [threading.Thread(target=wake.set) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert not wake.wait(HEARD)
        for thread in threads:
            thread.join()
        wake.set()
        wake.close()
        wake.set()


@pytest.mark.parametrize("payload", ["", "²", "not a version", "9" * 5000, "-1", "99999999999999999999"])
def test_a_strange_notification_asks_for_a_reading_and_does_no_harm(
    postgresql_url: str, wake: Wake, payload: str
) -> None:
    with closing(listener_on(postgresql_url, wake)) as listener, engine_of(postgresql_url) as (engine, _):
        loaded = read_mark(engine)
        execute(postgresql_url, f"NOTIFY dop_be, '{payload}'")
        assert listener.wait(HEARD, loaded)
        assert not listener.wait(0.1, loaded)


def test_the_self_test_of_another_worker_is_no_change(postgresql_url: str, wake: Wake) -> None:
    with closing(listener_on(postgresql_url, wake)) as listener, engine_of(postgresql_url) as (engine, _):
        loaded = read_mark(engine)
        with closing(listener_on(postgresql_url, wake)) as other:
            assert other.hears(engine)
        assert not listener.wait(0.2, loaded)


def test_a_storm_of_notifications_is_one_change(postgresql_url: str, wake: Wake) -> None:
    with closing(listener_on(postgresql_url, wake)) as listener, engine_of(postgresql_url) as (engine, _):
        flips = ["UPDATE system_settings SET is_maintain = NOT is_maintain"] * 200
        execute(postgresql_url, *flips)
        assert listener.wait(HEARD, Mark(1, "x", 1, None))
        # All have arrived by now, in one or a few batches; the state read after the first is the newest one.
        loaded = read_mark(engine)
        assert [listener.wait(0.1, loaded) for _ in range(3)] == [False] * 3


def test_what_arrives_with_an_answer_is_not_left_until_the_next_poll(postgresql_url: str, wake: Wake) -> None:
    """A notification that comes with the answer to the listener's own question makes the socket readable no more."""
    with closing(listener_on(postgresql_url, wake)) as listener, engine_of(postgresql_url) as (engine, _):
        loaded = read_mark(engine)
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
        listener._execute("SELECT pg_sleep(0.1)")  # its answer brings the notification along
        assert listener._connection.notifies
        clock = Clock()
        assert listener.wait(60, loaded)
        assert clock.stop() < HEARD


def test_a_terminated_listener_is_an_error_at_once(postgresql_url: str, wake: Wake) -> None:
    with closing(listener_on(postgresql_url, wake)) as listener:
        execute(
            postgresql_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'dop_be listener' AND datname = current_database()",
        )
        clock = Clock()
        with pytest.raises(ERRORS):
            listener.wait(60, Mark(1, "x", 1, None))
        assert clock.stop() < HEARD


def test_a_frozen_server_is_an_error_soon(breakable_url: str, cluster: Cluster, wake: Wake) -> None:
    with closing(listener_on(breakable_url, wake)) as listener:
        cluster.freeze()
        clock = Clock()
        with pytest.raises(ERRORS):
            listener.wait(0.1, None)
        with pytest.raises(ERRORS):
            listener_on(breakable_url, wake)
        assert clock.stop() < 2 * HEARD


def test_a_transaction_pooler_is_noticed_and_polled(
    postgresql_url: str, wake: Wake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pgbouncer(postgresql_url) as pooled, engine_of(pooled) as (engine, url):
        monkeypatch.setattr(sources, "RETRY_DEAF", 0.0)
        with closing(open_source(engine, url, wake)) as source:
            assert isinstance(source, Poll)
            assert "pooler" in source.reason
            with pytest.raises(Reopen):
                source.wait(0.1, read_mark(engine))
        monkeypatch.setattr(sources, "RETRY_DEAF", 300.0)
        with closing(open_source(engine, url, wake)) as source:
            loaded = read_mark(engine)
            assert not source.wait(0.3, loaded)
            execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
            assert source.wait(HEARD, loaded)


def test_a_direct_connection_beside_a_transaction_pooler_listens(postgresql_url: str, wake: Wake) -> None:
    with (
        pgbouncer(postgresql_url) as pooled,
        engine_of(pooled) as (engine, _),
        closing(open_source(engine, make_url(postgresql_url), wake)) as source,
    ):
        assert isinstance(source, Listener)


def test_where_only_listening_fails_the_database_is_polled(postgresql_url: str, wake: Wake) -> None:
    with (
        engine_of(postgresql_url) as (engine, url),
        closing(open_source(engine, url.set(database="no_such_database"), wake)) as source,
    ):
        assert isinstance(source, Poll)
        assert "no_such_database" in source.reason
        loaded = read_mark(engine)
        assert not source.wait(0.3, loaded)
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
        assert source.wait(HEARD, loaded)


def test_where_the_database_is_gone_no_source_opens(wake: Wake) -> None:
    nowhere = make_url("postgresql+psycopg2://postgres@127.0.0.1:1/none")
    engine = create_engine(nowhere)
    with pytest.raises(ERRORS):
        open_source(engine, nowhere, wake)
    engine.dispose()


def test_a_thousand_reconnects_leave_no_descriptor(postgresql_url: str, wake: Wake) -> None:
    nowhere = {"dsn": "postgresql://postgres@127.0.0.1:1/none"}
    with engine_of(postgresql_url) as (engine, url):
        with closing(open_source(engine, url, wake)):
            before = open_descriptors()
        for _ in range(100):
            open_source(engine, url, wake).close()
        for _ in range(300):
            listener_on(postgresql_url, wake).close()
        for _ in range(600):
            with pytest.raises(psycopg2.Error):
                Listener(nowhere, wake)
        with closing(open_source(engine, url, wake)):
            assert open_descriptors() == before


def test_a_replaced_file_has_to_be_opened_again(sqlite_url: str, tmp_path: Path, wake: Wake) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(SQLiteFile(str(path), wake)) as source:
        Path(shutil.copy(path, tmp_path / "backup")).replace(path)
        with pytest.raises(Reopen):
            source.wait(HEARD, None)


def test_a_file_overwritten_in_place_is_a_change(sqlite_url: str, tmp_path: Path, wake: Wake) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    shutil.copy(path, tmp_path / "backup")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE system_settings SET is_maintain = true")
    with closing(SQLiteFile(str(path), wake)) as source:
        shutil.copy(tmp_path / "backup", path)
        assert source.wait(HEARD, None)


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path, wake: Wake) -> None:
    before = open_descriptors()
    with pytest.raises(ERRORS):
        SQLiteFile(str(tmp_path / "missing"), wake)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "nonsense").write_bytes(b"this is no database" * 100)
    with pytest.raises(ERRORS):
        SQLiteFile(str(tmp_path / "nonsense"), wake)
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["with space", "percent%20", "question?mark", "hash#"])
def test_a_file_may_have_any_name(sqlite_url: str, tmp_path: Path, wake: Wake, name: str) -> None:
    path = shutil.copy(sqlite_url.removeprefix("sqlite:///"), tmp_path / name)
    SQLiteFile(str(path), wake).close()


def test_a_reserved_lock_hinders_no_reader_and_an_exclusive_one_is_an_error(sqlite_url: str, wake: Wake) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer, closing(SQLiteFile(path, wake)) as source:
        writer.execute("BEGIN IMMEDIATE")
        assert not source.wait(0.2, None)
        writer.execute("COMMIT")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ERRORS):
            source.wait(HEARD, None)


def test_polling_is_paused_between_questions(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[float] = []

    def ask(engine: object) -> None:
        questions.append(time.monotonic())

    monkeypatch.setattr(sources, "read_mark", ask)
    assert not Poll(SimpleNamespace(), wake, 300, "a test").wait(1.0, None)  # type: ignore[arg-type]
    assert 1 <= len(questions) <= 1.0 / sources.POLL_SECONDS + 1
