"""Issue an invoice: the wallet's readiness is settled before the transaction, the rest happens in it."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from portal.db import run_transaction
from portal.domain.clients import queries as clients
from portal.domain.clients.models import Client
from portal.domain.invoices import queries, service
from portal.domain.invoices.announcements import WrittenInvoice
from portal.domain.invoices.rules import Draft, totals
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants import queries as merchants
from portal.domain.merchants.models import Wallet
from portal.flows.check_readiness import check_readiness
from portal.kernel.errors import Conflict

Finish = Callable[[WrittenInvoice], None]


class WalletMissing(Conflict):
    code = "wallet_missing"


class WalletNotReady(Conflict):
    code = "wallet_not_ready"


def create_invoice(
    *,
    merchant_id: UUID,
    network: str,
    draft: Draft,
    now: datetime,
    issue: bool = False,
    finish: Finish | None = None,
    prepare: Callable[[], None] | None = None,
    make_client: Callable[[], Client] | None = None,
) -> WrittenInvoice:
    """Write a draft, or an issued invoice, in one transaction.

    `prepare` runs first and `finish` last inside the transaction, for what must be stored with the effect
    (idempotency); `make_client` writes a client given inline, in place of the draft's `client_id`.

    :raises WalletMissing: when it is to be issued and there is no proven wallet.
    :raises WalletNotReady: when the wallet is known to be unable to receive the asset.
    """
    terms = None
    if issue:
        amount = totals(draft.items, draft.discounts, draft.taxes).total
        terms = settle_terms(
            merchant_id=merchant_id, network=network, asset=draft.asset, amount=amount, now=now
        )

    def work() -> WrittenInvoice:
        if prepare is not None:
            prepare()
        merchant = merchants.get_merchant(merchant_id=merchant_id)
        client = None if make_client is None else make_client()
        if client is None and draft.client_id is not None:
            client = clients.get(merchant_id=merchant_id, client_id=draft.client_id)
        written = service.create(
            merchant=merchant, network=network, draft=draft, client=client, terms=terms, now=now
        )
        if finish is not None:
            finish(written)
        return written

    return run_transaction(work)


def issue_invoice(
    *,
    merchant_id: UUID,
    network: str,
    invoice_id: UUID,
    now: datetime,
    finish: Finish | None = None,
    prepare: Callable[[], None] | None = None,
) -> WrittenInvoice:
    """Open a draft for payment; the hooks are those of `create_invoice`.

    :raises InvoiceNotFound: if this merchant has no such invoice.
    :raises InvoiceNotDraft: if it was issued before.
    """
    invoice = queries.get(merchant_id=merchant_id, invoice_id=invoice_id)
    terms = settle_terms(
        merchant_id=merchant_id, network=network, asset=invoice.asset, amount=invoice.amount, now=now
    )

    def work() -> WrittenInvoice:
        if prepare is not None:
            prepare()
        merchant = merchants.get_merchant(merchant_id=merchant_id)
        written = service.issue(merchant=merchant, invoice_id=invoice_id, terms=terms, now=now)
        if finish is not None:
            finish(written)
        return written

    return run_transaction(work)


def settle_terms(
    *, merchant_id: UUID, network: str, asset: str, amount: Decimal, now: datetime
) -> IssueTerms:
    """Return where a new invoice over `amount` is paid to; may ask Horizon for up to a second.

    Call it outside any transaction.

    :raises WalletMissing: when there is no proven wallet.
    :raises WalletNotReady: when it is known to have no room for all that would then be due.
    """
    wallet: Wallet | None = merchants.default_wallet(merchant_id=merchant_id, network=network)
    if wallet is None:
        raise WalletMissing("Prove a receiving wallet before you issue an invoice.")
    readiness = check_readiness(wallet=wallet, asset=asset, amount=amount, now=now)
    if readiness.ready is False:
        raise WalletNotReady(readiness.detail)
    return IssueTerms(wallet, flags=() if readiness.ready else ("readiness_unknown",))
