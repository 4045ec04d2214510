"""Proxies that keep the last verdict: how old it gets, whose it is, and what holds while dop_be is dead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import processes
from tests.conftest import ADMIN

from .proxies import REMEMBERING, STALE, Proxy
from .servers import Server, eventually, gunicorn
from .visitors import Answer, Asked, Headers, Recorder, ask

KEEP = 3  # seconds for which a dead gate's verdict goes on after that
ORIGIN = "https://app.example"
HTML = [("Accept", "text/html,*/*;q=0.8")]
PREFLIGHT = [("Origin", ORIGIN), ("Access-Control-Request-Method", "POST")]
MADE_UP = "dop_00000000_" + "a" * 43
PRESENTED: list[Headers] = [
    [("X-Maintenance-Bypass", MADE_UP)],
    [("X-Maintenance-Bypass", "x")],
    [("Cookie", f"maintenance_bypass={MADE_UP}")],
]


@dataclass
class Edge:
    """A real dop_be, the platform, and proxies between them and the visitors."""

    dop_be: Server
    platform: Recorder
    directory: Path
    stack: ExitStack

    def proxy(self, name: str, **changes: object) -> Proxy:
        given: dict[str, object] = {"keep": KEEP, **changes}
        made = Proxy(name, self.directory / name, self.platform.port, self.dop_be.port, **given)  # type: ignore[arg-type]
        return self.stack.enter_context(made.running())

    def switch(self, **wanted: object) -> None:
        self.dop_be.request("PUT", "/api/v1/maintenance", json=wanted, headers=ADMIN).raise_for_status()

    def bypass(self) -> str:
        url = self.dop_be.environment["DATABASE_URL"]
        given = processes.environment(DATABASE_URL=url)
        made = processes.run(["flask", "maintenance", "bypass", "create", "x"], env=given).stdout
        token = made.partition("/gate/bypass/")[2].split()[0]
        eventually(30, lambda: ask(self.dop_be.port, "GET", "/gate", [("X-Maintenance-Bypass", token)]).status == 200)
        return token


@pytest.fixture
def edge(sqlite_url: str, tmp_path: Path) -> Iterator[Edge]:
    with ExitStack() as stack:
        platform = Recorder(lambda _: (200, {}))
        stack.callback(platform.end)
        dop_be = stack.enter_context(
            gunicorn(sqlite_url, CORS_ORIGINS=ORIGIN, BYPASS_NETWORKS="127.0.0.2/32", TRUSTED_PROXY_HOPS="1")
        )
        yield Edge(dop_be, platform, tmp_path, stack)


@pytest.fixture(params=REMEMBERING)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def statuses(proxy: Proxy, headers: Headers = ()) -> list[int]:
    return [proxy.ask(method, "/orders", headers).status for method in ("GET", "POST")]


def test_a_flip_shows_within_the_stated_time(name: str, edge: Edge) -> None:
    proxy = edge.proxy(name)
    for wanted, expected in [(True, [503, 503]), (False, [200, 200])]:
        assert statuses(proxy) != expected
        edge.switch(active=wanted)
        time.sleep(STALE)
        assert [statuses(proxy) for _ in range(20)] == [expected] * 20


def test_the_first_request_after_a_quiet_time_gets_todays_verdict(name: str, edge: Edge) -> None:
    proxy = edge.proxy(name)
    for wanted, before, expected in [(True, [200, 200], [503, 503]), (False, [503, 503], [200, 200])]:
        assert statuses(proxy) == before
        time.sleep(STALE)
        edge.switch(active=wanted)
        assert statuses(proxy) == expected


def test_each_kind_of_request_has_its_own_verdict(name: str, edge: Edge) -> None:
    edge.switch(active=True, mode="full")
    proxy = edge.proxy(name)
    for _ in range(3):
        assert proxy.ask("OPTIONS", "/orders", PREFLIGHT).status == 200
        for headers in ([], PREFLIGHT[:1], PREFLIGHT[1:]):
            assert [proxy.ask(method, "/", headers).status for method in ("OPTIONS", "GET", "POST")] == [503] * 3
    assert proxy.ask("POST", "/orders", PREFLIGHT).status == 503
    edge.switch(active=True, mode="read_only")
    time.sleep(STALE)
    for _ in range(3):
        assert [proxy.ask(method, "/").status for method in ("GET", "HEAD", "OPTIONS")] == [200] * 3
        assert [proxy.ask(method, "/").status for method in ("POST", "DELETE", "PURGE")] == [503] * 3


@pytest.mark.parametrize("fail_closed", [False, True])
def test_a_dead_gates_verdict_goes_on_and_then_the_rule_comes_into_force(
    name: str, edge: Edge, *, fail_closed: bool
) -> None:
    """Whatever the rule says: for a while the verdict is the opposite of it."""
    edge.switch(active=not fail_closed)
    proxy = edge.proxy(name, fail_closed=fail_closed)
    expected, after = ([200, 200], [503, 503]) if fail_closed else ([503, 503], [200, 200])
    asked = time.monotonic()
    assert statuses(proxy) == expected
    edge.dop_be.stop()
    died = time.monotonic()
    while time.monotonic() < asked + KEEP:
        assert statuses(proxy) == expected
        for headers in PRESENTED:
            assert statuses(proxy, headers) == expected
    eventually(30, lambda: statuses(proxy) == after)
    assert time.monotonic() - died < KEEP + 10
    assert [statuses(proxy, headers) for headers in PRESENTED] == [after] * 3


def test_a_refused_visitor_of_a_dead_gate_is_told_so(name: str, edge: Edge) -> None:
    edge.switch(active=True)
    proxy = edge.proxy(name, keep=60, origin=ORIGIN)
    assert statuses(proxy) == [503, 503]
    edge.dop_be.stop()
    for headers in ([], [("Origin", "https://evil.example")], [("Origin", ORIGIN)]):
        for method in ("GET", "POST"):
            answer = proxy.ask(method, "/orders", headers)
            assert_unavailable(answer)
            assert answer.headers.get_content_type() == "application/problem+json"
            assert (answer.json["status"], answer.json["code"]) == (503, "unavailable")
            allowed = ORIGIN if ("Origin", ORIGIN) in headers else None
            assert answer.headers["Access-Control-Allow-Origin"] == allowed
    page = proxy.ask("GET", "/orders", HTML)
    assert_unavailable(page)
    assert page.headers.get_content_type() == "text/html"
    assert (proxy.ask("HEAD", "/orders").status, proxy.ask("HEAD", "/orders").body) == (503, b"")


def assert_unavailable(answer: Answer) -> None:
    assert (answer.status, answer.headers.get_all("Retry-After")) == (503, ["5"])
    assert answer.headers.get_all("Cache-Control") == ["no-store"]
    assert {"Accept", "Origin"} <= {name.strip() for name in answer.headers["Vary"].split(",")}
    assert b"unavailable" in answer.body


def test_a_bypass_is_asked_about_each_time_and_never_kept(name: str, edge: Edge) -> None:
    token = edge.bypass()
    edge.switch(active=True)
    proxy = edge.proxy(name, keep=60)
    mine: list[Headers] = [[("X-Maintenance-Bypass", token)], [("Cookie", f"maintenance_bypass={token}")]]
    for headers in mine * 3:
        assert statuses(proxy, headers) == [200, 200]
        assert statuses(proxy) == [503, 503]
    if name == "nginx":  # HAProxy's memory holds verdicts and times alone
        kept = [path.read_bytes() for path in (edge.directory / name / "dop_be").rglob("*") if path.is_file()]
        keys = {content[content.index(b"KEY: ") :].split()[1] for content in kept}
        assert keys == {b"GET/gate", b"POST/gate"}  # the kind of request, and what is asked about
        assert not any(token.encode() in content for content in kept)
    edge.dop_be.stop()
    assert [statuses(proxy, headers) for headers in mine] == [[503, 503]] * 2


@pytest.mark.parametrize("insiders", ["", "127.0.0.2/32"], ids=["not told", "told"])
def test_an_insiders_verdict_counts_for_nobody_else(name: str, edge: Edge, insiders: str) -> None:
    """Also where only dop_be knows the network: what an address decided is kept for nobody."""
    edge.switch(active=True)
    proxy = edge.proxy(name, insiders=insiders)
    for _ in range(3):
        inside = ask(proxy.port, "GET", "/orders", source="127.0.0.2").status
        assert (inside, proxy.ask("GET", "/orders").status) == (200, 503)
        time.sleep(0 if insiders else STALE)


def test_asking_every_time_shows_a_flip_at_once(name: str, edge: Edge) -> None:
    proxy = edge.proxy(name, asking=True)
    for wanted, expected in [(True, [503, 503]), (False, [200, 200])] * 3:
        edge.switch(active=wanted)
        assert statuses(proxy) == expected


class TestQuestions:
    """A gate of the test's own, which says what is asked and how often."""

    @pytest.fixture
    def gate(self) -> Iterator[Recorder]:
        server = Recorder(self.answer)
        yield server
        server.end()

    status, headers = 200, {"Cache-Control": f"max-age=1, stale-if-error={KEEP}"}

    def answer(self, asked: Asked) -> tuple[int, dict[str, str]]:
        return (200, {}) if asked.target == "/livez" else (self.status, self.headers)

    @pytest.fixture
    def proxy(self, name: str, gate: Recorder, tmp_path: Path) -> Iterator[Proxy]:
        platform = Recorder(lambda _: (200, {}))
        with Proxy(name, tmp_path / name, platform.port, gate.port, keep=KEEP).running() as running:
            yield running
        platform.end()

    def questions(self, gate: Recorder) -> list[Asked]:
        return [asked for asked in gate.asked if asked.target != "/livez"]

    def test_many_visitors_make_few_questions_which_say_nothing_of_them(self, gate: Recorder, proxy: Proxy) -> None:
        theirs = [("Accept", "secret/x"), ("Authorization", "secret"), ("Cookie", "a=secret"), ("Origin", "secret")]
        for _ in range(100):
            assert statuses(proxy, theirs) == [200, 200]
        asked = self.questions(gate)
        assert 2 <= len(asked) < 40
        assert {question.target for question in asked} == {f"/gate?deny=403&keep={KEEP}"}
        assert "secret" not in str([question.headers for question in asked])
        assert {question.values("X-Forwarded-Method")[0] for question in asked} == {"GET", "POST"}

    def test_an_announced_window_is_remembered(self, gate: Recorder, proxy: Proxy) -> None:
        self.headers = {**self.headers, "X-Maintenance-Starts": "2030-01-01T00:00:00Z"}
        for _ in range(5):
            assert proxy.ask("GET", "/").headers["X-Maintenance-Starts"] == "2030-01-01T00:00:00Z"
        assert len(self.questions(gate)) <= 2

    def test_what_may_not_be_kept_is_not(self, gate: Recorder, proxy: Proxy) -> None:
        """An unknown state, for one: it must not take the place of the last verdict."""
        self.status, self.headers = 403, {"Cache-Control": "no-store"}
        assert proxy.ask("GET", "/").status == 503
        self.status, self.headers = 200, {"Cache-Control": "no-store"}
        assert proxy.ask("GET", "/").status == 200

    def test_a_gate_that_fails_is_a_dead_one(self, gate: Recorder, proxy: Proxy) -> None:
        self.status = 403
        assert proxy.ask("GET", "/").status == 503
        time.sleep(STALE)
        self.status, self.headers = 500, {}
        assert proxy.ask("GET", "/").status == 503
        eventually(30, lambda: proxy.ask("GET", "/").status == 200)
