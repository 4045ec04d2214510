"""The names of tokens and bypasses, and what is said of those that cannot be used."""

from __future__ import annotations

import re

from ..errors import InvalidInput

ADMIN = "admin"  # the name of whoever holds ADMIN_TOKEN
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str, bypass: bool) -> None:
    if name == ADMIN:
        raise InvalidInput({"name": [f"{ADMIN!r} is taken by ADMIN_TOKEN; use another name."]})
    if not NAME.fullmatch(name):
        accepted = "use up to 100 letters, digits and . _ - beginning with a letter or a digit"
        raise InvalidInput({"name": [f"{name[:40]!r} is not the name of a {sort(bypass)}; {accepted}."]})


def sort(bypass: bool) -> str:
    return "bypass" if bypass else "token"


def revocation(name: str, bypass: bool) -> str:
    """Return the command that revokes a token or a bypass."""
    return f"`flask {'maintenance bypass' if bypass else 'tokens'} revoke {name}`"


def unknown(name: str, bypass: bool, *, of_other_sort: bool) -> str:
    if not of_other_sort:
        return f"There is no {sort(bypass)} {name!r}."
    return f"{name!r} is a {sort(not bypass)}, not a {sort(bypass)}; revoke it with {revocation(name, not bypass)}."
