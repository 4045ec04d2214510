"""Every token: what it may do, and how it is made and revoked."""

from .service import init_app as init_app
