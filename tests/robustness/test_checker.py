"""The checker finds nothing in a right history, and the broken property in each that was made wrong on purpose."""

from __future__ import annotations

import pytest

from .. import processes
from .breaks import (
    OFF,
    PASSED,
    REFUSED,
    UNKNOWN,
    Break,
    add_fault,
    add_read,
    add_row,
    add_write,
    all_of,
    broken,
    change_epoch,
    change_lines,
    change_read,
    change_write,
    double_rows,
    forget_reads,
    forget_write,
    remove_rows,
    set_in_rows,
    settings,
    skip_a_revision,
    start,
)
from .checker import PROPERTIES, check
from .checker.logs import BROKEN
from .record import Fault, Line
from .story import LATER, PLANNED, at, iso, right

WRONG: dict[str, dict[str, tuple[Break, str]]] = {
    "compare_and_set": {
        "a revision is left out": (skip_a_revision, "w-25"),
        "another revision was restored": (change_write("w-9", asked={"revision": 5}), "w-9"),
        "another revision was undone": (change_write("w-10", asked={"revision": 5}), "w-10"),
        "a revision was restored that never was": (change_write("w-9", asked={"revision": 99}), "w-9"),
        "another revision was told": (change_write("w-8", answer={"revision": 6}), "w-8"),
        "another value was told": (change_write("w-8", answer={"is_maintain": True}), "w-8"),
        "another value was asked for": (change_write("w-8", asked={"values": {"is_maintain": True}}), "w-8"),
        "another state of the switch was told": (change_write("w-3", answer={"active": False}), "w-3"),
        "the switch was moved the other way": (
            change_write("w-3", asked={"active": False}, answer={"active": False}),
            "asked for is_maintain False",
        ),
        "another mode of the switch was asked for": (change_write("w-3", asked={"mode": "read_only"}), "read_only"),
        "another revision was expected": (change_write("w-2", asked={"if_match": 0}), "w-2"),
        "a conflict with nothing": (change_write("w-13", asked={"if_match": 7}), "w-13"),
        "a conflict with what never was": (change_write("w-13", answer={"etag_revision": 99}), "w-13"),
        "a conflict with what was long gone": (change_write("w-13", answer={"etag_revision": 5}), "w-13"),
        "answered before an earlier one was sent": (change_write("w-21", sent=at(30.2), received=at(30.3)), "w-21"),
    },
    "recorded_once": {
        "not recorded": (remove_rows("w-14"), "w-14"),
        "recorded twice": (double_rows("w-14"), "w-14"),
        "recorded again later": (add_row("w-19", "w-15", key=LATER), "w-15"),
        "an unknown one recorded twice": (double_rows("w-20"), "w-20"),
        "by somebody else": (set_in_rows("w-14", changed_by="mallory"), "mallory"),
        "refused and recorded": (change_write("w-14", outcome="refused", status=409), "w-14"),
        "lost by a backup that was made later": (remove_rows("w-7", 1), "w-7"),
        "lost by a copy that loses nothing": (change_epoch(1, lossless=True), "w-23"),
        "sent by nobody": (forget_write("w-7"), "w-7"),
        "acknowledged while the copy came, and nowhere": (add_write("plan", 40.5), "w-99"),
        "acknowledged before the copy came, and nowhere": (add_write("plan", 37), "w-99"),
        "a window of another mode": (change_write("w-5", asked={"mode": "full"}), "asked for mode"),
        "a window that ends at another time": (change_write("w-14", asked={"ends_at": at(250)}), "asked for ends_at"),
        "switched on until then, and until another time": (
            change_write("w-17", asked={"ends_at": at(25)}),
            "asked for ends_at",
        ),
        "a patch that would change something": (add_write("patch", 31, asked={"values": {"limit": 99}}), "w-99"),
        "a patch of another revision": (
            add_write("patch", 31, asked={"values": {"limit": 12}, "if_match": 3}),
            "w-99",
        ),
        "switched on where it was off": (add_write("switch", 32, asked={"active": True}), "w-99"),
        "switched off where it was on": (add_write("switch", 2.6, asked={"active": False}), "w-99"),
        "switched off where a window was open": (add_write("switch", 11, asked={"active": False}), "w-99"),
        "switched on until, where nothing is": (
            add_write("switch", 32, asked={"active": True, "ends_at": at(40)}),
            "w-99",
        ),
        "switched on until then, which another time was": (
            add_write("switch", 16.6, asked={"active": True, "ends_at": at(25)}),
            "w-99",
        ),
        "switched on until then, which only a planned window was": (
            add_write("switch", 11, asked={"active": True, "ends_at": at(13.9)}),
            "w-99",
        ),
        "a window cancelled that was there": (add_write("cancel", 8.6, asked={"window": PLANNED}), "w-99"),
        "a token revoked that was in force": (add_write("revoke_token", 8.6, asked={"token": "guest"}), "w-99"),
        "a token made": (add_write("create_token", 8.6, asked={"token": "other"}), "w-99"),
        "a restore that would change something": (add_write("restore", 32, asked={"revision": 2}), "w-99"),
        "a restore of what never was": (add_write("restore", 32, asked={"revision": 99}), "w-99"),
        "an undo that would change something": (add_write("undo", 32, asked={"revision": 11}), "w-99"),
    },
    "writes_are_taken": {
        "without an answer": (add_write("patch", 9, outcome="unknown", status=None), "w-99"),
        "with an error that says to look": (add_write("patch", 9, outcome="unknown", status=503), "w-99"),
        "with an error": (add_write("switch", 9, outcome="refused", status=503), "w-99"),
    },
    "nobody_goes_back": {
        "to an earlier revision": (change_read(11, "settings", 9, answer={"revision": 6}), "worker 11 of A"),
        "to an earlier state of one revision": (
            change_read(21, "maintenance", 16.8, answer=OFF),
            "worker 21 of B",
        ),
        "no log says why": (lambda history: history.lines.clear(), "worker 22 of B"),
        "the log of another host says why": (change_lines(host="A"), "worker 21 of B"),
        "the log says it too late": (change_lines(at=at(44.5)), "worker 11 of A"),
        "the log says it too early": (change_lines(at=at(34)), "worker 11 of A"),
        "the log says it by the way": (change_lines(level="info"), "worker 11 of A"),
        "the log says something else": (change_lines(event="the database is 10.0.0.1"), "worker 11 of A"),
    },
    "everyone_hears": {
        "too old": (all_of(forget_reads(30, 35, 22), add_read(22, "settings", 36, **settings(9))), "worker 22 of B"),
        "too old through the proxy": (add_read(0, "settings", 38, **settings(9)), "proxy"),
        "never there": (change_read(12, "settings", 9, answer={"maintenance_message": "never"}), "worker 12 of A"),
        "another type": (change_read(12, "settings", 9, answer={"is_maintain": 0}), "worker 12 of A"),
        "in force by something else": (change_read(12, "maintenance", 2.5, answer={"source": "window"}), "worker 12"),
        "another mode": (change_read(12, "maintenance", 11, answer={"mode": "full"}), "worker 12"),
        "before it was asked for": (change_read(12, "settings", 5.5, answer={"revision": 5}), "worker 12 of A"),
        "not answered": (change_read(12, "settings", 9, status=None, answer={}), "worker 12 of A"),
        "an error": (change_read(12, "maintenance", 9, status=500, answer={}), "status 500"),
        "an error while the database is frozen": (change_read(12, "settings", 21, status=500), "status 500"),
        "the state is unknown": (
            change_read(12, "settings", 9, status=503, answer={"code": "state_unknown"}),
            "state_unknown",
        ),
        "the gate does not answer": (change_read(12, "gate", 9, status=None, answer={}), "worker 12 of A"),
        "the gate does not know the state": (change_read(12, "gate", 9, status=503, answer={}), "status 503"),
        "the proxy has no verdict": (change_read(0, "platform", 9, status=502, answer={}), "proxy"),
        "a worker that starts does not answer": (
            all_of(start, add_read(31, "settings", 33, status=None)),
            "worker 31 of A",
        ),
        "another worker starts": (all_of(start, change_read(12, "settings", 34, **UNKNOWN)), "worker 12 of A"),
        "another error of a worker that starts": (
            all_of(start, add_read(31, "settings", 33, status=503, answer={"code": "internal_error"})),
            "internal_error",
        ),
        "the proxy tells something else while it is disturbed": (
            all_of(change_read(0, "platform", 42, status=404, answer={}), add_fault("proxy", 41, 43)),
            "status 404",
        ),
        "a worker tells something else through the disturbed proxy": (
            all_of(
                change_read(0, "platform", 42, status=503, answer={"code": "internal_error"}),
                add_fault("proxy", 41, 43),
            ),
            "internal_error",
        ),
        "no answer while the database is frozen": (
            change_read(12, "settings", 21, status=None, answer={}),
            "worker 12 of A",
        ),
        "no answer while the host is cut off from the database": (
            all_of(change_read(12, "gate", 9, status=None, answer={}), add_fault("network A", 8, 10)),
            "worker 12 of A",
        ),
        "the state is forgotten while the database is frozen": (
            change_read(12, "settings", 21, **UNKNOWN),
            "state_unknown",
        ),
        "the proxy has no verdict while the database is frozen": (
            change_read(0, "platform", 21, status=502, answer={}),
            "proxy",
        ),
        "an answer that takes six seconds": (change_read(12, "settings", 8.5, received=at(14.6)), "waited 6.1 s"),
        "an answer that takes six seconds of a frozen database": (
            change_read(12, "settings", 21, received=at(27.1)),
            "waited 6.1 s",
        ),
        "another worker is disturbed": (
            all_of(
                change_read(12, "settings", 9, status=None, answer={}),
                lambda history: history.faults.insert(0, Fault("stopped", "worker 11", at(8), at(10))),
                lambda history: history.faults.insert(0, Fault("stopped", "host B", at(8), at(10))),
                lambda history: history.faults.insert(0, Fault("cut", "proxy", at(8), at(10))),
            ),
            "worker 12 of A",
        ),
    },
    "nothing_passes_that_the_policy_refuses": {
        "while it is on": (change_read(11, "gate", 2.7, **PASSED), "worker 11 of A"),
        "a change while a window lets only reads pass": (
            change_read(11, "gate", 11, method="POST", **PASSED),
            "asked POST gate",
        ),
        "with a bypass that is none": (add_read(11, "gate", 11.3, method="POST", bypass="spare", **PASSED), "spare"),
        "with a bypass that nobody made": (add_read(11, "gate", 11.3, method="POST", bypass="x", **PASSED), "bypass x"),
        "with a bypass that has expired": (
            set_in_rows("w-6", changes={"scopes": {"to": "maintenance:bypass"}, "expires_at": {"to": iso(10)}}),
            "bypass guest",
        ),
        "with a bypass that was revoked": (
            all_of(
                add_row(
                    "w-7", "w-98", kind="token", key="guest", action="update", changes={"revoked_at": {"to": iso(5)}}
                ),
                add_write("revoke_token", 5.3, asked={"token": "guest"}, id="w-98"),
            ),
            "bypass guest",
        ),
        "through the proxy": (add_read(0, "platform", 12.82, method="POST", **PASSED), "proxy"),
        "through the proxy by an old verdict, though only the database is away": (
            all_of(add_read(0, "platform", 12.82, method="POST", **PASSED), add_fault("database", 12.4, 12.9)),
            "proxy",
        ),
        "through the proxy while a fault excuses nobody": (
            all_of(add_read(0, "platform", 12.82, method="POST", **PASSED), add_fault("nobody", 8, 14)),
            "proxy",
        ),
    },
    "nothing_is_refused_that_it_lets_through": {
        "while nothing is in force": (change_read(11, "gate", 9, **REFUSED), "worker 11 of A"),
        "a read while a window lets reads pass": (change_read(11, "gate", 11, **REFUSED), "worker 11 of A"),
        "before a window opens": (add_read(11, "gate", 8.2, method="POST", **REFUSED), "worker 11 of A"),
        "after a window has closed": (add_read(11, "gate", 15.05, method="POST", **REFUSED), "worker 11 of A"),
        "with 403": (change_read(11, "gate", 9, **{**REFUSED, "status": 403}), "worker 11 of A"),
        "with a bypass": (add_read(11, "gate", 11.5, method="POST", bypass="guest", **REFUSED), "guest"),
        "through the proxy": (add_read(0, "platform", 34.5, **REFUSED), "proxy"),
        "through the proxy by a state that every worker has left": (add_read(0, "platform", 8.2, **REFUSED), "proxy"),
    },
    "revoked_never_writes": {
        "acknowledged without a change": (
            add_write("patch", 9.8, token="robot", asked={"values": {"limit": 9}}),
            "w-99",
        ),
        "recorded, and nobody told": (
            all_of(add_write("cancel", 23, token="robot", outcome="unknown"), add_row("w-20", "w-99")),
            "w-99",
        ),
    },
    "all_agree_at_the_end": {
        "an earlier state": (change_read(22, "settings", 51, answer={"revision": 12}), "worker 22 of B"),
        "of what is in force": (change_read(22, "maintenance", 51, answer={"revision": 12}), "worker 22 of B"),
        "a host is not asked": (forget_reads(51, 60, 21, 22), "B was not asked"),
    },
    "own_write_is_read": {
        "the state before it": (change_read(11, "settings", 6.05, answer={"revision": 4}), "w-8"),
    },
    "nothing_breaks": {
        "an answer of 500": (change_write("w-20", status=500), "w-20"),
        "a command that ends in a traceback": (change_write("w-20", answer={"detail": f"{BROKEN}:"}), "w-20"),
        "a log with a traceback": (lambda history: history.lines.append(Line("B", at(9), "", f"{BROKEN}:")), "host B"),
    },
}


def test_a_right_history_contradicts_nothing() -> None:
    assert check(right()) == []


def test_each_property_has_histories_that_contradict_it() -> None:
    assert WRONG.keys() == PROPERTIES.keys()


def test_each_property_proves_a_documented_promise() -> None:
    rows = (processes.ROOT / "docs" / "reliability.md").read_text().splitlines()
    assert [row.rpartition("| `")[2].removesuffix("` |") for row in rows if row.endswith("` |")] == [*PROPERTIES]


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        pytest.param(name, wrong, told, id=f"{name}: {how}")
        for name, histories in WRONG.items()
        for how, (wrong, told) in histories.items()
    ],
)
def test_a_wrong_history_contradicts_one_property(name: str, wrong: Break, told: str) -> None:
    found, sentences = broken(wrong)
    assert found == {name}, sentences
    assert told in sentences
