"""The switch, the planned windows, and what they put in force."""

from .service import init_app as init_app
