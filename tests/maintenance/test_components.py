"""What is in force for a component: its own switch and windows, and the platform's; a pure function of both."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dop_be.maintenance.schedule import Window
from dop_be.maintenance.timeline import Phase, Timeline

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OFF: dict[str, Any] = {
    "is_maintain": False,
    "maintenance_mode": "full",
    "maintenance_message": None,
    "maintenance_since": None,
}


def switched(mode: str, message: str, hours: float) -> dict[str, Any]:
    """A switch that is on since so many hours before noon."""
    since = NOON - hours * HOUR
    return {"is_maintain": True, "maintenance_mode": mode, "maintenance_message": message, "maintenance_since": since}


def window(start: float, end: float, component: str | None, mode: str = "full", message: str | None = None) -> Window:
    """One from `start` to `end`, in hours from noon."""
    return Window(uuid.uuid4(), NOON + start * HOUR, NOON + end * HOUR, mode, message, component=component)


def timeline(*windows: Window, platform: dict[str, Any] = OFF, **components: dict[str, Any]) -> Timeline:
    rows = {name: {"name": name, "title": None, **OFF, **row} for name, row in components.items()}
    return Timeline({**platform, "revision": 7}, windows, rows)


def told(phase: Phase) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(phase.document.body)
    return body


def facts(phase: Phase) -> tuple[Any, ...]:
    """Mode, message, source, and since and until in hours from noon."""
    now = phase.maintenance
    hours = [moment and (moment - NOON) / HOUR for moment in (now.since, now.until)]
    return (now.active, now.mode, now.message, now.source, *hours)


def at(hours: float) -> float:
    return (NOON + hours * HOUR).timestamp()


def test_a_closed_component_closes_nothing_else() -> None:
    found = timeline(billing=switched("full", "paying", 1), search={})
    assert facts(found.of("billing", at(0))) == (True, "full", "paying", "switch", -1, None)
    assert not found.of("search", at(0)).maintenance.active
    assert not found.at(at(0)).maintenance.active
    assert told(found.at(at(0)))["components"] == ["billing"]
    assert told(found.of("billing", at(0)))["platform"] is False


def test_a_closed_platform_closes_every_component() -> None:
    found = timeline(platform=switched("full", "all", 2), billing={})
    assert facts(found.of("billing", at(0))) == (True, "full", "all", "switch", -2, None)
    assert told(found.of("billing", at(0)))["platform"] is True
    assert told(found.at(at(0)))["components"] == []


@pytest.mark.parametrize(
    ("platform", "own", "expected"),
    [
        (switched("read_only", "all", 2), switched("full", "own", 1), ("full", "own")),
        (switched("full", "all", 2), switched("read_only", "own", 1), ("full", "all")),
        (switched("full", "all", 1), switched("full", "own", 2), ("full", "all")),
    ],
)
def test_the_stricter_of_platform_and_component_wins_with_its_message(
    platform: dict[str, Any], own: dict[str, Any], expected: tuple[str, str]
) -> None:
    found = timeline(platform=platform, billing=own).of("billing", at(0))
    assert facts(found) == (True, *expected, "switch", -2, None)


def test_until_is_the_end_of_the_union() -> None:
    windows = window(-1, 1, "billing", "read_only", "own"), window(0.5, 3, None, "full", "all"), window(2, 9, "search")
    found = timeline(*windows, billing={}, search={})
    assert facts(found.of("billing", at(0))) == (True, "read_only", "own", "window", -1, 3)
    assert facts(found.of("billing", at(0.7))) == (True, "full", "all", "window", -1, 3)
    assert facts(found.at(at(0.7))) == (True, "full", "all", "window", 0.5, 3)


def test_a_window_of_a_component_opens_and_closes_in_the_platforms_list() -> None:
    found = timeline(window(1, 2, "billing"), billing={})
    lists = {hours: told(found.at(at(hours)))["components"] for hours in (0, 1, 1.99, 2)}
    assert lists == {0: [], 1: ["billing"], 1.99: ["billing"], 2: []}
    assert told(found.at(at(0)))["next"] is None
    assert told(found.of("billing", at(0)))["next"]["component"] == "billing"


def test_next_is_the_platforms_too_for_a_component() -> None:
    found = timeline(window(1, 2, None), window(3, 4, "billing"), billing={})
    assert told(found.of("billing", at(0)))["next"]["component"] is None
    assert told(found.of("billing", at(2)))["next"]["component"] == "billing"


def test_a_name_that_nobody_has_is_answered_for_the_platform() -> None:
    found = timeline(platform=switched("full", "all", 2), billing={})
    assert found.of("nobody", at(0)) is found.at(at(0))


def test_the_tag_of_a_component_tells_what_is_in_force_and_not_what_comes_next() -> None:
    tags = [
        timeline(*windows, billing={}).of("billing", at(0)).document.etag
        for windows in ([], [window(1, 2, "billing")], [window(-1, 2, "billing")])
    ]
    assert tags[0] == tags[1] != tags[2]


def test_the_list_has_every_component_and_follows_the_time() -> None:
    found = timeline(window(1, 2, "billing"), billing={"title": "Payments"}, search=switched("read_only", "moving", 1))
    listed = {hours: json.loads(found.listed(at(hours)).body)["components"] for hours in (0, 1)}
    assert [(each["name"], each["title"]) for each in listed[0]] == [("billing", "Payments"), ("search", "search")]
    assert {hours: [each["maintenance"]["active"] for each in listed[hours]] for hours in listed} == {
        0: [False, True],
        1: [True, True],
    }
