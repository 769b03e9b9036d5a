"""Writes of clients: create, update, archive and bring back."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from portal.db import constraint_of
from portal.domain.audit import service as audit
from portal.domain.clients import queries
from portal.domain.clients.models import Client
from portal.domain.clients.rules import Details, client_document, search_text_of
from portal.domain.events import service as events
from portal.extensions import db, site
from portal.kernel.errors import Conflict
from portal.kernel.refs import new_id, to_ref

EMAIL_UNIQUE = "uq_clients_merchant_id_email_lower"
# What an audit row keeps of a client: enough to see what changed, no notes and no addresses.
AUDITED = ("name", "email", "company", "archived_at")


class ClientExists(Conflict):
    """`existing_ref` names the client that has the address, so that a page can lead there."""

    code = "client_exists"

    def __init__(self, existing_ref: str) -> None:
        super().__init__(
            f"A client with this email address exists already: {existing_ref}.", pointer="/email"
        )
        self.existing_ref = existing_ref


def create(*, merchant_id: UUID, details: Details, now: datetime) -> Client:
    """Write a new client and announce it; the caller commits.

    :raises ClientExists: when another client of this merchant has the email address.
    """
    client = Client(
        id=new_id(), merchant_id=merchant_id, wallet_addresses=[], shipping_address={}, tags=[], metadata_={},
        created_at=now,
    )  # fmt: skip
    _save(client, details, now)
    _announce("client.created", client, version=1, before=None, now=now)
    return client


def update(*, merchant_id: UUID, client_id: UUID, details: Details, now: datetime) -> Client:
    """Replace what is written of a client; issued invoices keep their snapshot of it.

    :raises ClientNotFound: if this merchant has no such client.
    :raises ClientExists: when another client of this merchant has the email address.
    """
    client = queries.get_for_update(merchant_id=merchant_id, client_id=client_id)
    before = _audited(client)
    _save(client, details, now)
    version = queries.next_version(client_id=client_id)
    _announce("client.updated", client, version=version, before=before, now=now)
    return client


def archive(*, merchant_id: UUID, client_id: UUID, now: datetime) -> Client:
    """Take a client out of lists and choices; nothing of it is lost. Safe twice."""
    return _set_archived(merchant_id, client_id, now, archived=True)


def restore(*, merchant_id: UUID, client_id: UUID, now: datetime) -> Client:
    """Bring an archived client back. Safe twice."""
    return _set_archived(merchant_id, client_id, now, archived=False)


def _set_archived(merchant_id: UUID, client_id: UUID, now: datetime, *, archived: bool) -> Client:
    client = queries.get_for_update(merchant_id=merchant_id, client_id=client_id)
    if (client.archived_at is not None) == archived:
        return client
    before = _audited(client)
    client.archived_at = now if archived else None
    client.updated_at = now
    db.session.flush()
    event_type = "client.archived" if archived else "client.restored"
    _announce(event_type, client, version=queries.next_version(client_id=client_id), before=before, now=now)
    return client


def _write(client: Client, details: Details, now: datetime) -> None:
    client.name = details.name
    client.email = details.email
    client.email_lower = details.email and details.email.lower()
    client.company = details.company
    client.tax_id = details.tax_id
    client.billing_address = dict(details.billing_address)
    client.notes = details.notes
    client.locale = details.locale
    client.terms_days = details.terms_days
    client.search_text = search_text_of(details)
    client.updated_at = now


def _save(client: Client, details: Details, now: datetime) -> None:
    """Send the row; the unique key decides whether the email address is free, also among concurrent writers."""
    merchant_id, email = client.merchant_id, details.email
    try:
        # The row changes inside the savepoint: opening one sends what is pending already.
        with db.session.begin_nested():
            _write(client, details, now)
            db.session.add(client)
            db.session.flush()
    except IntegrityError as failure:
        if constraint_of(failure) != EMAIL_UNIQUE or email is None:
            raise
        existing = queries.find_by_email(merchant_id=merchant_id, email=email)
        assert existing is not None, "whoever took the address has committed"
        raise ClientExists(to_ref("cli", existing.id)) from failure


def _announce(
    event_type: str, client: Client, *, version: int, before: dict[str, Any] | None, now: datetime
) -> None:
    events.record(
        event_type,
        merchant_id=client.merchant_id,
        # Clients are shared by both networks; their events go to the feed of the network at hand.
        network=site.network,
        aggregate_id=client.id,
        version=version,
        payload=client_document(client),
        at=now,
    )
    audit.record(
        event_type,
        merchant_id=client.merchant_id,
        object_ref=to_ref("cli", client.id),
        before=before,
        after=_audited(client),
        at=now,
    )


def _audited(client: Client) -> dict[str, Any]:
    document = client_document(client)
    return {name: document[name] for name in AUDITED}
