"""What the books say, account by account and entry by entry, and how the wallets compare with them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from portal.db import run_transaction
from portal.domain.audit import service as audit
from portal.domain.invoices import queries as invoices
from portal.domain.ledger import checks, statements
from portal.domain.ledger import queries as ledger
from portal.domain.ledger.statements import Account
from portal.domain.merchants import queries as merchants
from portal.flows.book_names import Named, owners_of, references_of
from portal.kernel.clock import utc_now
from portal.kernel.errors import NotFound
from portal.kernel.refs import InvalidRef, from_ref, to_ref
from portal.web.access import merchant_required, user
from portal.web.balances import export
from portal.web.balances.books import books_of, held_in
from portal.web.balances.words import ACCOUNT_WORDS, OWNED, check_words, journal_words
from portal.web.filters import zone
from portal.web.paging import pager_links, parse_day, start_of, window_of

bp = Blueprint("balances", __name__, url_prefix="/balances")
bp.add_app_template_filter(ACCOUNT_WORDS.__getitem__, "account_words")
bp.add_app_template_filter(OWNED.__getitem__, "owners_words")
bp.add_app_template_filter(check_words, "check_words")
bp.add_app_template_filter(journal_words, "journal_words")


@bp.get("")
@merchant_required("viewer")
def index() -> ResponseReturnValue:
    scope: dict[str, Any] = {"merchant_id": user().merchant_id, "network": user().network}
    wallets = merchants.list_wallets(user().merchant_id, user().network)
    readiness = merchants.list_readiness(user().merchant_id, [each.id for each in wallets]) if wallets else []
    booked = ledger.wallet_balances(**scope) if wallets else {}
    return render_template(
        "balances/index.html",
        books=books_of(ledger.list_trial_balance(**scope)),
        dues=invoices.open_dues(**scope),
        check=checks.latest(**scope),
        wallets=[(wallet, held_in(wallet, readiness, booked)) for wallet in wallets],
    )


@bp.get("/trial-balance.csv")
@merchant_required("accountant", step_up=True)
def trial_balance() -> ResponseReturnValue:
    merchant_id, now = user().merchant_id, utc_now()
    run_transaction(lambda: audit.record("balances.exported", merchant_id=merchant_id, at=now))
    text = export.trial_balance(merchant_id=merchant_id, network=user().network)
    return _file(text, f"trial-balance-{now:%Y-%m-%d}.csv")


@bp.get("/accounts")
@merchant_required("viewer")
def accounts() -> ResponseReturnValue:
    """List the accounts of one kind and asset by whose they are."""
    kind, asset = request.args.get("kind", ""), request.args.get("asset", "")
    with_settled = request.args.get("all") == "1"
    if kind not in OWNED:
        raise NotFound("No such accounts.")
    page = statements.list_accounts(
        merchant_id=user().merchant_id, network=user().network, kind=kind, asset=asset,
        with_settled=with_settled, after=_place(request.args.get("after")),
    )  # fmt: skip
    return render_template(
        "balances/accounts.html",
        page=page,
        owners=owners_of(merchant_id=user().merchant_id, accounts=page.accounts),
        kind=kind,
        asset_name=asset,
        with_settled=with_settled,
        older=_older(kind, asset, page),
    )


@bp.get("/<ref>")
@merchant_required("viewer")
def show(ref: str) -> ResponseReturnValue:
    account, (since, until, kept) = _account(ref), _dates()
    window = window_of(request.args)
    page = statements.list_entries(
        merchant_id=user().merchant_id, account_id=account.id, since=since, until=until, after=window.after,
        before=window.before,
    )  # fmt: skip
    first = (page.entries[0].occurred_at, page.entries[0].id) if page.entries else None
    return render_template(
        "balances/show.html",
        account=account,
        owner=_owner(account),
        page=page,
        named=references_of(merchant_id=user().merchant_id, entries=page.entries),
        kept=kept,
        pager=pager_links("balances.show", {"ref": ref, **kept}, first, page),
    )


@bp.get("/<ref>.csv")
@merchant_required("accountant", step_up=True)
def statement(ref: str) -> ResponseReturnValue:
    account, (since, until, kept) = _account(ref), _dates()
    merchant_id, now = user().merchant_id, utc_now()
    run_transaction(
        lambda: audit.record(
            "statement.exported", merchant_id=merchant_id, object_ref=ref, after=kept, at=now
        )
    )
    pieces = export.statement(merchant_id=merchant_id, account=account, since=since, until=until)
    return _file(stream_with_context(pieces), export.file_name(account))


@bp.app_template_global()
def balance_url(named: Named) -> str:
    """Return the page of whatever an entry or an account is about."""
    match named.kind:
        case "wallet":
            return url_for("settings.wallets")
        case "client":
            return url_for("clients.show", ref=named.ref)
        case "invoice":
            return url_for("invoices.show", ref=named.ref)
        case "refund":
            return url_for("refunds.show", ref=named.ref)
    return url_for("payments.show", ref=named.ref)


@bp.app_template_global()
def difference_url(ref: str) -> str:
    """Return the page of a row that the nightly look names, or nothing where it has none."""
    pages = {"inv": "invoices.show", "pay": "payments.show", "acc": "balances.show", "rfd": "refunds.show"}
    endpoint = pages.get(ref.partition("_")[0])
    return url_for(endpoint, ref=ref) if endpoint else ""


def _account(ref: str) -> Account:
    return statements.get_account(
        merchant_id=user().merchant_id, network=user().network, account_id=from_ref("acc", ref)
    )


def _owner(account: Account) -> Named | None:
    if account.owner_id is None:
        return None
    return owners_of(merchant_id=user().merchant_id, accounts=[account]).get(account.owner_id)


def _older(kind: str, asset: str, page: statements.AccountPage) -> str | None:
    if page.next_after is None:
        return None
    after = to_ref("acc", page.next_after)
    return url_for("balances.accounts", kind=kind, asset=asset, after=after, all=request.args.get("all"))


def _dates() -> tuple[datetime | None, datetime | None, dict[str, str]]:
    """Return since, until and what of it goes back into links; what makes no sense is left out."""
    first, last = parse_day(request.args.get("from")), parse_day(request.args.get("to"))
    kept = {name: day.isoformat() for name, day in (("from", first), ("to", last)) if day is not None}
    since = None if first is None else start_of(first, zone())
    until = None if last is None else start_of(last + timedelta(days=1), zone())
    return since, until, kept


def _place(text: str | None) -> UUID | None:
    try:
        return None if text is None else from_ref("acc", text)
    except InvalidRef:
        return None


def _file(content: Any, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, mimetype="text/csv", headers=headers)
