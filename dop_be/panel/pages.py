"""The page at `/`: a small public status page, gated, so that during maintenance it is the maintenance page."""

from __future__ import annotations

from flask import Blueprint, Flask

from ..web.outer import current_phase
from ..web.pages import facts, page

bp = Blueprint("pages", __name__)


@bp.get("/")
def status() -> tuple[str, dict[str, str]]:
    """Show what is in force, and what is announced."""
    shown, phase = page("status.html"), current_phase()
    return shown.render(facts(phase.maintenance, phase.coming)), {"Cache-Control": "no-cache", **shown.headers}


def init_app(app: Flask) -> None:
    """Serve the page."""
    app.register_blueprint(bp)
