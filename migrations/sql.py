"""SQL that several revisions share, and expressions that mean the same on both databases.

Revisions import it as `from migrations import sql`. Those that are out rely on it: add to it, and change nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

# Some platforms keep extensions in a schema of their own, where an unqualified name is not found. A default binds to
# the function itself, so the path matters for this transaction alone.
FIND_EXTENSION = """
SELECT set_config(
    'search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(nspname)), true
)
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'uuid-ossp'
"""


def find_uuid_ossp(op: Any) -> None:
    """Make `new_uuid()` found for the rest of this revision, whatever schema the extension is in."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(FIND_EXTENSION)


class new_uuid(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function it is
    """A random UUID made by the database, as a server default; `find_uuid_ossp(op)` goes before."""

    type = sa.Uuid()
    name = "new_uuid"
    inherit_cache = True


@compiles(new_uuid, "postgresql")
def _new_uuid_postgresql(element: new_uuid, compiler: Any, **kw: Any) -> str:
    return "uuid_generate_v4()"


@compiles(new_uuid, "sqlite")
def _new_uuid_sqlite(element: new_uuid, compiler: Any, **kw: Any) -> str:
    # 32 hex digits, as SQLAlchemy's Uuid stores them there, with the version and variant bits of RFC 9562 section 5.4
    return (
        "(lower(hex(randomblob(6))) || '4' || substr(lower(hex(randomblob(2))), 2)"
        " || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2))"
    )
