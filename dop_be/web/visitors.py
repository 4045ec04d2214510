"""Which requests bypass the gate: pure functions of the request's WSGI environment, the known tokens and the time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from werkzeug.http import parse_list_header

from ..access.tokens import Token, Tokens, find

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

COOKIE = "maintenance_bypass"
# Every cookie of the name counts, since another host of the domain may have planted one. Not werkzeug's parser, which
# fails on bytes that are not UTF-8, and with it the gate would.
COOKIES = re.compile(rf"(?:^|;)[ \t]*{COOKIE}=([A-Za-z0-9_-]+)")
HEADER = "HTTP_X_MAINTENANCE_BYPASS"


def carries_bypass(environ: WSGIEnvironment, tokens: Tokens, now: float, component: str | None = None) -> bool:
    """Whether the request holds a bypass that is in force at a Unix time: for the platform, or for a component."""
    found = (bypass(text, tokens, now) for text in _presented(environ))
    return any(token.covers(component) for token in found if token is not None)


def bypass(text: str, tokens: Tokens, now: float) -> Token | None:
    """Return the bypass with this text; None where there is none in force."""
    token = find(tokens, text, now)
    return token if token is not None and token.bypasses else None


def comes_from(networks: Sequence[IPv4Network | IPv6Network], environ: WSGIEnvironment, hops: int) -> bool:
    """Whether the client's address is in one of the networks.

    REMOTE_ADDR is the client's as far as `hops` trusted proxies vouch for it (werkzeug's ProxyFix put it there). With
    fewer addresses in X-Forwarded-For it is still a proxy's own, which must let nobody through.
    """
    if not networks or len(parse_list_header(environ.get("HTTP_X_FORWARDED_FOR", ""))) < hops:
        return False
    try:
        address = ip_address(environ.get("REMOTE_ADDR", ""))
    except ValueError:  # a Unix socket has none, and a proxy may write "unknown"
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _presented(environ: WSGIEnvironment) -> Iterator[str]:
    if HEADER in environ:
        yield environ[HEADER]
    yield from COOKIES.findall(environ.get("HTTP_COOKIE", ""))
