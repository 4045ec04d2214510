"""The checker tolerates what was never promised, and loses nothing else by that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from .breaks import (
    PASSED,
    REFUSED,
    UNKNOWN,
    Break,
    add_fault,
    add_read,
    add_row,
    add_write,
    all_of,
    change_epoch,
    change_lines,
    change_read,
    change_write,
    forget_reads,
    remove_rows,
    set_in_rows,
    settings,
    start,
    write,
)
from .checker import check, summary
from .checker.disturbances import Clock
from .record import Epoch, Fault, History, Stall
from .story import AD_HOC, at, iso, right


def stall(begin: float, end: float) -> Break:
    return lambda history: history.stalls.append(Stall(at(begin), at(end)))


STALE = all_of(forget_reads(30, 35, 22), add_read(22, "settings", 36, **settings(9)))
TOLERATED: dict[str, Break] = {
    "nobody knew of an unknown write": remove_rows("w-20"),
    "a worker that starts does not know the state": all_of(start, add_read(31, "settings", 33, **UNKNOWN)),
    "a worker that starts has an older state": all_of(start, add_read(31, "settings", 36, **settings(9))),
    "no answer while the worker is stopped": all_of(
        change_read(12, "settings", 9, status=None, answer={}),
        lambda history: history.faults.insert(0, Fault("stopped", "worker 12", at(8), at(10))),
    ),
    "no answer just after the host was killed": all_of(
        change_read(12, "settings", 9, status=None, answer={}), add_fault("host A", 2, 5)
    ),
    "a late answer of a worker that was stopped": all_of(
        change_read(12, "settings", 8.5, received=at(14.6)), add_fault("worker 12", 9, 13)
    ),
    "a worker that starts without the database": all_of(
        start, add_read(31, "settings", 40, **UNKNOWN), add_fault("network A", 31, 40)
    ),
    "an older state within five seconds": add_read(22, "gate", 3.5, method="POST", **PASSED),
    "an older state after a fault": all_of(STALE, add_fault("network B", 29, 33)),
    "an older state after faults that follow each other": all_of(
        STALE,
        lambda history: history.faults.insert(1, Fault("cut", "host B", at(29), at(30.5))),
        lambda history: history.faults.insert(2, Fault("cut", "worker 22", at(34), at(34.5))),
    ),
    "an older state after a fault and a stall": all_of(
        STALE, stall(31, 31.6), lambda history: history.faults.insert(1, Fault("cut", "host B", at(29), at(30.5)))
    ),
    "an older state after a stall": all_of(STALE, stall(31, 33)),
    "the proxy keeps a verdict": add_read(0, "settings", 36.6, **settings(9)),
    "switched on for some seconds": change_write("w-17", asked={"ends_at": True}),
    "the proxy asks a worker that has not heard yet": add_read(0, "platform", 5.4, **REFUSED),
    "the proxy keeps a verdict while a host is down": all_of(
        add_read(0, "platform", 8.2, **REFUSED), add_fault("host A", 7, 8.1)
    ),
    "the proxy keeps a verdict from before a window opened": add_read(0, "platform", 11.5, method="POST", **PASSED),
    "the proxy keeps a verdict from before a disturbance": all_of(
        add_read(0, "platform", 12.82, method="POST", **PASSED),
        lambda history: history.faults.insert(0, Fault("cut", "proxy", at(11), at(14))),
    ),
    "the proxy has no verdict while a worker is stopped": all_of(
        change_read(0, "platform", 9, status=502, answer={}),
        lambda history: history.faults.insert(0, Fault("stopped", "worker 12", at(8), at(10))),
    ),
    "a bypass that ends refuses a bit early": all_of(
        set_in_rows("w-6", changes={"scopes": {"to": "maintenance:bypass"}, "expires_at": {"to": iso(12)}}),
        add_read(11, "gate", 11.3, method="POST", bypass="guest", **REFUSED),
    ),
    "a bypass that ends passes a bit late": all_of(
        set_in_rows("w-6", changes={"scopes": {"to": "maintenance:bypass"}, "expires_at": {"to": iso(12)}}),
        add_read(11, "gate", 12.7, method="POST", bypass="guest", **PASSED),
    ),
    "a window opens a bit early": add_read(11, "gate", 8.6, method="POST", **REFUSED),
    "a window closes a bit late": add_read(11, "gate", 14.5, method="POST", **REFUSED),
    "acknowledged while the copy came, and in one of both": all_of(
        add_write("cancel", 40.5), add_row("w-23", "w-99", 0)
    ),
    "written by a token whose revocation was lost": all_of(
        remove_rows("w-11", 1),
        change_epoch(1, kept=at(8.9)),
        add_write("cancel", 45.2, token="robot"),
        add_row("w-24", "w-99", 1),
    ),
    "written by a token that was made anew": all_of(
        add_write("create_token", 9.2, asked={"token": "robot"}, id="w-98"),
        add_row(
            "w-11", "w-98", kind="token", key="robot", action="insert", changes={"scopes": {"to": "settings:write"}}
        ),
        add_write("patch", 9.8, token="robot", asked={"values": {"limit": 9}}),
    ),
    "written by a token, and nobody was told that it is revoked": all_of(
        change_write("w-11", outcome="unknown"),
        add_write("patch", 9.8, token="robot", asked={"values": {"limit": 9}}),
    ),
    "an unknown write that was lost": remove_rows("w-20", 1),
    "an unknown write that was carried out late": all_of(
        add_write("cancel", 29, outcome="unknown"), add_row("w-22", "w-99")
    ),
    "written by hand": add_row("w-22", "nightly cleaning"),
    "the log said a bit before why it went back": change_lines(at=at(35.2)),
    "the proxy asks now this worker, now that": all_of(
        add_read(0, "settings", 36.6, **settings(12)), add_read(0, "settings", 36.8, **settings(11))
    ),
    "nothing to patch": add_write("patch", 31, asked={"values": {"limit": 12}, "if_match": 11}),
    "on already": add_write("switch", 2.6, asked={"active": True}),
    "on already until then": add_write("switch", 16.6, asked={"active": True, "ends_at": at(19)}),
    "off already": add_write("switch", 32, asked={"active": False}),
    "no window any more": add_write("cancel", 32, asked={"window": AD_HOC}),
    "revoked already": add_write("revoke_token", 32, asked={"token": "robot"}),
    "restored already": add_write("restore", 32, asked={"revision": 11}),
    "nothing to undo": add_write("undo", 32, asked={"revision": 3}),
}


@pytest.mark.parametrize("unusual", TOLERATED.values(), ids=TOLERATED.keys())
def test_what_was_never_promised_is_tolerated(unusual: Break) -> None:
    history = right()
    unusual(history)
    assert check(history) == []


@pytest.mark.parametrize(
    ("moment", "seconds", "earlier", "later"),
    [
        pytest.param(100, 5, 95, 105, id="no stall near"),
        pytest.param(14, 5, 7, 19, id="a stall before"),
        pytest.param(8, 5, 3, 15, id="a stall after"),
        pytest.param(11, 5, 5, 17, id="within a stall"),
        pytest.param(32, 7, 19, 39, id="two stalls before"),
        pytest.param(19, 5, 14, 30, id="two stalls after"),
    ],
)
def test_stalls_are_nobodys_time(moment: float, seconds: float, earlier: float, later: float) -> None:
    clock = Clock([Stall(10, 12), Stall(20, 22), Stall(24, 28)])
    assert (clock.earlier(moment, seconds), clock.later(moment, seconds)) == (earlier, later)


def test_what_a_backup_lost_is_counted() -> None:
    assert summary(right())["lost_with_the_old_database"] == 1


@pytest.mark.parametrize(
    ("sent", "kept", "lossless", "has", "right_so"),
    [
        pytest.param(5, (10, 25), (False, False), {0, 1, 2}, True, id="everywhere"),
        pytest.param(5, (10, 4), (False, False), {0, 1}, True, id="lost by the second copy"),
        pytest.param(5, (4, 25), (False, True), {0}, True, id="lost by the first copy, and so by the second"),
        pytest.param(5, (10, 6), (False, False), {0, 1}, False, id="lost by a second copy that was made later"),
        pytest.param(5, (10, 4), (False, True), {0, 1}, False, id="lost by a second copy that loses nothing"),
        pytest.param(15, (10, 25), (False, False), {0}, True, id="after the backup"),
        pytest.param(15, (10, 25), (True, False), {0}, False, id="after what the copy had for sure, and it has all"),
        pytest.param(20.2, (10, 25), (False, False), {0}, True, id="the old one acknowledged it"),
        pytest.param(20.2, (10, 25), (False, False), {1}, True, id="the new one acknowledged it"),
        pytest.param(20.2, (10, 25), (False, True), {0}, True, id="the old one did, which a later copy cannot know"),
        pytest.param(20.2, (10, 25), (True, False), {0}, False, id="the old one did, and the new one loses nothing"),
        pytest.param(23, (10, 25), (False, False), {1, 2}, True, id="by the first copy"),
        pytest.param(23, (10, 25), (False, False), {1}, False, id="by the first copy, and lost"),
        pytest.param(23, (10, 25), (False, False), {2}, False, id="by the first copy, which has it not"),
    ],
)
def test_a_copy_has_what_was_acknowledged_before_it_was_made(
    sent: float, kept: tuple[float, float], lossless: tuple[bool, bool], has: set[int], right_so: bool
) -> None:
    begins = {1: 20.0, 2: 30.0}
    told = right()
    [first], row = told.epochs[0].changes[:1], next(row for row in told.epochs[0].changes if row["reason"] == "w-14")
    short = History(told.run, writes=[replace(write(told, "w-14"), sent=sent, received=sent + 0.3)])
    short.epochs.append(Epoch(0, "the first", 0, 0, 0, lossless=True, changes=[first, *[row] * (0 in has)]))
    for number, begin in begins.items():
        changes = [first, *[row] * (number in has)]
        facts: dict[str, Any] = {"kept": kept[number - 1], "lossless": lossless[number - 1], "changes": changes}
        short.epochs.append(Epoch(number, "a copy", begin, begin + 1, **facts))
    assert (check(short) == []) is right_so
