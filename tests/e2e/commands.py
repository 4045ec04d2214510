"""`flask …` as an operator types it, in a process of its own."""

from __future__ import annotations

import os

from .. import processes

# Rights that a user other than root has: root may write every file.
ORDINARY = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


def flask(url: str, *words: str) -> str:
    """What a command prints that works.

    Raises:
        AssertionError: it does not.
    """
    return processes.run(["flask", "--app", "wsgi", *words], env=processes.environment(DATABASE_URL=url)).stdout


def refused(url: str, *words: str, code: int = 2, as_user: bool = False) -> str:
    """The one line in which a command says why it does not work; the log's own lines come before it.

    `as_user`: without the rights that root alone has.
    """
    given = processes.environment(DATABASE_URL=url)
    command = [*(ORDINARY if as_user else ()), "flask", "--app", "wsgi", *words]
    done = processes.run(command, env=given, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    *logged, line = done.stderr.splitlines()
    assert all(each.startswith(('{"event": ', "INFO  [alembic.")) for each in logged), done.stderr
    return line.removeprefix("Error: ").removeprefix("ERROR [alembic.dop_be] ")
