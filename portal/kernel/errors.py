"""Families of anticipated failures; one table per surface turns a family into a status.

A module defines its own subclasses beside the function that raises them and gives each a stable
`code`, which API clients and tests may rely on.
"""


class TagihError(Exception):
    """Base of every anticipated failure; `detail` is a sentence a person can act on."""

    code = "error"

    def __init__(self, detail: str = "", *, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class Invalid(TagihError):
    """The input itself is wrong: 422, beside the field that `pointer` (RFC 6901) names."""

    code = "invalid"


class NotFound(TagihError):
    """No such thing for this caller: 404, whether or not it exists for somebody else."""

    code = "not_found"


class Conflict(TagihError):
    """The input is fine but the state of the thing refuses it: 409."""

    code = "conflict"


class Denied(TagihError):
    """The caller is known and may not do this: 403."""

    code = "forbidden"


class Unauthenticated(TagihError):
    """Nobody is signed in, or the credential is not good: 401."""

    code = "unauthenticated"


class Limited(TagihError):
    """Too many attempts: 429; `retry_after_seconds` says when to come back."""

    code = "rate_limited"

    def __init__(self, detail: str = "", *, retry_after_seconds: int = 60) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(TagihError):
    """A dependency does not answer; nothing was lost and a retry is welcome: 503."""

    code = "unavailable"
