"""`GET /gate/bypass/{token}`: the link that turns a bypass into a browser's cookie."""

from __future__ import annotations

import re

from flask import Blueprint, current_app, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from ..errors import NotFound
from .exemption import exempt
from .outer import current, look
from .visitors import COOKIE, bypass

# One slash and no second, as browsers read a backslash too, and none of the characters that they drop (URL standard,
# section 4.4).
LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f-\x9f]*")

bp = exempt(Blueprint("bypass", __name__))


@bp.get("/gate/bypass/<token>")
def follow(token: str) -> BaseResponse:
    """Set the cookie, and go on to `next`."""
    now = look(request.environ).now
    found = bypass(token, current().tokens, now)
    if found is None or found.expires_at is None:
        raise NotFound("This link is not valid, or not any more.")
    wanted = request.args.get("next", "")
    response = redirect(wanted if LOCAL_PATH.fullmatch(wanted) else "/", 303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=max(1, int(found.expires_at.timestamp() - now)),
        secure=request.is_secure or current_app.config["PUBLIC_URL"].startswith("https:"),
        httponly=True,
        samesite="Lax",
    )
    response.headers.update({"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    return response
