"""What a superuser does for the portal, and nothing more: roles, databases and one extension.

Everything else belongs to `portal_owner`, so that row-level security holds here as it does in production.
"""

from typing import Any

import psycopg
from psycopg import sql

DATABASE = "portal"
OWNER = "portal_owner"
_ORDINARY = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION"
ROLES = {
    OWNER: _ORDINARY,
    "portal_web": _ORDINARY,
    "portal_worker": _ORDINARY,
    # A dump must hold every tenant's rows, so only this role passes by the policies, and only to read.
    "portal_backup": "LOGIN NOSUPERUSER BYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION",
}
# Two test sessions on one server must not create the same role at the same moment.
_LOCK = 7_240_112

Connection = psycopg.Connection[Any]


def ensure_roles(connection: Connection, passwords: dict[str, str]) -> None:
    """Create the four roles or bring them back to their attributes and passwords, as superuser."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for name, attributes in ROLES.items():
            # Only the verifier travels and may be logged, never the password.
            verifier = connection.pgconn.encrypt_password(
                passwords[name].encode(), name.encode(), b"scram-sha-256"
            ).decode()
            verb = "ALTER" if name in known else "CREATE"
            connection.execute(
                sql.SQL("{} ROLE {} {} PASSWORD {}").format(
                    sql.SQL(verb), sql.Identifier(name), sql.SQL(attributes), sql.Literal(verifier)
                )
            )
        connection.execute("GRANT pg_read_all_data TO portal_backup")


def ensure_database(connection: Connection, name: str, *, template: str = "template1") -> None:
    """Create a database of `portal_owner` that the four roles alone may enter; autocommit is needed.

    Rights on a database are not copied with its template, hence granted here each time.
    """
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    database = sql.Identifier(name)
    if found is None:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                database, sql.Identifier(OWNER), sql.Identifier(template)
            )
        )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
            database, sql.SQL(", ").join(sql.Identifier(role) for role in ROLES)
        )
    )


def drop_database(connection: Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def lay_floor(connection: Connection) -> None:
    """Prepare the schema of a database the superuser is connected to: its owner, rights and pg_trgm."""
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    connection.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(OWNER)))
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
