"""The page at `/`: a small public status page, gated, so that during maintenance it is the maintenance page."""

from __future__ import annotations

from flask import Blueprint, Flask, render_template

from ..live import live

bp = Blueprint("pages", __name__)


@bp.get("/")
def status() -> str:
    return render_template("status.html", maintenance=live().require().maintenance)


def init_app(app: Flask) -> None:
    app.register_blueprint(bp)
