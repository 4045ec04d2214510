"""The file of the last state: what is read is what was written, or nothing."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import BigInteger, Boolean, Date, Float, String, Uuid

from dop_be.access import service as access
from dop_be.columns import ExactNumeric, UtcDateTime, enumeration, from_json
from dop_be.database import Author
from dop_be.live import Live, last_state
from dop_be.live.clock import boot, steady
from dop_be.live.keeper import Keeper
from dop_be.live.last_state import About, Identity, Unusable
from dop_be.live.snapshot import Mark, Snapshot
from dop_be.live.state_file import StateFile
from dop_be.maintenance import service as maintenance

from ..clock import eventually
from ..processes import ROOT
from ..shared import snapshot_of

BY = Author("tester", "cli")
DATABASE = "db.example:5432/app"
DAY = 86_400.0
HEAD = (ROOT / "migrations" / "head.txt").read_text().strip()
MARK = {"version": 1, "alembic_revision": HEAD, "revision": 1, "row": None}
HERE = Identity("7712132657629265459", 2)


@pytest.fixture
def token(app: Flask) -> str:
    """The text of a token, beside a bypass and two windows that the state has too."""
    with app.app_context():
        now = datetime.now(UTC)
        text, _ = access.create("reader", ["settings:write"], BY, lifetime=timedelta(days=1))
        access.create("ada", ["maintenance:bypass"], BY)
        maintenance.schedule(BY, starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2), message="é\n")
        weekly = {"timezone": "Europe/Berlin", "rrule": "FREQ=WEEKLY;COUNT=5"}
        maintenance.schedule(BY, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1), **weekly)
        maintenance.switch(BY, active=False)
    return text


@pytest.fixture
def snapshot(token: str, live: Live) -> Snapshot:
    return snapshot_of(live)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "folder" / "state.json", DATABASE, ROOT / "migrations", DAY)


def about(snapshot: Snapshot, ago: float = 0.0, **changes: Any) -> About:
    begun = time.time() - steady()
    return replace(About(DATABASE, snapshot.mark, HERE, time.time() - ago, 0.25, boot(), begun), **changes)


def refusal(file: StateFile) -> str:
    with pytest.raises(Unusable) as caught:
        file.read()
    return str(caught.value)


def test_what_is_read_is_what_was_written(file: StateFile, snapshot: Snapshot) -> None:
    said = about(snapshot, 5)
    assert file.read() is None
    assert file.write(snapshot, said)
    found = file.read()
    assert found
    read, kept = found
    assert kept == said
    for name in ("mark", "settings", "public", "private", "tokens", "windows", "planned"):
        assert getattr(read, name) == getattr(snapshot, name), name
    assert len(read.windows) == len(read.tokens) == 2
    assert any(window.ended_at for window in read.windows)
    for hours in (0, 1.5, 24 * 7 - 0.5):
        moment = time.time() + hours * 3600
        assert read.at(moment).document == snapshot.at(moment).document


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Boolean(), True),
        (BigInteger(), -(2**63)),
        (Float(), 0.1),
        (Float(), 1e300),
        (ExactNumeric(30, 4), Decimal("12345678901234567890123456.7800")),
        (String(5), "é\n\u2028"),
        (enumeration("tone", "calm"), "unknown to this release"),
        (Date(), date(1, 1, 2)),
        (UtcDateTime(), datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)),
        (Uuid(), UUID("5a0e11c0-ff03-4000-8000-000000000001")),
        (String(5), None),
    ],
    ids=str,
)
def test_a_value_of_every_type_comes_back_the_same(kind: Any, value: Any) -> None:
    read = from_json(kind, json.loads(json.dumps(value, default=last_state._as_json)))
    assert (read, type(read)) == (value, type(value))


def test_the_file_is_the_users_alone_and_holds_no_token(file: StateFile, snapshot: Snapshot, token: str) -> None:
    before = os.umask(0)
    try:
        file.write(snapshot, about(snapshot))
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o600
    text = file.path.read_text()
    assert sha256(token.encode()).hexdigest() in text
    assert token not in text
    assert token.rpartition("_")[2] not in text
    assert [path.name for path in file.path.parent.iterdir()] == ["state.json"]


class TestRefused:
    """Never half believed."""

    @pytest.fixture(autouse=True)
    def written(self, file: StateFile, snapshot: Snapshot) -> None:
        file.write(snapshot, about(snapshot))

    def test_cut_off_anywhere(self, file: StateFile) -> None:
        whole = file.path.read_bytes()
        for length in (0, 1, 64, 65, 100, len(whole) // 2, len(whole) - 2, len(whole) - 1):
            file.path.write_bytes(whole[:length])
            assert refusal(file) == "is damaged"

    def test_one_bit_flipped_anywhere(self, file: StateFile) -> None:
        whole = file.path.read_bytes()
        for place in range(0, len(whole), 7):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << place % 8
            file.path.write_bytes(flipped)
            assert refusal(file) == "is damaged"

    def test_something_added(self, file: StateFile) -> None:
        file.path.write_bytes(file.path.read_bytes() + b"\n")
        assert refusal(file) == "is damaged"

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_others_may_write_it(self, file: StateFile, mode: int) -> None:
        file.path.chmod(mode)
        assert refusal(file) == "can be written by others"

    def test_another_users(self, file: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
        assert refusal(file) == "belongs to another user"

    def test_a_symbolic_link_also_to_a_good_one(self, file: StateFile) -> None:
        file.path.rename(file.path.with_name("good"))
        file.path.symlink_to("good")
        assert refusal(file) == "is a symbolic link"

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
    def test_no_file_at_all(self, file: StateFile, make: Callable[[Path], object]) -> None:
        file.path.unlink()
        make(file.path)
        assert refusal(file) == "is no file"

    def test_another_databases(self, file: StateFile) -> None:
        other = StateFile(file.path, "db.example:5432/other", ROOT / "migrations", DAY)
        assert refusal(other) == f"is of another database, {DATABASE}"

    def test_too_old(self, file: StateFile, snapshot: Snapshot) -> None:
        file.path.unlink()
        file.write(snapshot, about(snapshot, DAY - 60))
        assert file.read()
        file.path.unlink()
        file.write(snapshot, about(snapshot, DAY + 1))
        assert refusal(file) == "was last confirmed 86401 s ago, longer than STATE_MAX_AGE"

    def test_of_a_schema_that_is_behind(self, file: StateFile, snapshot: Snapshot) -> None:
        file.path.unlink()
        mark = replace(snapshot.mark, alembic_revision="4b47f7895f36")
        file.write(snapshot, about(snapshot, mark=mark))
        assert refusal(file) == (
            f"does not fit this release: the database is at 4b47f7895f36, behind this release's {HEAD}:"
            " run `flask db upgrade`"
        )

    def test_not_of_a_schema_that_is_ahead(self, file: StateFile, snapshot: Snapshot) -> None:
        file.path.unlink()
        file.write(snapshot, about(snapshot, mark=replace(snapshot.mark, alembic_revision="ffffffffffff")))
        assert file.read()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"format": 2}, "is no last state of this format"),
            ({"mark": {}}, "is no last state of this format"),
            *(
                ({"confirmed_at": wrong}, "is no last state of this format")
                for wrong in (None, "x", True, math.nan, math.inf)
            ),
            *(({"clock_offset": wrong}, "is no last state of this format") for wrong in (None, "x", 1e300)),
            *(({"mark": {**MARK, "version": wrong}}, "is no last state of this format") for wrong in ("x", 1.5, None)),
            ({"mark": {**MARK, "alembic_revision": []}}, "is no last state of this format"),
            ({"identity": {"system": "1", "timeline": "x"}}, "is no last state of this format"),
            ({"settings": {}}, "does not fit this release: KeyError: 'id'"),
            ({"windows": [{}]}, "does not fit this release: KeyError: 'id'"),
            ({"tokens": 5}, "does not fit this release: TypeError"),
        ],
        ids=str,
    )
    def test_of_another_shape(self, file: StateFile, change: dict[str, Any], said: str) -> None:
        _, *lines, _ = file.path.read_bytes().split(b"\n")
        changed = [
            {**known, **{name: change[name] for name in change if name in known}} for known in map(json.loads, lines)
        ]
        text = "".join(f"{json.dumps(line)}\n" for line in changed).encode()
        file.path.write_bytes(sha256(text).hexdigest().encode() + b"\n" + text)
        assert refusal(file).startswith(said)

    @pytest.mark.parametrize("wrong", [None, 5, "maybe", [], {}])
    @pytest.mark.parametrize("name", ["is_maintain", "maintenance_mode", "revision", "updated_at", "id"])
    def test_with_a_value_that_the_database_would_not_take(self, file: StateFile, name: str, wrong: Any) -> None:
        _, said, rows, _ = file.path.read_bytes().split(b"\n")
        changed = json.loads(rows)
        changed["settings"][name] = wrong
        text = said + b"\n" + json.dumps(changed).encode() + b"\n"
        file.path.write_bytes(sha256(text).hexdigest().encode() + b"\n" + text)
        if (name, wrong) in [("revision", 5), ("maintenance_mode", "maybe")]:
            assert file.read()
        else:
            assert refusal(file).startswith("does not fit this release: ")


class TestOrder:
    """Of several workers, instances and lives of the database the best state stays."""

    @pytest.mark.parametrize(
        ("kept", "mine", "written"),
        [
            pytest.param({"ago": 5}, {}, False, id="the same, confirmed just now"),
            pytest.param({"ago": 11}, {}, True, id="the same, confirmed a while ago"),
            pytest.param({"ago": 5}, {"version": 1}, True, id="a later version"),
            pytest.param({"ago": 1, "version": 1}, {"ago": 5}, False, id="what a frozen worker saw before"),
            pytest.param({"ago": 5, "version": 9}, {}, False, id="a lower version, of a worker that is slow"),
            pytest.param({"ago": 21, "version": 9}, {}, True, id="a lower version, of a backup"),
            pytest.param({"ago": -3600, "version": 9}, {}, True, id="one that is from the future"),
            pytest.param({"ago": 700, "version": 9}, {"timeline": -1}, True, id="a primary that is followed for long"),
            pytest.param({"ago": 21, "version": 9}, {"timeline": 1}, True, id="a promoted replica"),
            pytest.param({"ago": 21, "version": 9}, {"system": "other"}, True, id="another server in its place"),
            pytest.param({"ago": 5}, {"identity": None, "version": 1}, True, id="a server that does not say which"),
            pytest.param({"ago": 700, "database": "other"}, {}, True, id="another database's, not in use"),
        ],
    )
    def test_what_takes_the_place_of_what(
        self, file: StateFile, snapshot: Snapshot, kept: dict[str, Any], mine: dict[str, Any], written: bool
    ) -> None:
        def made(ago: float = 0.0, version: int = 0, timeline: int = 0, **changes: Any) -> About:
            mark: Mark = replace(snapshot.mark, version=snapshot.version + version)
            identity = Identity(changes.pop("system", HERE.system), HERE.timeline + timeline)
            return about(snapshot, ago, **{"mark": mark, "identity": identity, **changes})

        assert file.write(snapshot, made(**kept))
        assert file.write(snapshot, made(**mine)) is written

    def test_a_file_that_another_database_uses_is_left_alone(self, file: StateFile, snapshot: Snapshot) -> None:
        file.write(snapshot, about(snapshot, database="other"))
        with pytest.raises(Unusable, match="is in use for another database, other: give each a STATE_FILE of its own"):
            file.write(snapshot, about(snapshot))

    def test_an_old_primary_that_comes_back_leaves_it_alone(self, file: StateFile, snapshot: Snapshot) -> None:
        file.write(snapshot, about(snapshot, 5))
        with pytest.raises(
            Unusable, match="is of a later timeline than the database: it is left alone, for this may be an old primary"
        ):
            file.write(snapshot, about(snapshot, identity=replace(HERE, timeline=1)))

    @pytest.mark.parametrize("content", [b"SECRET_KEY=x\n", b"SQLite format 3\0", b"\xff" * 100])
    def test_another_programs_file_is_left_alone(self, file: StateFile, snapshot: Snapshot, content: bytes) -> None:
        file.path.parent.mkdir()
        file.path.write_bytes(content)
        with pytest.raises(Unusable, match="is another program's file: it is left alone"):
            file.write(snapshot, about(snapshot))
        assert file.path.read_bytes() == content

    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
    def test_what_is_no_file_is_left_alone(
        self, file: StateFile, snapshot: Snapshot, make: Callable[[Path], object]
    ) -> None:
        file.path.parent.mkdir()
        make(file.path)
        before = file.path.lstat()
        with pytest.raises(Unusable, match="is no file, but a link, folder or device: it is left alone"):
            file.write(snapshot, about(snapshot))
        assert file.path.lstat().st_mode == before.st_mode

    def test_a_database_that_went_back_is_told_once(
        self, file: StateFile, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
    ) -> None:
        later = replace(snapshot.mark, version=snapshot.version + 9)
        file.write(snapshot, about(snapshot, 25, mark=later))
        file.write(snapshot, about(snapshot))
        file.write(snapshot, about(snapshot, -1, mark=replace(snapshot.mark, revision=99)))
        assert [record.message for record in caplog.records if "went back" in record.message] == [
            f"the database went back from version {later.version}, which the last state had, to {snapshot.version}"
        ]

    def test_a_damaged_file_is_replaced(self, file: StateFile, snapshot: Snapshot) -> None:
        assert file.write(snapshot, about(snapshot))
        whole = file.path.read_bytes()
        for damaged in (b"", whole[:100], b"x" + whole[1:], whole.replace(b"settings", b"settinks")):
            file.path.write_bytes(damaged)
            assert file.write(snapshot, about(snapshot))
            assert file.read()


def test_the_age_is_exact_in_one_life_of_the_system_and_by_the_difference_in_another(snapshot: Snapshot) -> None:
    said = about(snapshot, 50, clock_offset=7200.0)
    assert (round(said.offset()), round(said.age())) == (0, 50)  # the clock was set right meanwhile
    behind = replace(said, begun=said.begun + 3600, confirmed_at=said.confirmed_at + 3600)
    assert (round(behind.offset()), round(behind.age())) == (3600, 50)
    for rebooted in (replace(said, boot="another"), replace(said, boot=None)):
        assert (rebooted.offset(), round(rebooted.age())) == (7200.0, 7250)


def test_what_killed_processes_left_goes_and_what_is_being_written_stays(file: StateFile) -> None:
    file.path.parent.mkdir()
    left = [
        f".state.json.{'a' * 16}.tmp",
        f".state.json.{'b' * 16}.tmp",
        "state.json.bak",
        "state.json",
        ".state.json.tmp",
    ]
    for name in left:
        path = file.path.with_name(name)
        path.touch()
        os.utime(path, (0, 0))
    file.path.with_name(left[1]).touch()
    file.tidy()
    assert {path.name for path in file.path.parent.iterdir()} == {*left[1:]}


def test_a_full_disk_keeps_no_state_that_is_wrong_by_now(file: StateFile, snapshot: Snapshot) -> None:
    file.write(snapshot, about(snapshot, 30))
    same, later = about(snapshot), about(snapshot, mark=replace(snapshot.mark, version=snapshot.version + 1))
    assert (write_on_a_full_disk(file, snapshot, same), file.path.exists()) == (True, True)
    assert (write_on_a_full_disk(file, snapshot, later), file.path.exists()) == (True, False)
    assert list(file.path.parent.iterdir()) == []


def write_on_a_full_disk(file: StateFile, snapshot: Snapshot, said: About) -> bool:
    """Whether writing fails in a process that may write 100 bytes to a file (setrlimit(2))."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads; this one only writes and ends
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            file.write(snapshot, said)
        except OSError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_disk_that_takes_nothing_costs_one_warning(
    tmp_path: Path, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("")
    path = blocked / "state.json"
    asked: list[float] = []

    def state() -> tuple[Snapshot, About]:
        asked.append(time.time())
        return snapshot, about(snapshot, mark=replace(snapshot.mark, version=len(asked)))

    keeper = Keeper(StateFile(path, DATABASE, ROOT / "migrations", DAY), state)
    keeper.start()
    for times in (1, 2, 3):
        keeper.keep()
        eventually(5, lambda times=times: len(asked) == times)
    assert [record.message for record in caplog.records if "last state" in record.message] == [
        f"the last state {path} cannot be written: [Errno 17] File exists: '{blocked}'"
    ]
    blocked.unlink()
    asked.clear()
    keeper.keep()
    eventually(5, path.exists)
    keeper.stop(5)
    assert not keeper.is_alive()
