"""The page at `/`: a small public status page, gated, so that during maintenance it is the maintenance page."""

from __future__ import annotations

from flask import Blueprint, Flask

from ..web.outer import current_phase
from ..web.pages import facts, page

bp = Blueprint("pages", __name__)


@bp.get("/")
def status() -> tuple[str, dict[str, str]]:
    """Show what is in force."""
    shown = page("status.html")
    return shown.render(facts(current_phase().maintenance)), {"Cache-Control": "no-cache", **shown.headers}


def init_app(app: Flask) -> None:
    """Serve the page."""
    app.register_blueprint(bp)
