"""The file of the last state, which is believed whole or not at all.

It is written beside its place and renamed, so that a reader always finds a whole one, even where a writer was killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from .clock import unix_time
from .last_state import IN_USE_SECONDS, About, Identity, Unusable, read_about, read_rows, write
from .migrated import compare
from .snapshot import Snapshot

LARGEST = 64 * 1024 * 1024  # bytes
LOCK_TRIES, LOCK_PAUSE = 40, 0.05  # seconds between
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

logger = logging.getLogger(__name__)


class StateFile:
    """The file, as this release and this database have it; `database` as in `About`, `max_age` in seconds."""

    def __init__(self, path: Path, database: str, migrations: Path, max_age: float) -> None:
        self.path, self.database, self.max_age = path, database, max_age
        self._migrations = migrations

    def read(self) -> tuple[Snapshot, About] | None:
        """Return the state, and what the file says of it; None where there is no file.

        Raises:
            Unusable: it cannot be read, is not ours alone, damaged, too old, or not of this database and release.
        """
        lines = self._lines()
        if lines is None:
            return None
        about = read_about(lines[0])
        if about.database != self.database:
            raise Unusable(f"is of another database, {about.database}")
        faults, _ = compare(about.mark.alembic_revision, self._migrations)
        if faults:
            raise Unusable(f"does not fit this release: {faults[0]}")
        if (age := about.age()) > self.max_age:
            raise Unusable(f"was last confirmed {age:.0f} s ago, longer than STATE_MAX_AGE")
        return read_rows(about.mark, lines[1]), about

    def read_or_warn(self) -> tuple[Snapshot, About] | None:
        """Return the same, its windows evaluated; log it where there is nothing that can be used."""
        try:
            found = self.read()
            if found is not None:
                snapshot, about = found
                snapshot.at(unix_time(about.offset()))  # here, and not in the next request
                return found
            logger.warning("there is no last state: %s does not exist", self.path)
        except Exception as error:  # noqa: BLE001 - whatever is in the file, it must not keep a worker from starting
            reason = error if isinstance(error, Unusable) else f"does not fit this release: {error!r}"
            logger.warning("the last state %s is not used, since it %s", self.path, reason)
        return None

    def identity(self) -> Identity | None:
        """Return which server the file's state is from; None where there is none of this database."""
        with suppress(Unusable, OSError):
            kept = self._kept()
            return kept.identity if kept is not None and kept.database == self.database else None
        return None

    def write(self, snapshot: Snapshot, about: About) -> bool:
        """Put a state into the file, unless it has a better one; whether it was written.

        Raises:
            Unusable: the file is not to be replaced.
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(folder)
            kept = self._kept()
            if kept is not None and not about.goes_before(kept):
                return False
            if kept is not None and (difference := about.differs(kept)):
                logger.warning("%s", difference)
            text = write(snapshot, about)
            try:
                self._replace(text)
            except OSError:
                if kept is None or kept.mark == about.mark:
                    raise
                self.path.unlink()  # it is wrong by now; on a full disk that also makes room
                self._replace(text)
            os.fsync(folder)
        finally:
            os.close(folder)
        return True

    def tidy(self) -> None:
        """Delete what processes have left that were killed while they wrote."""
        ours = re.compile(rf"\.{re.escape(self.path.name)}\.[0-9a-f]{{16}}\.tmp")
        with suppress(OSError):
            for left in filter(lambda entry: ours.fullmatch(entry.name), self.path.parent.iterdir()):
                if time.time() - left.lstat().st_mtime > IN_USE_SECONDS:
                    left.unlink()

    def _kept(self) -> About | None:
        """Return what the file says of its state; None where there is nothing to be kept.

        Raises:
            Unusable: it is another program's.
        """
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(self.path.lstat().st_mode):
                raise Unusable("is no file, but a link, folder or device: it is left alone")
        try:
            lines = self._lines()
            return read_about(lines[0]) if lines else None
        except Unusable:
            if not _is_ours(self.path):
                raise Unusable("is another program's file: it is left alone") from None
            return None

    def _lines(self) -> tuple[bytes, bytes] | None:
        """Return the lines behind the checksum; None where there is no file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            link = self.path.is_symlink()
            raise Unusable("is a symbolic link" if link else f"cannot be opened: {error.strerror}") from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Unusable("is no file")
            if found.st_uid != os.geteuid():
                raise Unusable("belongs to another user")
            if found.st_mode & OTHERS_MAY_WRITE:
                raise Unusable("can be written by others")
            with open(descriptor, "rb", closefd=False) as file:
                text = file.read(LARGEST)
        except OSError as error:
            raise Unusable(f"cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)
        checksum, _, rest = text.partition(b"\n")
        lines = rest.split(b"\n")
        if sha256(rest).hexdigest().encode() != checksum or len(lines) != 3:
            raise Unusable("is damaged")
        return lines[0], lines[1]

    def _replace(self, text: bytes) -> None:
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.tmp")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _lock(folder: int) -> None:
    """Keep other writers out (flock(2)) until the folder is closed; one that froze keeps nobody out for long."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE)
        except OSError:  # a file system without locks
            return
        else:
            return


def _is_ours(path: Path) -> bool:
    """Whether a file begins as this one does, be it damaged."""
    with path.open("rb") as file:
        first, second, *_ = [*file.read(200).split(b"\n"), b""]
    return not first or bool(re.fullmatch(rb"[0-9a-f]{64}", first)) or second.startswith(b'{"format"')
