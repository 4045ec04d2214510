"""Whether the database went back: an old primary that came back, or a backup, tells less than was seen before."""

from __future__ import annotations

import logging

from .last_state import Identity

SEE = 'see docs/failover.md, "Keep the old primary out"'
logger = logging.getLogger(__name__)


class Lineage:
    """The latest timeline and change that this process has seen, and what to say where there is less by now."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._latest: Identity | None = None
        self._last_change = self._newest = 0
        self._older: str | None = None
        self._fewer: str | None = None

    @property
    def notes(self) -> list[str]:
        """What is wrong, in sentences without a full stop."""
        return [note for note in (self._older, self._fewer) if note is not None]

    def remember(self, kept: Identity | None) -> None:
        """Begin with the server that a worker followed before a restart, as the file of the last state names it."""
        self._latest = self._latest or kept

    def follow(self, name: str, found: Identity | None) -> None:
        """Note which database answers, and log it where it is another one than before."""
        if name == self._name:
            return
        self._name, latest = name, self._latest
        logger.info("the database is %s", name)
        if found is None:
            return
        if latest is not None and found.system == latest.system and found.timeline < latest.timeline:
            self._older = (
                f"the database is at timeline {found.timeline}, an older one than {latest.timeline}, which was followed"
                f" before: it may be an old primary that came back; {SEE}"
            )
            logger.error("%s", self._older)
            return
        self._older = None
        if latest is not None and found.system != latest.system:
            self._last_change, self._newest, self._fewer = 0, 0, None
        self._latest = found

    def see(self, last_change: int | None) -> None:
        """Note the newest change that the database has, and log each time that it went back."""
        newest = last_change or 0
        went_back, self._newest = newest < self._newest, newest
        if newest >= self._last_change:
            self._last_change, self._fewer = newest, None
            return
        self._fewer = (
            f"the newest change of the database is {newest}, and it was {self._last_change} before: what came between"
            f" is lost, or this is another copy; {SEE}"
        )
        if went_back:
            logger.error("%s", self._fewer)
