"""A component that is closed, through every shipped proxy: it alone, for everybody but those who bypass it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ADMIN

from .components import PREFLIGHT, SEARCH, close, limited_bypass, make, reopen, statuses
from .proxies import DEPLOY, NAMES, STALE, Proxy
from .servers import Server, eventually, gunicorn
from .visitors import Headers, Recorder

HOSTS = [SEARCH, f"{SEARCH}:8443", "SEARCH.Example.COM", f"{SEARCH}."]
OTHER_HOSTS = ["example.com", f"x{SEARCH}", f"{SEARCH}.evil.example", "searchXexample.com"]
FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}
# The line of each file for a platform to which /Billing or /billing;x are the same as /billing.
CASE = {
    "nginx": {'# "~*^/billing': '"~*^/billing'},
    "haproxy": {"# acl billing var(txn.path) -m reg -i": "acl billing var(txn.path) -m reg -i"},
    "caddy": {
        "\t@billing path_regexp ^/billing(/|$)\n": "",
        "# @billing path_regexp (?i)": "@billing path_regexp (?i)",
    },
    "envoy": {
        '  value: { string_match: { safe_regex: { regex: "/billing(/.*)?" } } }\n': "\n",
        '# value: { string_match: { safe_regex: { regex: "(?i)': 'value: { string_match: { safe_regex: { regex: "(?i)',
    },
}
SEMICOLON = {
    "nginx": {'# "~^/billing;" billing;': '"~^/billing;" billing;'},
    "haproxy": {"# acl billing var(txn.path) -m reg ^/billing;": "acl billing var(txn.path) -m reg ^/billing;"},
    "caddy": {
        "\t@billing path_regexp ^/billing(/|$)\n": "",
        "# @billing path_regexp ^/billing([/;]": "@billing path_regexp ^/billing([/;]",
    },
    "envoy": {
        '  value: { string_match: { safe_regex: { regex: "/billing(/.*)?" } } }\n': "\n",
        '# value: { string_match: { safe_regex: { regex: "/billing([/;]': (
            'value: { string_match: { safe_regex: { regex: "/billing([/;]'
        ),
    },
}
every_proxy = pytest.mark.parametrize("name", NAMES)


@dataclass
class Edge:
    proxy: Proxy
    platform: Recorder
    dop_be: Server

    def statuses(self, method: str = "GET", headers: Headers = ()) -> dict[str, int]:
        return statuses(self.proxy, method, headers)


@pytest.fixture(scope="module")
def dop_be(empty_postgresql: Callable[..., str], migrated_postgresql: str) -> Iterator[Server]:
    with gunicorn(empty_postgresql(template=migrated_postgresql)) as server:
        make(server, billing="Payments", search="Search")
        yield server


@pytest.fixture(scope="module", params=NAMES)
def edge(request: pytest.FixtureRequest, dop_be: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Each proxy, as shipped."""
    platform = Recorder(lambda _: (200, {}))
    directory = tmp_path_factory.mktemp(request.param) / "proxy"
    with Proxy(request.param, directory, platform.port, dop_be.port, unhurried=True).running() as proxy:
        yield Edge(proxy, platform, dop_be)
    platform.end()


@pytest.fixture
def closed(edge: Edge) -> Iterator[Callable[..., None]]:
    """Closes a component, or the platform, until the test is over, and waits until proxies have heard of it."""

    def put(name: str = "", mode: str = "full") -> None:
        if name:
            close(edge.dop_be, name, mode)
        else:
            switch(edge.dop_be, active=True)
        time.sleep(STALE)
        edge.platform.asked.clear()

    yield put
    switch(edge.dop_be, active=False)
    for name in ("billing", "search"):
        reopen(edge.dop_be, name)


def switch(server: Server, *, active: bool) -> None:
    server.request("PUT", "/api/v1/maintenance", json={"active": active}, headers=ADMIN).raise_for_status()


class TestOneIsClosed:
    def test_by_path(self, edge: Edge, closed: Callable[..., None]) -> None:
        closed("billing")
        for method in ("GET", "POST", "PURGE", "OPTIONS"):
            assert edge.statuses(method) == {"billing": 503, "search": 200, "": 200}
        assert {asked.target for asked in edge.platform.asked} == {"/", "/orders"}
        assert edge.statuses("OPTIONS", PREFLIGHT) == {"billing": 200, "search": 200, "": 200}

    def test_by_host(self, edge: Edge, closed: Callable[..., None]) -> None:
        closed("search")
        for method in ("GET", "POST"):
            assert edge.statuses(method) == {"billing": 200, "search": 503, "": 200}
        assert {host: edge.proxy.ask("GET", "/a", host=host).status for host in HOSTS} == dict.fromkeys(HOSTS, 503)
        others = dict.fromkeys(OTHER_HOSTS, 200)
        assert {host: edge.proxy.ask("GET", "/a", host=host).status for host in others} == others

    def test_one_host_in_the_target_and_another_in_the_header_pass_nothing(
        self, edge: Edge, closed: Callable[..., None]
    ) -> None:
        """The platform must not be told the closed one's host, whichever of the two it looks at."""
        closed("search")
        for target, host in ((f"http://{SEARCH}/a", "x"), ("http://x/a", SEARCH)):
            edge.proxy.ask("POST", target, host=host)
        with socket.create_connection(("127.0.0.1", edge.proxy.port), timeout=30) as visitor:
            visitor.sendall(f"GET http://{SEARCH}/a HTTP/1.0\r\n\r\n".encode())
            assert visitor.recv(1_000)
        assert [asked for asked in edge.platform.asked if SEARCH in str([asked.target, *asked.values("Host")])] == []

    def test_the_visitor_gets_what_dop_be_says_of_it(self, edge: Edge, closed: Callable[..., None]) -> None:
        closed("billing")
        document = edge.proxy.ask("POST", "/billing/pay", [("Accept", "application/json")])
        assert (document.json["code"], document.json["component"]) == ("maintenance", "billing")
        page = edge.proxy.ask("GET", "/billing", [("Accept", "text/html")])
        assert (page.status, page.headers.get_content_type()) == (503, "text/html")
        assert "Payments" in page.body.decode()

    def test_for_writes(self, edge: Edge, closed: Callable[..., None]) -> None:
        closed("billing", "read_only")
        assert edge.statuses("GET") == {"billing": 200, "search": 200, "": 200}
        assert edge.statuses("POST") == {"billing": 503, "search": 200, "": 200}

    def test_with_the_platform(self, edge: Edge, closed: Callable[..., None]) -> None:
        closed("")
        assert edge.statuses() == {"billing": 503, "search": 503, "": 503}
        assert edge.proxy.ask("GET", "/healthz", host=SEARCH).status == 200


def test_a_bypass_passes_at_its_component_alone(edge: Edge, closed: Callable[..., None]) -> None:
    token = limited_bypass(edge.dop_be, "billing")
    closed("")
    closed("billing")
    for header in (("X-Maintenance-Bypass", token), ("Cookie", f"maintenance_bypass={token}")):
        for method in ("GET", "POST"):
            eventually(30, lambda: edge.statuses(method, [header])["billing"] == 200)  # noqa: B023 - asked at once
            assert edge.statuses(method, [header]) == {"billing": 200, "search": 503, "": 503}
    assert edge.statuses() == {"billing": 503, "search": 503, "": 503}
    edge.dop_be.request("DELETE", "/api/v1/tokens/guest", headers=ADMIN).raise_for_status()


@every_proxy
def test_the_example_can_be_deleted(name: str, dop_be: Server, tmp_path: Path) -> None:
    """Then nothing is a component, and every path arrives as it was sent."""
    close(dop_be, "billing")
    shipped = (DEPLOY / FILES[name]).read_text()
    if name == "nginx":
        example = [line for line in shipped.splitlines(keepends=True) if "# EXAMPLE" in line]
        assert len(example) == 3
    else:
        begin, end = shipped.index("EXAMPLE shows two"), shipped.index("# END OF THE EXAMPLE")
        example = [shipped[shipped.rindex("\n", 0, begin) + 1 : shipped.index("\n", end) + 1]]
    changed = dict.fromkeys(example, "")
    platform = Recorder(lambda _: (200, {}))
    with Proxy(name, tmp_path / name, platform.port, dop_be.port, unhurried=True, changed=changed).running() as proxy:
        for target in ("/billing", "/x/../billing", "/billing/..%2forders"):
            assert proxy.ask("GET", target).status == 200
            assert platform.asked[-1].target == target
    platform.end()
    reopen(dop_be, "billing")


@every_proxy
@pytest.mark.parametrize(("lines", "spelled"), [(CASE, "/BILLING/pay"), (SEMICOLON, "/billing;x/pay")])
def test_what_the_platform_takes_for_the_same_is_one_line(
    name: str, lines: dict[str, dict[str, str]], spelled: str, dop_be: Server, tmp_path: Path
) -> None:
    close(dop_be, "billing")
    changed = lines[name]
    platform = Recorder(lambda _: (200, {}))
    with Proxy(name, tmp_path / name, platform.port, dop_be.port, unhurried=True, changed=changed).running() as proxy:
        eventually(30, lambda: proxy.ask("GET", "/billing/pay").status == 503)
        assert proxy.ask("GET", spelled).status == 503
        assert proxy.ask("GET", "/billings").status == 200
    platform.end()
    reopen(dop_be, "billing")
