"""The pages that people look at."""

from .pages import init_app as init_app
