"""Admits a request by its API key: the key's merchant is the tenant, the key's ref the actor.

Nothing of a browser counts here: no session, no cookie, hence no CSRF token.
"""

import binascii
from base64 import b64decode

from flask import Response, current_app, g, request
from sqlalchemy.exc import DBAPIError

from portal.api.v1.contract import contract_of
from portal.api.v1.limits import take_one
from portal.db import run_transaction
from portal.domain.api_keys import service as api_keys
from portal.extensions import site
from portal.kernel.actor import Actor, set_actor
from portal.kernel.clock import utc_now
from portal.kernel.errors import Denied, Unauthenticated

# Far beyond any key of ours; whoever sends more means something else.
AUTHORIZATION_MAX = 1_000


class CredentialsMissing(Unauthenticated):
    code = "credentials_missing"


class InsufficientScope(Denied):
    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This key lacks the scope {scope}.")
        self.scope = scope


class NetworkRefused(Denied):
    code = "network_refused"


class MerchantInactive(Denied):
    code = "merchant_inactive"


def admit() -> None:
    """Check the key of this request before its view runs.

    :raises Unauthenticated: without a good key.
    :raises Denied: when the key may not do this.
    :raises Limited: when it did too much of it.
    """
    assert request.endpoint is not None, "the blueprint's hooks run for its own routes"
    contract = contract_of(current_app.view_functions[request.endpoint])
    if contract.kind == "public":
        return
    secret = _secret(request.headers.get("Authorization", ""))
    # The body is taken in before the first statement: a slow sender must not hold a connection meanwhile.
    request.get_data(cache=True)
    now = utc_now()
    holder = api_keys.authenticate(secret, now)
    set_actor(
        Actor(
            holder.ref,
            ip=request.remote_addr,
            user_agent=request.headers.get("User-Agent"),
            request_id=g.get("request_id"),
        )
    )
    g.api_key = holder
    if holder.network != site.network:
        raise NetworkRefused(f"This key is for the {holder.network} network, this is the {site.network} one.")
    if holder.merchant.status in {"SUSPENDED", "CLOSED"}:
        raise MerchantInactive(f"This business is {holder.merchant.status.lower()}.")
    take_one(holder.ref, asks_network=contract.asks_network, now=now)
    for scope in contract.scopes:
        if not holder.may(scope):
            raise InsufficientScope(scope)


def note_use(response: Response) -> Response:
    """Note the key's last use once a minute, in a transaction of its own after the request's work."""
    holder: api_keys.KeyIdentity | None = g.get("api_key")
    if holder is None or not holder.is_use_due or response.status_code >= 500:
        return response
    now = utc_now()
    try:
        run_transaction(
            lambda: api_keys.record_use(
                merchant_id=holder.merchant_id, key_id=holder.key_id, ip=request.remote_addr, now=now
            )
        )
    except DBAPIError as failure:
        # The answer stands without this note; the next request of the key writes it.
        current_app.logger.warning("the use of a key could not be noted", exc_info=failure)
    return response


def _secret(header: str) -> str:
    """Return the key from `Bearer key` or from Basic, whose user part is for logs alone."""
    scheme, _, credentials = header[:AUTHORIZATION_MAX].strip().partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer" and credentials:
        return credentials
    if scheme.lower() == "basic":
        try:
            _, separator, password = b64decode(credentials, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            separator, password = "", ""
        if separator and password:
            return password
    raise CredentialsMissing("Send an API key: Authorization: Bearer tgh_...")
