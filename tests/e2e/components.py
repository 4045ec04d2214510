"""Components of a running dop_be, closed and opened as an operator does over HTTP, and asked for through a proxy."""

from __future__ import annotations

from typing import Any

from ..conftest import ADMIN
from .proxies import Proxy
from .servers import Server
from .visitors import Headers

SEARCH = "search.example.com"
# What the shipped configurations show, "" being the rest of the platform.
PLACES = {"billing": ("/billing/pay", "x"), "search": ("/", SEARCH), "": ("/orders", "x")}
PREFLIGHT = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")]


def statuses(proxy: Proxy, method: str = "GET", headers: Headers = ()) -> dict[str, int]:
    """Return the answers to a request for each component and for the rest of the platform."""
    return {name: proxy.ask(method, target, headers, host=host).status for name, (target, host) in PLACES.items()}


def make(server: Server, **titles: str) -> None:
    """Make components, all of them open."""
    for name, title in titles.items():
        put(server, f"/api/v1/components/{name}", {"title": title})


def close(server: Server, name: str, mode: str = "full") -> None:
    put(server, f"/api/v1/components/{name}/maintenance", {"active": True, "mode": mode})


def reopen(server: Server, name: str) -> None:
    put(server, f"/api/v1/components/{name}/maintenance", {"active": False})


def put(server: Server, path: str, wanted: dict[str, Any]) -> None:
    server.request("PUT", path, json=wanted, headers=ADMIN).raise_for_status()


def limited_bypass(server: Server, *components: str) -> str:
    """Give out a bypass that passes at these components alone; return its text."""
    wanted = {"name": "guest", "scopes": ["maintenance:bypass"], "components": list(components)}
    answer = server.request("POST", "/api/v1/tokens", json=wanted, headers=ADMIN)
    answer.raise_for_status()
    return str(answer.json()["token"])
