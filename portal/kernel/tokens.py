"""Secrets and references from the operating system's CSPRNG."""

import hashlib
import hmac
import secrets

from stdnum import damm

# 11 random digits and a check digit: short enough to type, 9 * 10**10 values before the digits must grow.
PAY_REF_RANDOM_DIGITS = 11
PAY_REF_MIN_DIGITS = 12
PAY_REF_MAX_DIGITS = 15
CHECKOUT_TOKEN_BITS = 160


def new_token(bits: int) -> str:
    """Return `bits` random bits as URL-safe text."""
    assert bits % 8 == 0 and bits >= 128, bits
    return secrets.token_urlsafe(bits // 8)


def new_numeric_code(digits: int) -> str:
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def new_pay_ref() -> int:
    """Return a payment reference: 12 digits, the last one a Damm check digit.

    The same number serves as MEMO_ID, as the digits of MEMO_TEXT and as a muxed id; it stays below 2**53
    because wallets written in JavaScript read ids as doubles. Damm's code finds every single wrong digit
    and every swap of neighbours.
    """
    low = 10 ** (PAY_REF_RANDOM_DIGITS - 1)
    body = str(low + secrets.randbelow(9 * low))
    return int(body + damm.calc_check_digit(body))


def pay_ref_is_valid(number: int) -> bool:
    text = str(number)
    return PAY_REF_MIN_DIGITS <= len(text) <= PAY_REF_MAX_DIGITS and damm.is_valid(text)


def digest(secret: str) -> str:
    """Return the SHA-256 of a random secret of 128 bits or more: no salt is needed for such."""
    return hashlib.sha256(secret.encode()).hexdigest()


def keyed_digest(pepper: str, secret: str) -> str:
    return hmac.new(pepper.encode(), secret.encode(), hashlib.sha256).hexdigest()


def same(left: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
