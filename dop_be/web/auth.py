"""Bearer tokens (RFC 6750): who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from flask import current_app, request
from flask_httpauth import HTTPTokenAuth

from ..access import tokens
from ..access.attribution import change_reason, request_id
from ..database import Attribution
from ..errors import Forbidden, Unauthorized
from ..live import live

ADMIN = "admin"  # the name of whoever holds ADMIN_TOKEN

auth = HTTPTokenAuth(scheme="Bearer", realm="dop_be")


@dataclass(frozen=True)
class Principal:
    """Whom a token names, and its scopes, implied ones included."""

    name: str
    scopes: frozenset[str]

    def attribution(self) -> Attribution:
        """Who makes the change that this request asks for, and why.

        Raises:
            InvalidInput: its reason is not readable.
        """
        return Attribution(self.name, "api", change_reason(), request_id())


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
        _reject()
    return "settings:read" in principal.scopes


@auth.verify_token
def _verify(token: str) -> Principal | None:
    return _principal(token)


@auth.get_user_roles
def _scopes(principal: Principal) -> list[str]:
    return list(principal.scopes)


@auth.error_handler
def _refuse(status: int) -> NoReturn:
    if not current_app.config["ADMIN_TOKEN"] and not live().require().tokens:
        raise Forbidden("There is no token: set ADMIN_TOKEN, at least 32 characters, or run `flask tokens create`.")
    if status == 403:
        raise Forbidden("The token lacks the scope for this.")
    _reject()


def _principal(text: str) -> Principal | None:
    """Whom this token names.

    Raises:
        StateUnknown: it is not ADMIN_TOKEN, and this process has never seen which others there are.
    """
    if not text:
        return None
    admin_token = current_app.config["ADMIN_TOKEN"]
    if admin_token and tokens.same(text, admin_token):
        return Principal(ADMIN, frozenset(tokens.SCOPES))
    token = tokens.find(live().require().tokens, text, datetime.now(UTC))
    return Principal(token.name, token.scopes) if token else None


def _reject() -> NoReturn:
    """Answer a failed authentication; one that presented something may have been a guess, and is counted."""
    if "Authorization" in request.headers:
        current_app.extensions["guessing"].failed(request.remote_addr)
    raise Unauthorized("Send a valid token as Authorization: Bearer <token>.")
