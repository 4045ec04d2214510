"""Bearer tokens (RFC 6750): who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

from flask import current_app, g, request

from ..access import tokens
from ..access.names import ADMIN
from ..database import Author
from ..errors import Forbidden, Unauthorized
from .guessing import guessing
from .http import change_reason, refuse_unknown_query, request_id
from .outer import current, look

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Principal:
    """The holder of a token: its name, its scopes with the implied ones, and its id; None for ADMIN_TOKEN.

    `components` are those that it is limited to; None: it is not limited.
    """

    name: str
    scopes: frozenset[str]
    token: str | None = None
    components: frozenset[str] | None = None


def principal() -> Principal | None:
    """Return the holder of the request's token; None where it carries none.

    Raises:
        Unauthorized: its token is not valid. An answer for the public would hide that.
        TooManyAttempts: its address has sent too many such tokens.
        StateUnknown: this process has not read yet which tokens there are.
    """
    if "Authorization" not in request.headers:
        return None
    if "principal" not in g:
        g.principal = _named()
    found: Principal | None = g.principal
    if found is None:
        guessing().failed(request.remote_addr)  # it may have been a guess
        _reject()
    return found


def may(scope: str) -> bool:
    """Whether the request has this scope; raises as `principal` does."""
    found = principal()
    return found is not None and scope in found.scopes


def require(scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let only requests with this scope through to a view, as the outermost check.

    The view raises Unauthorized and Forbidden, and what `principal` raises.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            found = principal()
            if found is None:
                _reject()
            if scope not in found.scopes:
                raise Forbidden(f"The token lacks the scope {scope}.")
            g.scope = scope
            refuse_unknown_query()
            return view(*args, **kwargs)

        checked.required_scope = scope  # type: ignore[attr-defined]  # for documentation
        return checked

    return decorate


def author() -> Author:
    """Return who makes the change that a request asks for, and why, in a view behind `require`.

    Raises:
        InvalidInput: its reason is not readable.
    """
    found: Principal = g.principal
    return Author(found.name, "api", change_reason(), request_id(), found.token, g.scope, found.components)


def _named() -> Principal | None:
    try:
        authorization = request.authorization
    except ValueError:  # werkzeug's, for Basic with characters outside ASCII
        return None
    text = authorization.token if authorization and authorization.type == "bearer" else None
    if not text:
        return None
    admin_token = current_app.config["ADMIN_TOKEN"]
    if admin_token and tokens.same(text, admin_token):
        return Principal(ADMIN, frozenset(tokens.SCOPES))
    token = tokens.find(current().tokens, text, look(request.environ).now)
    if token is None or token.bypasses:
        return None
    return Principal(token.name, token.scopes, token.id, token.components)


def _reject() -> NoReturn:
    if not current_app.config["ADMIN_TOKEN"] and all(token.bypasses for token in current().tokens.values()):
        raise Forbidden("There is no token: set ADMIN_TOKEN, at least 32 characters, or run `flask tokens create`.")
    raise Unauthorized("Send a valid token as Authorization: Bearer <token>.")
