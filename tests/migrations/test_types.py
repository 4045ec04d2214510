"""A setting of every type: its revision, made on either database, runs on both, and every value comes back the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from tests.postgres import execute

from .models import add_settings, revise, steps
from .tree import Tree


@dataclass(frozen=True)
class Kind:
    """A type of settings: its column, what it shows at first, and what it takes and refuses."""

    column: str
    default: Any
    good: list[Any]
    bad: list[Any]
    typed: dict[str, Any] = field(default_factory=dict)  # on a command line, and what that means


def integer(bits: int) -> dict[str, Any]:
    most = 2 ** (bits - 1) - 1
    return {"good": [most, -most - 1, 0], "bad": [most + 1, -most - 2, 1.0, True, "1", None], "typed": {"-7": -7}}


NOT_NUMERIC = [
    "1.234",
    "12345678901",
    1,
    1.5,
    True,
    None,
    "",
    "1e3",
    "NaN",
    "Infinity",
    "1,5",
    " 1",
    "1.",
    ".5",
    "٣",
    "--1",
]
NOT_DATES = [
    "2026-02-30",
    "0000-01-01",
    "10000-01-01",
    "20260102",
    "2026-W01-1",
    "2026-1-2",
    "2026-01-02T00:00:00Z",
    5,
    "",
]
NOT_TIMES = ["2026-01-02T00:00:00", "2026-01-02", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 5, "", None]
KINDS = {
    "flag": Kind(
        "Mapped[bool] = mapped_column(server_default=true()", True, [False, True], [1, "true", None], {"false": False}
    ),
    "loose": Kind('Mapped[bool] = mapped_column(server_default=text("1")', True, [False], [0]),
    "small": Kind('Mapped[int] = mapped_column(SmallInteger, server_default=text("5")', 5, **integer(16)),
    "whole": Kind('Mapped[int] = mapped_column(server_default=text("10")', 10, **integer(32)),
    "large": Kind('Mapped[int] = mapped_column(BigInteger, server_default="70"', 70, **integer(64)),
    "ratio": Kind(
        'Mapped[float] = mapped_column(server_default=text("0.5")',
        0.5,
        [0.1, 1.7976931348623157e308, -5e-324, 123456789.123456789, 1, 1e22],
        [True, "0.5", None, 10**400],
        {"1e-7": 1e-07, "3": 3.0},
    ),
    "price": Kind(
        'Mapped[Decimal] = mapped_column(ExactNumeric(12, 2), server_default=text("9.90")',
        "9.90",
        ["0.00", "-0.01", "9999999999.99", "-9999999999.99", "1.10"],
        NOT_NUMERIC,
        {"1.1": "1.10", "+007": "7.00", "-0.0": "0.00"},
    ),
    "exact": Kind(
        "Mapped[Decimal | None] = mapped_column(ExactNumeric(40, 20)",
        None,
        ["12345678901234567890.12345678901234567890", "0.00000000000000000001", None],
        ["123456789012345678901", "0.000000000000000000001"],
    ),
    "label": Kind(
        """Mapped[str] = mapped_column(String(20), server_default="it's: 50%\\\\\\""\n    """,
        "it's: 50%\\\"",
        ["", "🚧" * 20, "null", "a:b%s"],
        ["x" * 21, "a\0b", "\ud800", 5, None],
        {"true": "true"},
    ),
    "notes": Kind("Mapped[str | None] = mapped_column(Text", None, ["ü" * 2000, None], [5, "a\0b"], {"null": None}),
    "colour": Kind(
        """Mapped[str] = mapped_column(enumeration("colour", "red", "it's", "a:b 5%"), server_default="red\"""",
        "red",
        ["it's", "a:b 5%"],
        ["Red", "", None, 5],
        {"it's": "it's"},
    ),
    "launched_on": Kind(
        'Mapped[date] = mapped_column(server_default="2026-01-02"',
        "2026-01-02",
        ["0001-01-01", "9999-12-31"],
        NOT_DATES,
    ),
    "moment": Kind(
        "Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now()",
        ...,
        ["0001-01-02T00:00:00.000000Z", "9999-12-30T00:00:00.000000Z", "2026-01-02T03:04:05.678901Z"],
        NOT_TIMES,
        {"2026-01-02T03:04:05+05:45": "2026-01-01T21:19:05.000000Z"},
    ),
}
COLUMNS = [f'{name}: {kind.column}, doc="For a test.", info=PUBLIC)' for name, kind in KINDS.items()]
DEFAULTS = {name: kind.default for name, kind in KINDS.items() if kind.default is not ...}

# Upgrades, prints what the API and the command line answer to each change, and at the end the history.
TALK = """\
import json, sys
import flask_migrate
from wsgi import app
with app.app_context():
    flask_migrate.upgrade()
live, cli, client, answers = app.extensions["live"], app.test_cli_runner(), app.test_client(), []
admin = {"Authorization": "Bearer " + app.config["ADMIN_TOKEN"], "If-Match": "*"}
def call(method, path, body=None):
    live.refresh()
    answer = client.open("/api/v1/settings" + path, method=method, json=body, headers=admin)
    return answer.status_code, answer.get_json()
changes, words = json.load(open("changes.json"))
answers = [[*call("PATCH", "", change), call("GET", "")[1]] for change in changes]
restored = call("POST", "/restore", {"revision": 2})
told = [cli.invoke(args=["settings", "set", word]).output for word in words]
print(json.dumps({"answers": answers, "restored": restored, "told": told, "now": call("GET", "")[1],
    "history": call("GET", "/history?limit=200")[1]["changes"]}))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def tree(request: pytest.FixtureRequest, make_tree: Callable[[str], Tree]) -> Tree:
    """With a setting of every type, and its revision made on this database."""
    tree = make_tree(request.getfixturevalue(f"{request.param}_url"))
    add_settings(tree, *COLUMNS)
    text = revise(tree, "add settings").read_text()
    assert "dop_be" not in text.partition('"""\n\n')[2]
    return tree


def test_a_revision_made_on_one_database_runs_on_both(tree: Tree, sqlite_url: str, postgresql_url: str) -> None:
    for url in (sqlite_url, postgresql_url):
        show, change = "settings show --json", "settings set price=1.10 colour=it's moment=2026-01-02T03:04:05Z"
        output = steps(tree, url, "upgrade", "check", show, change, show, "downgrade", "upgrade", "check", show)
        first, before, after = (json.loads(line) for line in output.splitlines() if line.startswith('{"id"'))
        assert first | DEFAULTS == first
        assert before == after != first


def test_every_value_that_a_type_holds_comes_back_and_every_other_is_refused(
    make_tree: Callable[[str], Tree], database_url: str
) -> None:
    if database_url.startswith("postgresql"):  # at the far ends of time a zone makes years that Python does not have
        name = database_url.rpartition("/")[2]
        execute(database_url, f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    tree = make_tree(database_url)
    add_settings(tree, *COLUMNS)
    revise(tree, "add settings")
    good = [{name: value} for name, kind in KINDS.items() for value in kind.good]
    bad = [{name: value} for name, kind in KINDS.items() for value in kind.bad]
    words = [f"{name}={word}" for name, kind in KINDS.items() for word in kind.typed]
    (tree.path / "changes.json").write_text(json.dumps([good + bad, words]))
    said = json.loads(tree.run("python", "-c", TALK, ADMIN_TOKEN="t" * 40).splitlines()[-1])

    for change, (status, answer, read) in zip(good, said["answers"], strict=False):
        assert (status, answer | change) == (200, answer)
        assert read == answer
    refusals = said["answers"][len(good) :]
    assert [(status, list(answer["errors"])) for status, answer, _ in refusals] == [(422, list(each)) for each in bad]
    status, restored = said["restored"]
    assert (status, {name: restored[name] for name in KINDS}) == (
        200,
        {name: said["answers"][0][1][name] for name in KINDS},
    )
    assert [line for line in said["told"] if not line.startswith("revision ")] == []
    assert {name: list(kind.typed.values())[-1] for name, kind in KINDS.items() if kind.typed}.items() <= said[
        "now"
    ].items()
    assert_each_change_is_recorded(said["history"])


def assert_each_change_is_recorded(history: list[dict[str, Any]]) -> None:
    """Each entry goes on from the value that the one before left, shown as the API shows it."""
    values: dict[str, list[Any]] = {name: [kind.default] for name, kind in KINDS.items()}
    for entry in reversed(history):
        for name, sides in entry["changes"].items():
            assert values[name][-1] in {sides["from"], ...}
            values[name].append(sides["to"])
    for name, kind in KINDS.items():
        changed = [value for before, value in pairwise([kind.default, *kind.good]) if value != before]
        assert values[name][1 : 1 + len(changed)] == changed
