"""Turning maintenance on and off."""

from __future__ import annotations

from ..database import Attribution
from ..settings import service as settings
from ..settings.service import Change


def switch(by: Attribution, *, active: bool, mode: str = "full", message: str | None = None) -> Change:
    """Put exactly this in force, whatever was before; what already is changes nothing.

    Raises:
        SettingsMissing, DatabaseUnavailable: nothing was changed.
    """
    return settings.change({"is_maintain": active, "maintenance_mode": mode, "maintenance_message": message}, by)
