"""The database's history. A package, so that Alembic's processes find what stands beside env.py."""
