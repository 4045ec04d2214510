"""Start gunicorn, as the Procfile does, and with --local as `make run` does.

gunicorn reads WEB_CONCURRENCY while it is imported, before gunicorn.conf.py, and ends in a traceback where that is no
number, even where it is empty. Here the configuration is checked first.
"""

from __future__ import annotations

import os
import socket
import sys

from config import DEFAULT_PORT, ROOT, Config, env_file

FLASK = ".venv/bin/flask maintenance on"
CALL = """        -H "Authorization: Bearer $ADMIN_TOKEN" -H 'Content-Type: application/json' -d '{"active": true}'"""


def main() -> None:
    """Check the configuration, then become gunicorn; further arguments are gunicorn's."""
    config = Config.from_env_or_exit()
    os.chdir(ROOT)  # where gunicorn looks for gunicorn.conf.py
    if not os.environ.get("WEB_CONCURRENCY", "").strip():
        os.environ.pop("WEB_CONCURRENCY", None)
    if sys.argv[1:2] == ["--local"]:
        port = config.PORT or DEFAULT_PORT
        check_port(port)
        sys.argv[1:2] = ["--bind", f"127.0.0.1:{port}"]
        print(hint(config), flush=True)
    from gunicorn.app.wsgiapp import run  # noqa: PLC0415 - the import reads it

    run(prog="gunicorn")


def check_port(port: int) -> None:
    """End with one line where somebody else listens: the call in the hint, token and all, would go there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            print(f"dop_be: PORT: cannot listen on port {port}: {error.strerror}; set PORT to another", file=sys.stderr)
            sys.exit(2)


def hint(config: Config) -> str:
    """Return what to type in another terminal to turn maintenance on in the database that is served."""
    file, url = env_file(), f"http://127.0.0.1:{config.PORT or DEFAULT_PORT}"
    ours = [name for name in ("DATABASE_URL", "ADMIN_TOKEN") if os.environ.get(name) not in {None, "", file.get(name)}]
    call = f"{'' if 'ADMIN_TOKEN' in ours else '. ./.env; '}curl -X PUT {url}/api/v1/maintenance \\\n{CALL}"
    lines = [
        f"\ndop_be serves on {url}. To turn maintenance on, in another terminal:\n",
        f"    {call if config.ADMIN_TOKEN else FLASK}\n",
    ]
    lines += [
        f"{name} is this terminal's, not .env's: export the same in the other one, or set it in .env.\n"
        for name in ours
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
