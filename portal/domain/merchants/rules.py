"""Pure rules of people, sessions and wallets: who may do what, how long things live, what input is good."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from email_validator import EmailNotValidError, validate_email

from portal.kernel.addresses import demux, is_account
from portal.kernel.chain import AccountState
from portal.kernel.errors import Conflict, Invalid
from portal.kernel.money import from_stroops

ROLES = ("owner", "admin", "accountant", "seller", "viewer")

# Session ages of design.md, section 11.
SESSION_IDLE = timedelta(hours=12)
SESSION_ABSOLUTE = timedelta(days=30)
STEP_UP_FRESH = timedelta(minutes=10)
TOUCH_EVERY = timedelta(seconds=60)

CODE_DIGITS = 6
CODE_LIFETIME = timedelta(minutes=5)
CODE_ATTEMPTS_MAX = 5
# Enough for a person whose mail is slow, too few to fill somebody's inbox.
CODES_PER_HOUR_MAX = 6
RESET_LIFETIME = timedelta(minutes=30)
CHALLENGE_LIFETIME = timedelta(minutes=15)

PASSWORD_MIN = 10
# Argon2 reads any length; the limit keeps a megabyte of password from being hashed.
PASSWORD_MAX = 200
NAME_MAX = 120
EMAIL_MAX = 254
READINESS_FRESH = timedelta(hours=2)
CHECK_EVERY = timedelta(hours=1)
ZERO = Decimal(0)
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class EmailInvalid(Invalid):
    code = "email_invalid"


class PasswordWeak(Invalid):
    code = "password_weak"


class TextInvalid(Invalid):
    code = "text_invalid"


class TimeZoneUnknown(Invalid):
    code = "time_zone_unknown"


class AddressInvalid(Invalid):
    code = "address_invalid"


class SecretKeyPasted(AddressInvalid):
    """A secret key stood where an address belongs; whoever shows the form again must not repeat it."""

    code = "secret_key_pasted"


class WalletTaken(Conflict):
    code = "wallet_taken"


@dataclass(frozen=True, slots=True)
class Issuer:
    """What an issuer's account says of all it issues."""

    flags: tuple[str, ...] = ()
    """Of auth_required, auth_revocable, auth_clawback_enabled those that are set."""
    home_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a wallet can receive what is due to it in an asset; amounts in units, None where they do not apply."""

    asset: str
    ready: bool
    reason: str | None
    """None when ready, else no_account, no_trustline, not_authorised or limit."""
    trust_limit: Decimal | None = None
    balance: Decimal | None = None
    open_due: Decimal = ZERO
    headroom: Decimal | None = None
    """What may still arrive; None without a bound."""
    clawback: bool = False
    """Whether the issuer can take this holding back."""
    issuer: Issuer | None = None
    """None when the issuer was not asked."""


def clean_email(text: str) -> str:
    """Return the address with its domain in ASCII; its lower-cased form is the sign-in name.

    :raises EmailInvalid: for anything that no mail server takes, and for local parts beyond ASCII, which
        PostgreSQL and Python lower-case differently.
    """
    try:
        checked = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as refusal:
        raise EmailInvalid("Write a full email address, such as rina@kopi.example.") from refusal
    address = f"{checked.local_part}@{checked.ascii_domain}"
    if len(address) > EMAIL_MAX:
        raise EmailInvalid("This email address is too long.")
    return address


def clean_text(text: str, *, what: str, longest: int = NAME_MAX) -> str:
    """Return a one-line text without surrounding space, in NFC.

    :raises TextInvalid: when it is empty, too long or holds control characters.
    """
    cleaned = unicodedata.normalize("NFC", text).strip()
    if not cleaned:
        raise TextInvalid(f"Enter {what}.")
    if len(cleaned) > longest:
        raise TextInvalid(f"Keep {what} within {longest} characters.")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in cleaned):
        raise TextInvalid(f"Use plain characters in {what}.")
    return cleaned


def check_password(password: str, *, email: str) -> None:
    """Refuse what is guessed first; length is what counts, so no character classes are asked for.

    :raises PasswordWeak: with a sentence that says how to mend it.
    """
    if len(password) < PASSWORD_MIN:
        raise PasswordWeak(f"Use at least {PASSWORD_MIN} characters.")
    if len(password) > PASSWORD_MAX:
        raise PasswordWeak(f"Use at most {PASSWORD_MAX} characters.")
    if password.lower() in {email.lower(), email.lower().partition("@")[0]} or len(set(password)) < 4:
        raise PasswordWeak("This password is too easy to guess.")


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    """Return the zone names people choose from: regions and UTC, without the database's old aliases."""
    regions = ("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/")
    return ("UTC", *sorted(name for name in available_timezones() if name.startswith((*regions, "Pacific/"))))


def clean_time_zone(text: str) -> str:
    if text not in time_zones():
        raise TimeZoneUnknown("Choose a time zone from the list.")
    return text


def clean_wallet_address(text: str) -> str:
    """Return the G... account that a pasted address names; an M... address names the account below it.

    :raises SecretKeyPasted: when it is, or looks like, a secret key.
    :raises AddressInvalid: for a typo and for what cannot receive classic payments.
    """
    pasted = "".join(text.split())
    if pasted[:1].upper() == "S" and 40 <= len(pasted) <= 80 and pasted.isalnum():
        raise SecretKeyPasted(
            "That is a secret key. Nobody needs it, not even Tagih: we did not keep it. If you pasted it on a"
            " page you do not trust, move your funds. Paste the public address, which begins with G."
        )
    if not pasted:
        raise AddressInvalid("Paste the address of your wallet. It begins with G.")
    if pasted.startswith("C") and len(pasted) == 56:
        raise AddressInvalid("This is a contract. Use an account address, which begins with G.")
    if not pasted.startswith(("G", "M")) or not pasted.isascii():
        raise AddressInvalid("A Stellar address begins with G (or M) and has 56 (or 69) characters.")
    try:
        account, _ = demux(pasted)
    except (ValueError, TypeError) as refusal:
        raise AddressInvalid("This address has a typo. Copy it again from your wallet.") from refusal
    return account


def session_is_alive(*, last_seen_at: datetime, expires_at: datetime, now: datetime) -> bool:
    return now < expires_at and now - last_seen_at < SESSION_IDLE


def readiness_of(
    state: AccountState | None, asset: str, *, due: Decimal = ZERO, issuer: Issuer | None = None
) -> Readiness:
    """Say whether an account can receive `due` more of `asset`, in its units, from its state on the chain."""
    known: dict[str, Any] = {"open_due": due, "issuer": issuer}
    if state is None:
        return Readiness(asset, False, "no_account", **known)
    holding = state.holding(asset)
    if holding is None:
        # The issuer of an asset takes it back without a trustline.
        issued_here = asset.partition(":")[2] == state.address
        return Readiness(asset, issued_here, None if issued_here else "no_trustline", **known)
    known |= {"balance": from_stroops(holding.balance_stroops), "clawback": holding.clawback_enabled}
    if holding.limit_stroops is not None:
        room = holding.limit_stroops - holding.balance_stroops - holding.buying_liabilities_stroops
        known |= {"trust_limit": from_stroops(holding.limit_stroops), "headroom": from_stroops(max(room, 0))}
    if not holding.authorized:
        return Readiness(asset, False, "not_authorised", **known)
    is_ready = has_room(known.get("headroom"), due)
    return Readiness(asset, is_ready, None if is_ready else "limit", **known)


def has_room(headroom: Decimal | None, due: Decimal) -> bool:
    """Say whether `due` more may arrive; a holding that is full takes nothing, even where nothing is due."""
    return headroom is None or (headroom > 0 and headroom >= due)


def issuer_of(state: AccountState | None) -> Issuer:
    """Return what an issuer's account says; one that is gone can do nothing any more."""
    if state is None:
        return Issuer()
    flags = {
        "auth_required": state.auth_required,
        "auth_revocable": state.auth_revocable,
        "auth_clawback_enabled": state.auth_clawback_enabled,
    }
    # An issuer writes there what it likes; only a plain host name is worth showing.
    domain = state.home_domain if _DOMAIN.fullmatch(state.home_domain or "") else None
    return Issuer(tuple(name for name, is_set in flags.items() if is_set), domain)


def signing_weights(state: AccountState | None, address: str) -> tuple[dict[str, int], int]:
    """Return who may prove control of `address` and the weight needed (its medium threshold).

    An account that does not exist yet is proven by its own key. Signers of weight 0 cannot sign, even where
    the threshold is 0, and hash or pre-authorised signers have no key to sign a challenge with.
    """
    if state is None:
        return {address: 1}, 1
    weights = {
        signer.key: signer.weight for signer in state.signers if signer.weight > 0 and is_account(signer.key)
    }
    return weights, max(1, state.medium_threshold)
