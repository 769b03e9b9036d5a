"""Password hashes: argon2id with 46 MiB, one pass, one lane (OWASP's first choice, design.md section 13)."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MEMORY_KIB = 46 * 1024
# Whoever signs in with an unknown name is checked against this, so that time tells nothing.
_NOBODY = "nobody signs in with this password"


@lru_cache(maxsize=1)
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher, Type

    return PasswordHasher(time_cost=1, memory_cost=MEMORY_KIB, parallelism=1, type=Type.ID)


@lru_cache(maxsize=1)
def _hash_of_nobody() -> str:
    return _hasher().hash(_NOBODY)


def hash_password(password: str) -> str:
    return _hasher().hash(password)


def password_matches(password_hash: str | None, password: str) -> bool:
    """Compare in the time of a full hash, also when there is none to compare with."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(password_hash or _hash_of_nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Say whether the hash was made with other parameters than today's."""
    return _hasher().check_needs_rehash(password_hash)
