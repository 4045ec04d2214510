"""How a watcher hears of changes: a source reports every change, survives nonsense, and leaves nothing open."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL, make_url

from dop_be import postgresql
from dop_be.database import reading
from dop_be.engines import watching_engine
from dop_be.live import listener
from dop_be.live.listener import Listener, open_source
from dop_be.live.loader import read_mark
from dop_be.live.pooled import find_out_through
from dop_be.live.snapshot import Mark
from dop_be.live.sources import ERRORS, POLL_SECONDS, ChangeSource, Reopen, SQLiteFile, Wake

from .. import shared
from ..clock import Clock
from ..pgbouncer import pgbouncer
from ..postgres import Cluster, execute

pytestmark = pytest.mark.limits
HEARD = 5.0  # seconds, far more than any source takes


def engine_of(url: str) -> Engine:
    """An engine for a watcher's own connection; it keeps none."""
    parsed = make_url(url)
    on_postgresql = parsed.get_backend_name() == "postgresql"
    return watching_engine(parsed.set(drivername=postgresql.NAME) if on_postgresql else parsed, 5)


def mark_of(url: str) -> Mark | None:
    with reading(engine_of(url)) as connection:
        return read_mark(connection)[0]


def open_on(url: str, wake: Wake) -> ChangeSource:
    return open_source(engine_of(url), engine_of(url), None, wake)


@contextmanager
def listening(url: str, wake: Wake) -> Iterator[Listener]:
    engine = engine_of(url)
    with closing(Listener.open(engine, wake, engine)) as source:
        assert source.deaf is None
        yield source


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


@pytest.fixture
def source(database_url: str, wake: Wake) -> Iterator[ChangeSource]:
    with closing(open_on(database_url, wake)) as source:
        yield source


@pytest.fixture
def loaded(database_url: str) -> Mark:
    mark = mark_of(database_url)
    assert mark is not None
    return mark


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
    loaded = mark_of(postgresql_url)
    with listening(postgresql_url, wake) as source:
        execute(postgresql_url, f"NOTIFY dop_be, '{payload}'")
        assert source.wait(HEARD, loaded)
        assert not source.wait(0.1, loaded)


def test_a_storm_of_notifications_is_one_change(postgresql_url: str, wake: Wake) -> None:
    with listening(postgresql_url, wake) as source:
        flips = ["UPDATE system_settings SET is_maintain = NOT is_maintain"] * 200
        execute(postgresql_url, *flips)
        assert source.wait(HEARD, Mark(1, "x", 1, None))
        # All have arrived by now, in one or a few batches; the state read after the first is the newest one.
        loaded = mark_of(postgresql_url)
        assert [source.wait(0.1, loaded) for _ in range(3)] == [False] * 3


def test_what_arrives_with_an_answer_is_not_left_until_the_next_poll(postgresql_url: str, wake: Wake) -> None:
    """A notification that comes with the answer to the listener's own question makes the socket readable no more."""
    with listening(postgresql_url, wake) as source:
        loaded = mark_of(postgresql_url)
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
        assert source.connection is not None
        source.connection.execute(text("SELECT pg_sleep(0.1)"))  # its answer brings the notification along
        assert source._driver.notifies
        clock = Clock()
        assert source.wait(60, loaded)
        assert clock.stop() < HEARD


def test_a_terminated_listener_is_an_error_at_once(postgresql_url: str, wake: Wake) -> None:
    with listening(postgresql_url, wake) as source:
        execute(
            postgresql_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'dop_be listener' AND datname = current_database()",
        )
        clock = Clock()
        with pytest.raises(ERRORS):
            source.wait(60, Mark(1, "x", 1, None))
        assert clock.stop() < HEARD


def test_a_frozen_server_is_an_error_soon(breakable_url: str, cluster: Cluster, wake: Wake) -> None:
    with listening(breakable_url, wake) as source:
        cluster.freeze()
        clock = Clock()
        with pytest.raises(ERRORS):
            source.wait(0.1, None)
        with pytest.raises(ERRORS):
            open_on(breakable_url, wake)
        assert clock.stop() < 2 * HEARD


def test_a_transaction_pooler_is_noticed_and_polled(
    postgresql_url: str, wake: Wake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pgbouncer(postgresql_url) as pooled:
        monkeypatch.setattr(listener, "RETRY_LISTEN", 0.0)
        with closing(open_on(pooled, wake)) as source:
            assert source.deaf == listener.DEAF
            with pytest.raises(Reopen):
                source.wait(0.1, mark_of(pooled))
        monkeypatch.setattr(listener, "RETRY_LISTEN", 300.0)
        with closing(open_on(pooled, wake)) as source:
            loaded = mark_of(pooled)
            assert not source.wait(0.3, loaded)
            execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
            assert source.wait(HEARD, loaded)


def test_whether_a_pooler_is_between_is_found_out_without_telling_other_workers(
    postgresql_url: str, wake: Wake
) -> None:
    with pgbouncer(postgresql_url) as pooled, listening(postgresql_url, wake) as source:
        open_on(pooled, wake).close()
        open_on(postgresql_url, wake).close()
        assert source._notifications(0.5) == []


def test_a_direct_connection_beside_a_transaction_pooler_listens(postgresql_url: str, wake: Wake) -> None:
    with pgbouncer(postgresql_url) as pooled:
        pool = engine_of(pooled)
        with closing(open_source(pool, engine_of(postgresql_url), pool, wake)) as source:
            assert source.deaf is None
            assert source.server is not None


def test_where_only_listening_fails_the_database_is_polled(postgresql_url: str, wake: Wake) -> None:
    pool, elsewhere = engine_of(postgresql_url), make_url(postgresql_url).set(database="no_such_database")
    watching = engine_of(elsewhere.render_as_string(hide_password=False))
    with closing(open_source(pool, watching, pool, wake)) as source:
        assert source.deaf is not None
        assert "no_such_database" in source.deaf
        loaded = mark_of(postgresql_url)
        assert not source.wait(0.3, loaded)
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
        assert source.wait(HEARD, loaded)


def test_another_database_is_not_listened_to(
    postgresql_url: str, empty_postgresql: Callable[..., str], migrated_postgresql: str, wake: Wake
) -> None:
    """Its changes are not ours, and what it says is not our state."""
    another = empty_postgresql(migrated_postgresql)
    pool = engine_of(postgresql_url)
    with closing(open_source(pool, engine_of(another), pool, wake)) as source:
        assert source.deaf == "LISTEN_DATABASE_URL is another database"
        assert source.server is not None
        assert source.server.is_same_database(find_out_through(pool))
    shared.drop(make_url(another).database)


def test_where_the_database_is_gone_no_source_opens(wake: Wake) -> None:
    with pytest.raises(ERRORS):
        open_on("postgresql://postgres@127.0.0.1:1/none", wake)


def test_a_thousand_reconnects_leave_no_descriptor(postgresql_url: str, wake: Wake) -> None:
    open_on(postgresql_url, wake).close()
    before = open_descriptors()
    for _ in range(400):
        open_on(postgresql_url, wake).close()
    for _ in range(600):
        with pytest.raises(ERRORS):
            open_on("postgresql://postgres@127.0.0.1:1/none", wake)
    assert open_descriptors() == before


def test_a_replaced_file_has_to_be_opened_again(sqlite_url: str, tmp_path: Path, wake: Wake) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(SQLiteFile(engine_of(f"sqlite:///{path}"), wake)) as source:
        Path(shutil.copy(path, tmp_path / "backup")).replace(path)
        with pytest.raises(Reopen):
            source.wait(HEARD, None)


def test_a_file_overwritten_in_place_is_a_change(sqlite_url: str, tmp_path: Path, wake: Wake) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    shutil.copy(path, tmp_path / "backup")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE system_settings SET is_maintain = true")
    with closing(SQLiteFile(engine_of(f"sqlite:///{path}"), wake)) as source:
        shutil.copy(tmp_path / "backup", path)
        assert source.wait(HEARD, None)


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path, wake: Wake) -> None:
    before = open_descriptors()
    with pytest.raises(ERRORS):
        SQLiteFile(engine_of(f"sqlite:///{tmp_path}/missing"), wake)
    assert not (tmp_path / "missing").exists()
    (tmp_path / "nonsense").write_bytes(b"this is no database" * 100)
    with pytest.raises(ERRORS):
        SQLiteFile(engine_of(f"sqlite:///{tmp_path}/nonsense"), wake)
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["with space", "percent%20", "question?mark", "hash#"])
def test_a_file_may_have_any_name(sqlite_url: str, tmp_path: Path, wake: Wake, name: str) -> None:
    path = shutil.copy(sqlite_url.removeprefix("sqlite:///"), tmp_path / name)
    SQLiteFile(watching_engine(URL.create("sqlite", database=str(path)), 5), wake).close()


def test_a_reserved_lock_hinders_no_reader_and_an_exclusive_one_is_an_error(sqlite_url: str, wake: Wake) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as writer,
        closing(SQLiteFile(engine_of(sqlite_url), wake)) as source,
    ):
        writer.execute("BEGIN IMMEDIATE")
        assert not source.wait(0.2, None)
        writer.execute("COMMIT")
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ERRORS):
            source.wait(HEARD, None)


def test_polling_is_paused_between_questions(postgresql_url: str, wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[float] = []

    def ask(_connection: object) -> tuple[None, None]:
        questions.append(time.monotonic())
        return None, None

    engine = engine_of(postgresql_url)
    with closing(Listener.open(engine, wake, engine, ("a test", 300.0))) as source:
        monkeypatch.setattr(listener, "read_mark", ask)
        assert not source.wait(1.0, None)
    assert 1 <= len(questions) <= 1.0 / POLL_SECONDS + 1


def test_a_silent_database_url_keeps_nobody_from_listening(postgresql_url: str, wake: Wake) -> None:
    nowhere = engine_of("postgresql://postgres@127.0.0.1:1/none")
    with closing(open_source(nowhere, engine_of(postgresql_url), nowhere, wake)) as source:
        assert source.deaf is None
        loaded = mark_of(postgresql_url)
        execute(postgresql_url, "UPDATE system_settings SET is_maintain = true")
        assert source.wait(HEARD, loaded)
