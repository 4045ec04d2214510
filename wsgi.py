"""The application that gunicorn, `flask` and every other WSGI server load. It starts no thread."""

from config import Config
from dop_be import create_app_or_exit

app = create_app_or_exit(Config.from_env_or_exit())
