"""How the command line behaves: one clear line and exit code 2 for a mistake, and no long wait for a database."""

from __future__ import annotations

import getpass
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import psycopg2
from flask.cli import AppGroup, ScriptInfo
from marshmallow import ValidationError
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from ..database import Author, in_the_way
from ..deadline import patient
from ..errors import DatabaseUnavailable, DomainError, InvalidInput
from ..extensions import db
from ..failures import explain_in_full, unavailable, words
from ..fields import AbsoluteMoment
from ..history.service import checked_reason
from ..live.clock import differing, unix_time
from ..live.loader import read
from ..live.snapshot import Snapshot
from ..sqlite import lacks_file
from .output import escaped, note

DIGITS = 5  # of each number in a duration; dates further away are no dates in Python
NAME_LENGTH = 200  # characters that updated_by and the history keep
logger = logging.getLogger(__name__)


class Command(click.Command):
    """A command that says first which file it works on, where nobody has chosen a database."""

    def invoke(self, ctx: click.Context) -> Any:
        name_default_file(ctx)
        return super().invoke(ctx)


def name_default_file(ctx: click.Context) -> None:
    """Say on stderr which file is worked on, where nobody has chosen a database."""
    url = _url(ctx)
    if ctx.ensure_object(ScriptInfo).load_app().config["DATABASE_IS_DEFAULT"] and not lacks_file(url):
        note(f"DATABASE_URL is not set: working on the SQLite file {url.database}")


class Group(AppGroup):
    """A command group that ends with one line and code 2 where a domain error is raised."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stderr.isatty():  # the one line of a command's own says what it did
            logging.getLogger("dop_be").setLevel(logging.WARNING)
        waiting = patient.set(True)
        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            raise Failure("; ".join(_lines(error))) from error
        except DomainError as error:
            raise Failure(explain_in_full(error, _url(ctx))) from error
        except (SQLAlchemyError, psycopg2.Error, UnicodeDecodeError) as error:
            with ctx.ensure_object(ScriptInfo).load_app().app_context():
                who = in_the_way(db.engine, error)
            told = unavailable(error, who)  # which logs the server's own words
            raise Failure(told.detail if who else explain_in_full(error, _url(ctx))) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:  # code 1 is for "in maintenance"
            logger.debug("the command failed", exc_info=True)
            raise Failure(f"{type(error).__name__}: {words(error)}") from error
        finally:
            patient.reset(waiting)


class Duration(click.ParamType[timedelta]):
    """A duration such as 90s, 30m, 2h, 1d or 1h30m, as a timedelta."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value, re.ASCII)
        numbers = [number or "0" for number in found.groups()] if found else ["0"]
        if max(map(len, numbers)) > DIGITS:
            self.fail(f"{value[:40]!r} is too long; use {DIGITS} digits at most before each letter.", param, ctx)
        duration = timedelta(**dict(zip(("days", "hours", "minutes", "seconds"), map(int, numbers), strict=False)))
        if not duration:
            self.fail(f"{value!r} is not a duration; use 90s, 30m, 2h or 1d.", param, ctx)
        return duration


DURATION = Duration()


class End(click.ParamType[timedelta | datetime]):
    """`+` and a duration, as a timedelta, or a time with an offset, as a datetime."""

    name = "end"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        if value.startswith("+"):
            return DURATION.convert(value[1:], param, ctx)
        try:
            moment: datetime = AbsoluteMoment().deserialize(value)
        except ValidationError:
            known = "use +30m, or a time with its offset such as 2026-12-01T05:00:00+01:00"
            self.fail(f"{value[:40]!r} is not an end; {known}.", param, ctx)
        return moment.astimezone(UTC)


END = End()


class Failure(click.ClickException):
    """An error of one line that ends the command with code 2."""

    exit_code = 2

    def format_message(self) -> str:
        return escaped(self.message)


reason_option = click.option("--reason", help="Why; recorded in the history.")


def author(reason: str | None = None) -> Author:
    """Return the shell's user, acting through the command line.

    Raises:
        InvalidInput: the reason cannot be recorded.
    """
    return Author(_user(), "cli", checked_reason(reason, "--reason"))


@contextmanager
def options(**names: str) -> Iterator[None]:
    """Name the option that was typed, such as `--for`, in errors about these fields of the API."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput({names.get(field, field): texts for field, texts in error.errors.items()}) from error


def current_state() -> tuple[Snapshot, float]:
    """Return the state as the database has it now, which needs no web process, and the Unix time that counts for it.

    Say on stderr where that is not this host's.

    Raises:
        DatabaseUnavailable: it does not answer, is not migrated, or has no settings row.
    """
    reading = read(db.engine)
    if reading.snapshot is None:
        raise DatabaseUnavailable("The database lacks the settings of this release: run `flask db upgrade`.")
    offset = reading.clock_offset or 0.0
    if difference := differing(offset):
        note(difference)
    return reading.snapshot, unix_time(offset)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless it is answered already; without a terminal there is nobody to ask.

    Raises:
        Failure: the answer is not yes.
    """
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    click.echo(f"{escaped(question)} [y/N] ", err=True, nl=False)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Failure("Nothing was changed.")


def _url(ctx: click.Context) -> URL:
    url: URL = ctx.ensure_object(ScriptInfo).load_app().config["SQLALCHEMY_DATABASE_URI"]
    return url


def _lines(error: InvalidInput) -> list[str]:
    """Return what is wrong with each field; `_schema` stands for the whole input and is not shown."""
    return [("" if name == "_schema" else f"{name}: ") + " ".join(texts) for name, texts in error.errors.items()]


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = f"uid {os.getuid()}"
    return "".join(character if character.isprintable() else "?" for character in name)[:NAME_LENGTH]
