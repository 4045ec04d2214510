"""The page at `/`: a small public status page, gated, so that during maintenance it is the maintenance page."""

from __future__ import annotations

from flask import Blueprint, Flask, current_app, render_template

from ..fields import timestamp
from ..live import live

bp = Blueprint("pages", __name__)


@bp.get("/")
def status() -> tuple[str, dict[str, str]]:
    maintenance = live().require().maintenance
    until = maintenance.until and timestamp(maintenance.until)
    bypassing = maintenance.active and maintenance.mode == "full"
    page = render_template("status.html", maintenance=maintenance, until=until, bypassing=bypassing)
    return page, {"Cache-Control": "no-cache", **current_app.extensions["page_headers"]}


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
