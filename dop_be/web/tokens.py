"""`/api/v1/tokens`: make, list and revoke tokens and bypasses. No answer may be stored."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app

from ..access import service
from ..access.schemas import NewTokenSchema, TokenSchema, TokensSchema, dump_token
from ..errors import InvalidInput
from .auth import author, require
from .exemption import exempt
from .http import Blueprint, uncached
from .outer import current

bp = exempt(Blueprint("tokens", __name__, url_prefix="/api/v1/tokens", description="Tokens"))


@bp.route("")
@require("tokens:write")
@bp.response(200, TokensSchema)
def show() -> Response:
    """Show the tokens and bypasses in force; their secrets are not kept."""
    known, now = service.all_tokens()
    return uncached({"tokens": [dump_token(token) for token in known if service.state(token, now) == "in force"]})


@bp.route("", methods=["POST"])
@require("tokens:write")
@bp.arguments(NewTokenSchema)
@bp.response(201, TokenSchema)
def make(wanted: dict[str, Any]) -> Response:
    """Make a token, or a bypass with its link; nobody gives a scope or a later expiry than their own."""
    if unknown := sorted(set(wanted["components"] or ()) - current().components.keys()):
        raise InvalidInput({"components": [f"There is no component {', '.join(unknown)[:200]}."]})
    components, until = wanted["components"], wanted["expires_at"]
    text, token = service.make(wanted["name"], wanted["scopes"], author(), until=until, components=components)
    link = {"link": f"{current_app.config['PUBLIC_URL']}/gate/bypass/{text}"} if service.is_bypass(token) else {}
    return uncached({**dump_token(token), "token": text, **link}, status=201)


@bp.route("/<name>", methods=["DELETE"])
@require("tokens:write")
@bp.response(204)
def revoke(name: str) -> Response:
    """Revoke a token or a bypass in every worker; one that is gone already is no error."""
    service.revoke(name, author(), bypass=None)
    return Response(status=204, headers={"Cache-Control": "no-store"})
