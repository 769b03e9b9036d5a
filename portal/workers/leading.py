"""One process leads at a time: an advisory lock of PostgreSQL, held by a connection kept for nothing else."""

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from portal.extensions import db

_LEAD = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_RESIGN = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


class Leadership:
    """The lead under one name; the server takes it back when the connection or its process dies."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._connection: Connection | None = None

    def is_held(self) -> bool:
        """Say whether this process leads, taking the lead when it is free.

        :raises SQLAlchemyError: when the connection died, and the lead with it.
        """
        try:
            if self._connection is not None:
                self._connection.execute(text("SELECT 1"))
                return True
            connection = db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if connection.execute(_LEAD, {"name": self._name}).scalar_one():
                self._connection = connection
                return True
            connection.close()
        except SQLAlchemyError:
            if self._connection is not None:
                self._connection.invalidate()
            self._connection = None
            raise
        return False

    def resign(self) -> None:
        if self._connection is None:
            return
        # The lock belongs to the server's session: given back to the pool, the connection would keep it.
        try:
            self._connection.execute(_RESIGN, {"name": self._name})
        finally:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
