"""The row of settings."""

from .service import init_app as init_app
