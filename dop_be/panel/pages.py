"""The page at `/`: a small public status page, gated, so that during maintenance it is the maintenance page."""

from __future__ import annotations

from flask import Blueprint, Flask

from ..maintenance.timeline import title
from ..web.outer import current, current_phase, look_at
from ..web.pages import facts, page

bp = Blueprint("pages", __name__)
MOST_PARTS = 100  # components that the page lists, the closed ones first


@bp.get("/")
def status() -> tuple[str, dict[str, str]]:
    """Show what is in force, for each component too, and what is announced."""
    shown, snapshot, phase = page("status.html"), current(), current_phase()
    now, titles = look_at(), {name: title(row) for name, row in snapshot.components.items()}
    states = ((titles[name], snapshot.timeline.of(name, now).maintenance) for name in snapshot.components)
    parts = [{"title": shown_as, "active": state.active, "mode": state.mode} for shown_as, state in states]
    parts.sort(key=lambda part: (not part["active"], part["title"]))
    known = facts(phase.maintenance, phase.coming, titles=titles) | {"parts": parts[:MOST_PARTS]}
    return shown.render(known), {"Cache-Control": "no-cache", **shown.headers}


def init_app(app: Flask) -> None:
    """Serve the page."""
    app.register_blueprint(bp)
