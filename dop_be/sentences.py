"""What failures of a database mean, one sentence each, by what the database says of them.

Anyone may be shown them: they hold no address, user, password, path or SQL.
"""

from __future__ import annotations

READ_ONLY = (
    "The database is read-only: its server is a replica, or the role or database is set so; connect DATABASE_URL to the"
    " primary, or reset default_transaction_read_only."
)
NO_PRIMARY = (
    "The database is read-only: no server of DATABASE_URL that answers is the one that target_session_attrs asks for;"
    " add the primary's host, or promote a replica."
)
LOCKED = "Another session holds a lock on the settings; end its transaction, or try again when it has ended."
SLOW = (
    "The database did not finish in time, and undid what it was asked: another session holds a lock on the settings, or"
    " the server is overloaded."
)
CANCELLED = "The database server was told to cancel this, and undid it; try again."
TAKEN = "Somebody else has made one of this name at the same moment."
CONFLICT = "The database undid this, since another transaction was in its way; try again."
NOT_MIGRATED = "The database is not migrated to this release: run `flask db upgrade`."
UNRECORDED = (
    "The database records no changes, since its triggers are missing or disabled: run `flask db upgrade` or enable"
    " them. Nothing was changed."
)
NO_PRIVILEGE = (
    "The database refuses this to the role of DATABASE_URL; run deploy/grants.sql for that role, or use the role that"
    " migrates."
)
WRONG_KIND = (
    "No server of DATABASE_URL that answers is of the kind that target_session_attrs asks for; correct DATABASE_URL."
)
REFUSED = "The database server refuses the connection; the log has its words."
LOST = "The connection to the database was lost; what was asked last may have been done, so look before you try again."
NO_ANSWER = "The database does not answer in time: it is down, frozen, overloaded or unreachable."
UNSURE = "The database did not confirm in time that this is done: it may be, or may yet be; look before you try again."
UNREACHABLE = "The database does not answer: there is no way to its host from here; check DATABASE_URL and the network."
NOTHING_LISTENS = (
    "The database does not answer: nothing listens at the address in DATABASE_URL; start the server, or correct"
    " DATABASE_URL."
)
NO_SERVER_BEHIND = (
    "The database does not answer: what listens at the address in DATABASE_URL closes the connection at once, as a"
    " proxy or pooler does that reaches no server; look at the server behind it, or correct DATABASE_URL."
)
NO_HOST = (
    "The database does not answer: the host name in DATABASE_URL is unknown here; correct it, or check the resolver."
)
NOT_ACCEPTED = (
    "The database server does not accept the role and password in DATABASE_URL; correct them, there or on the server."
)
NO_ROLE = "The role in DATABASE_URL does not exist on the database server; create it, or correct DATABASE_URL."
NO_LOGIN = "The role in DATABASE_URL may not log in; run ALTER ROLE … LOGIN, or use another role."
NO_CONNECT = "The role in DATABASE_URL may not connect to its database; run GRANT CONNECT ON DATABASE … TO …."
NOT_IN_HBA = (
    "The database server's pg_hba.conf does not let the role in DATABASE_URL connect from here to this database in this"
    " way; add a line there, or correct DATABASE_URL."
)
NO_DATABASE = "The database in DATABASE_URL does not exist on its server; create it, or correct DATABASE_URL."
CLOSED = "The database accepts no connections: it is set so on its server (ALLOW_CONNECTIONS)."
OUT_OF_CONNECTIONS = (
    "The database server has no connection left for dop_be; raise max_connections or the role's limit, or run fewer"
    " workers."
)
OUT_OF_POOL = "All database connections of this process are in use; try again in a moment."
DISK_FULL = "The database server's disk is full; make room there."
OUT_OF_MEMORY = "The database server is out of memory; it needs more, or fewer sessions."
OUT_OF_RESOURCES = "The database server has reached one of its limits; its log says which."
STARTING = "The database server is starting up or recovering; try again in a moment."
STOPPING = "The database server is shutting down, or an administrator has ended this connection; try again in a moment."
CRASHED = "The database server ended this connection after a crash, and restarts; try again in a moment."
BROKEN = "The database server has a fault of its own, such as a damaged or unreadable file; its log says which."
NOT_POSTGRESQL = "What answers at the address in DATABASE_URL is no PostgreSQL server; correct DATABASE_URL."
NO_TLS = (
    "The database server does not offer TLS, which sslmode in DATABASE_URL wants; enable it there, or change sslmode."
)
CERTIFICATE = (
    "The TLS certificates do not satisfy DATABASE_URL and the database server; check sslmode, sslrootcert, sslcert, and"
    " that the certificate is for this host and has not expired."
)
TLS_FAILED = "The TLS connection to the database server could not be made; the log says why."
BAD_TEXT = "A text in the database is in no valid encoding, and cannot be read; write it anew."
INTERRUPTED = "This process is stopping, and waits for the database no more."
FAILED = "The database failed at this; the log says why."
UNREADABLE_STATE = "What is in the database cannot be read; the log says why."

# By SQLSTATE, or its class where the whole code is not listed (PostgreSQL's manual, appendix A).
BY_SQLSTATE = {
    "25006": READ_ONLY,
    "55P03": LOCKED,
    "57014": SLOW,
    "40": CONFLICT,
    "42P01": NOT_MIGRATED,
    "42703": NOT_MIGRATED,
    "42501": NO_PRIVILEGE,
    "22021": BAD_TEXT,
    "28": NOT_ACCEPTED,
    "3D000": NO_DATABASE,
    "53300": OUT_OF_CONNECTIONS,
    "53100": DISK_FULL,
    "53200": OUT_OF_MEMORY,
    "53": OUT_OF_RESOURCES,
    "57P01": STOPPING,
    "57P02": CRASHED,
    "57P03": STARTING,
    "57": STOPPING,
    "25P03": LOST,
    "08": LOST,
    "58": BROKEN,
    "XX": BROKEN,
}

# An error without a SQLSTATE, as of connecting: libpq's words in English, names left out, and the first that fits.
# What a server answered says more than that another host of the same URL did not.
BY_WORDS = {
    r"pg_hba\.conf": NOT_IN_HBA,
    r"valid client certificate|certificate authentication failed": CERTIFICATE,
    r"authentication failed|no password supplied|no such user": NOT_ACCEPTED,
    r"role \"\" does not exist": NO_ROLE,
    r"not permitted to log in": NO_LOGIN,
    r"permission denied for database": NO_CONNECT,
    r"database \"\" does not exist|no such database": NO_DATABASE,
    r"not currently accepting connections": CLOSED,
    r"too many (clients|connections)|connection slots|no more connections allowed": OUT_OF_CONNECTIONS,
    r"starting up|in recovery mode|not (yet )?accepting connections": STARTING,
    r"is shutting down|due to administrator command": STOPPING,
    r"session is read-only|server is in hot standby mode": NO_PRIMARY,
    r"session is not read-only|server is not in hot standby mode": WRONG_KIND,
    r"does not support SSL": NO_TLS,
    r"(?m)^the server \S+ port \d+: .*(closed the connection|reset by peer)|server_login_retry": NO_SERVER_BEHIND,
    r"invalid response to SSL negotiation|expected authentication request": NOT_POSTGRESQL,
    r"closed the connection|been closed unexpectedly|EOF detected|already closed|reset by peer|Broken pipe": LOST,
    r"certificate": CERTIFICATE,
    r"SSL|TLS": TLS_FAILED,
    r"FATAL": REFUSED,
    r"not answer in time|timeout expired|timed out": NO_ANSWER,
    r"No route to host|is unreachable|is down": UNREACHABLE,
    r"translate host name|Name or service not known|name resolution": NO_HOST,
    r"Connection refused|No such file or directory": NOTHING_LISTENS,
    r"^interrupted$": INTERRUPTED,
}

# By the beginning of SQLite's name of an error (its "Result and Error Codes"). On the command line and in the log {}
# is the file's path.
BY_SQLITE = {
    "SQLITE_READONLY_DBMOVED": "The SQLite file{} was moved or deleted while it was open; try again.",
    "SQLITE_READONLY": "The SQLite file{} is read-only for this user; make it and its folder writable.",
    "SQLITE_BUSY": "Another process holds a lock on the SQLite file{}; try again when it has finished.",
    "SQLITE_LOCKED": "Another process holds a lock on the SQLite file{}; try again when it has finished.",
    "SQLITE_CANTOPEN": "The SQLite file{} cannot be opened by this user; check the rights of it and its folder.",
    "SQLITE_PERM": "The SQLite file{} cannot be opened by this user; check the rights of it and its folder.",
    "SQLITE_FULL": "The disk of the SQLite file{} is full; make room there.",
    "SQLITE_CORRUPT": "The SQLite file{} is damaged; put a backup in its place.",
    "SQLITE_NOTADB": "The SQLite file{} is none, or is damaged; correct DATABASE_URL, or put a backup in its place.",
    "SQLITE_IOERR": "The SQLite file{} cannot be read or written; check its disk.",
    "SQLITE_NOMEM": "SQLite is out of memory.",
}
NO_FILE = (
    "There is no SQLite file{}; run `flask db upgrade` to make it, or set DATABASE_URL to the database that you mean."
)
