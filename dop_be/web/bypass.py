"""`GET /gate/bypass/{token}`: the link that turns a token into a browser's cookie."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flask import Blueprint, Flask, current_app, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from ..errors import NotFound
from ..live import live
from .exemption import exempt
from .visitors import COOKIE, expiry

# One slash and no second, as browsers read a backslash too, and none of the characters that they drop (URL standard,
# section 4.4).
LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f-\x9f]*")

bp = exempt(Blueprint("bypass", __name__))


@bp.get("/gate/bypass/<token>")
def follow(token: str) -> BaseResponse:
    now = datetime.now(UTC)
    expires_at = expiry(token, live().require().bypasses, now)
    if expires_at is None:
        raise NotFound("This link is not valid, or not any more.")
    wanted = request.args.get("next", "")
    response = redirect(wanted if LOCAL_PATH.fullmatch(wanted) else "/", 303)
    response.set_cookie(
        COOKIE,
        token,
        max_age=max(1, int((expires_at - now).total_seconds())),
        secure=request.is_secure or current_app.config["PUBLIC_URL"].startswith("https:"),
        httponly=True,
        samesite="Lax",
    )
    response.headers.update({"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    return response


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
