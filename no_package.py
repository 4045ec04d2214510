"""The build backend that pyproject.toml names (PEP 517): dop_be is an application, and nothing to install elsewhere.

What it needs at run time, config.py, wsgi.py and migrations/, stands beside the package and not in it.
"""

from __future__ import annotations

import sys
from typing import NoReturn

REASON = "dop_be is an application and not a package: clone its repository and type `make run` there (README.md)"


def build_wheel(*_: object) -> NoReturn:
    """Say in one line what to do instead; pip shows it and exits."""
    sys.exit(REASON)


build_sdist = build_editable = build_wheel
