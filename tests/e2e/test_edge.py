"""What visitors try at the edge: slow bodies, odd spellings and long questions, through each shipped proxy."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ADMIN

from .components import close, limited_bypass, make
from .proxies import NAMES, REMEMBERING, Proxy
from .servers import eventually, gunicorn
from .spellings import ABOVE, BILLING, EXEMPT, NOT_BILLING, SPELLINGS
from .visitors import Headers, Recorder

HOLDERS = 16  # connections that hold on, to four threads of dop_be
SLOW = {
    "GET with a length beyond 32 bits": "GET {} HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967296\r\n\r\nx",
    "POST with a length": "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx",
    "GET with a length": "GET {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx",
    "PUT in chunks": "PUT {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
    "GET in chunks": "GET {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
    "HEAD with a length": "HEAD {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx",
    "POST that expects": "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
}
HTTP2 = "GET over HTTP/2, whose body needs no header"


class Edge(NamedTuple):
    proxy: Proxy
    platform: Recorder


class Gate(NamedTuple):
    """A dop_be whose component billing is closed."""

    port: int
    in_maintenance: bool
    bypass: str  # limited to billing


@pytest.fixture(scope="module", params=[True, False], ids=["in maintenance", "open"])
def dop_be(
    request: pytest.FixtureRequest, empty_postgresql: Callable[..., str], migrated_postgresql: str
) -> Iterator[Gate]:
    with gunicorn(empty_postgresql(template=migrated_postgresql)) as server:
        wanted = {"active": request.param}
        server.request("PUT", "/api/v1/maintenance", json=wanted, headers=ADMIN).raise_for_status()
        make(server, billing="Payments")
        close(server, "billing")
        yield Gate(server.port, request.param, limited_bypass(server, "billing"))


@pytest.fixture(scope="module", params=[(name, closed) for name in NAMES for closed in (False, True)], ids=str)
def edge(request: pytest.FixtureRequest, dop_be: Gate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    name, fail_closed = request.param
    with ExitStack() as stack:
        platform = Recorder(lambda _: (200, {}))
        stack.callback(platform.end)
        directory = tmp_path_factory.mktemp(name) / "proxy"
        # A verdict that is kept would hide for a minute what happens to the questions.
        asking = name in REMEMBERING
        addresses = platform.port, dop_be.port
        proxy = Proxy(name, directory, *addresses, fail_closed=fail_closed, asking=asking, unhurried=True)
        stack.enter_context(proxy.running())
        expected = 503 if dop_be.in_maintenance else 200
        eventually(30, lambda: proxy.ask("GET", "/").status == expected)
        yield Edge(proxy, platform)


@pytest.fixture
def expected(dop_be: Gate) -> int:
    """The status of a request that the gate decides."""
    return 503 if dop_be.in_maintenance else 200


def over_http2(target: str) -> bytes:
    """The beginning of a request whose body does not end (RFC 9113 sections 3.4, 6.1, 6.2; RFC 7541 section 6.2.2)."""

    def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
        return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content

    path = target.encode()
    headers = b"\x82\x86" + b"\x04" + bytes([len(path)]) + path + b"\x01\x01x"  # GET, http, :path, :authority x
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    return preface + frame(1, 4, 1, headers) + frame(0, 0, 1, b"x")


@contextmanager
def held(port: int, sent: bytes) -> Iterator[None]:
    """Have HOLDERS visitors who began to send this and do not go on."""
    with ExitStack() as stack:
        for _ in range(HOLDERS):
            visitor = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            visitor.sendall(sent)
        yield


@pytest.mark.parametrize("target", ["/gate/bypass/x", "/orders"])
@pytest.mark.parametrize("how", [*SLOW, HTTP2])
def test_a_slow_body_neither_opens_the_gate_nor_closes_it(edge: Edge, expected: int, how: str, target: str) -> None:
    with held(edge.proxy.port, over_http2(target) if how == HTTP2 else SLOW[how].format(target).encode()):
        answers = [edge.proxy.ask("GET", "/orders") for _ in range(12)]
    assert [answer.status for answer in answers] == [expected] * 12
    if expected == 503:  # by dop_be, and not for want of it
        assert {answer.json["code"] for answer in answers} == {"maintenance"}


def test_only_the_exact_spelling_is_exempt(edge: Edge, expected: int) -> None:
    for target in SPELLINGS.split():
        edge.platform.asked.clear()
        edge.proxy.ask("POST", target)
        reached = {asked.target for asked in edge.platform.asked}
        if expected == 503:
            assert reached == {target} & EXEMPT, target
        elif target in EXEMPT:
            assert target in reached  # beside what the visitors of an earlier test gave up


def reached(edge: Edge, target: str, headers: Headers = ()) -> set[str]:
    """What the platform was asked when a visitor asked for this."""
    edge.platform.asked.clear()
    edge.proxy.ask("PURGE", target, headers)
    return {
        asked.target.removeprefix("http://platform.example:8443")
        for asked in edge.platform.asked
        if asked.method == "PURGE"
    }


def test_every_spelling_of_a_component_is_closed(edge: Edge) -> None:
    assert {target: reached(edge, target) for target in BILLING} == {target: set() for target in BILLING}
    refused = edge.proxy.ask("GET", "/x/..%2f%62illing")
    assert (refused.status, refused.json["code"]) == (503, "maintenance")


def test_nothing_else_counts_as_a_component(edge: Edge, expected: int) -> None:
    passing = {target: {sent} if expected == 200 else set() for target, sent in NOT_BILLING.items()}
    assert {target: reached(edge, target) for target in NOT_BILLING} == passing


def test_a_bypass_of_a_component_passes_there_alone(edge: Edge, dop_be: Gate) -> None:
    """Each spelling reaches the platform as the path that was compared."""
    holder = [("X-Maintenance-Bypass", dop_be.bypass)]
    passing = {target: {sent} for target, sent in BILLING.items()}
    if edge.proxy.name == "nginx":
        passing[ABOVE] = set()
    assert {target: reached(edge, target, holder) for target in BILLING} == passing
    if dop_be.in_maintenance:
        others = [*NOT_BILLING, *SPELLINGS.split()]
        assert {target for target in others if reached(edge, target, holder)} == EXEMPT


@pytest.mark.parametrize("query", ["deny=403", "next=/&deny=403", "q=" + "x" * 3_000, "q=" + "x" * 7_800])
def test_a_query_changes_no_verdict(edge: Edge, expected: int, query: str) -> None:
    assert edge.proxy.ask("GET", f"/orders?{query}").status == expected


@pytest.mark.parametrize("name", ["X-Maintenance-Bypass", "Cookie", "Accept", "Origin", "Authorization"])
@pytest.mark.parametrize("size", [1_000, 7_000])
def test_a_long_header_changes_no_verdict(edge: Edge, expected: int, name: str, size: int) -> None:
    value = "maintenance_bypass=dop_" + "x" * size
    assert edge.proxy.ask("GET", "/orders", [(name, value)]).status == expected


def test_no_size_opens_the_gate(edge: Edge, expected: int) -> None:
    """A question too large to be asked must not look like a dead gate; HAProxy's limit is about 15,100 bytes."""
    edge.platform.asked.clear()
    for size in (8_190, 8_200, *range(14_900, 15_300, 50), 900_000):
        for name in ("Accept", "Origin", "X-Maintenance-Bypass", "Cookie", "X-Other"):
            with suppress(ConnectionError):  # some proxies close before all is sent
                edge.proxy.ask("POST", "/", [(name, "maintenance_bypass=" + "x" * size)])
        if size < 20_000:
            edge.proxy.ask("G" * size, "/")
    if expected == 503:
        assert not edge.platform.asked


def test_links_that_are_none_lock_no_holder_out(edge: Edge) -> None:
    """dop_be refuses them with 503 in maintenance, which is no failure of dop_be's."""
    for target in ["/gate/bypass/a/b", "/gate/bypass/", "/x/../gate/bypass/y"] * 10:
        edge.proxy.ask("GET", target)
    answer = edge.proxy.ask("GET", "/gate/bypass/none")
    assert answer.status == 404


def test_a_link_without_its_token_is_the_platforms(edge: Edge, expected: int) -> None:
    for target in ("/gate/bypass", "/gate"):
        answer = edge.proxy.ask("GET", target)
        assert (answer.status, answer.headers["Location"]) == (expected, None)


def test_an_older_envoy_asks_below_a_prefix(dop_be: Gate, expected: int, tmp_path: Path) -> None:
    """It appends the visitor's path and query; Kubernetes' Gateway API with ExternalAuth does so as well."""
    older = {"path_override: /gate?deny=403": "path_prefix: /gate/deny-403/ask"}
    platform = Recorder(lambda _: (200, {}))
    proxy = Proxy("envoy", tmp_path / "envoy", platform.port, dop_be.port, unhurried=True, changed=older)
    with proxy.running() as envoy:
        eventually(30, lambda: envoy.ask("GET", "/").status == expected)
        for target in ["/", "/orders?deny=503", "/bypass/x", "/../bypass/x", "/%2e%2e/livez", "/" + "x" * 8_000]:
            assert envoy.ask("POST", target).status == expected
    platform.end()
