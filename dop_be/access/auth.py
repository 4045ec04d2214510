"""Bearer tokens (RFC 6750): who asks, and what they may do."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import NoReturn

from flask import current_app, request
from flask_httpauth import HTTPTokenAuth

from ..database import Attribution
from ..errors import Forbidden, Unauthorized

SCOPES = ("settings:read", "settings:write", "maintenance:write")
IMPLIED = {"settings:write": "settings:read"}

auth = HTTPTokenAuth(scheme="Bearer", realm="dop_be")


@dataclass(frozen=True)
class Principal:
    """Whom a token names, and its scopes, implied ones included."""

    name: str
    scopes: frozenset[str]

    def attribution(self) -> Attribution:
        return Attribution(self.name, "api")


def may_read_all() -> bool:
    """Whether the request may see private settings too.

    Raises:
        Unauthorized: it carries a token that is not valid; to show it less than it asked for would hide that.
    """
    if "Authorization" not in request.headers:
        return False
    authorization = request.authorization
    principal = _principal(authorization.token or "") if authorization and authorization.type == "bearer" else None
    if principal is None:
        raise _unauthorized()
    return "settings:read" in principal.scopes


@auth.verify_token
def _verify(token: str) -> Principal | None:
    return _principal(token)


@auth.get_user_roles
def _scopes(principal: Principal) -> list[str]:
    return list(principal.scopes)


@auth.error_handler
def _refuse(status: int) -> NoReturn:
    if not current_app.config["ADMIN_TOKEN"]:
        raise Forbidden("No token can write here: set ADMIN_TOKEN, at least 32 characters, and start again.")
    if status == 403:
        raise Forbidden("The token lacks the scope for this.")
    raise _unauthorized()


def _principal(token: str) -> Principal | None:
    # Digests have one length, so that comparing them tells nothing about the length of the token either.
    admin_token = current_app.config["ADMIN_TOKEN"]
    if admin_token and hmac.compare_digest(_digest(token), _digest(admin_token)):
        return Principal("admin", frozenset(SCOPES))
    return None


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorized() -> Unauthorized:
    return Unauthorized("Send a valid token as Authorization: Bearer <token>.")
