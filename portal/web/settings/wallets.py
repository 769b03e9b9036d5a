"""Receiving wallets: proven by a signed challenge, one of them the default, retired ones kept."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal.domain.merchants import queries, service
from portal.domain.merchants.models import WalletChallenge
from portal.domain.merchants.rules import AddressInvalid, SecretKeyPasted, WalletTaken
from portal.flows import prove_wallet as prove_flow
from portal.flows.check_readiness import DETAILS, check_wallet
from portal.flows.prepare_wallet import fund_in_sandbox, trust_requests
from portal.kernel.assets import asset_code
from portal.kernel.clock import utc_now
from portal.kernel.errors import Conflict, Invalid, Unavailable
from portal.web.access import merchant_required, user
from portal.web.forms import add_error
from portal.web.settings.blueprint import bp
from portal.web.settings.forms import AddressForm, SignedForm
from portal.web.settings.wallet_page import SIGNED_REASONS, asset_cards

HANDLE_LENGTH = 32


@bp.get("/wallets")
@merchant_required()
def wallets() -> ResponseReturnValue:
    someone = user()
    found = queries.list_wallets(someone.merchant_id, someone.network)
    known = queries.list_readiness(someone.merchant_id, [wallet.id for wallet in found])
    checks = {wallet.id: [each for each in known if each.wallet_id == wallet.id] for wallet in found}
    return render_template(
        "settings/wallets.html", wallets=found, checks=checks, why=_why, may_change=someone.may("admin")
    )


@bp.get("/wallets/new")
@merchant_required(role="admin", step_up=True)
def new_wallet() -> ResponseReturnValue:
    return render_template("settings/wallet_new.html", form=AddressForm())


@bp.post("/wallets")
@merchant_required(role="admin", step_up=True)
def start_proof() -> ResponseReturnValue:
    form, someone = AddressForm(), user()
    try:
        nonce_hash = prove_flow.start_proof(
            merchant_id=someone.merchant_id,
            network=someone.network,
            address_text=(form.address.data or "")[:500],
            now=utc_now(),
        )
    except (AddressInvalid, WalletTaken) as refusal:
        if isinstance(refusal, SecretKeyPasted):
            # The page must not carry the key back, neither in the field nor in the browser's history of it.
            form.address.data = ""
        add_error(form.address, refusal)
        return render_template("settings/wallet_new.html", form=form), 422
    return redirect(url_for(".prove", handle=nonce_hash[:HANDLE_LENGTH]), 303)


@bp.get("/wallets/prove/<handle>")
@merchant_required(role="admin", step_up=True)
def prove(handle: str) -> ResponseReturnValue:
    challenge = _challenge(handle)
    return render_template("settings/wallet_prove.html", form=SignedForm(), challenge=challenge)


@bp.post("/wallets/prove/<handle>")
@merchant_required(role="admin", step_up=True)
def finish_proof(handle: str) -> ResponseReturnValue:
    form, someone, challenge = SignedForm(), user(), _challenge(handle)
    if not form.validate_on_submit():
        return render_template("settings/wallet_prove.html", form=form, challenge=challenge), 422
    try:
        wallet = prove_flow.prove_wallet(
            merchant_id=someone.merchant_id,
            network=someone.network,
            signed_xdr=form.signed_xdr.data,
            expected_address=challenge.address,
            now=utc_now(),
        )
    except (Invalid, Conflict, Unavailable) as refusal:
        add_error(form.signed_xdr, refusal)
        status = 503 if isinstance(refusal, Unavailable) else 422
        return render_template("settings/wallet_prove.html", form=form, challenge=challenge), status
    _tell(wallet.address, "added")
    flash("Your wallet is proven.", "success")
    return redirect(url_for(".wallets"), 303)


@bp.post("/wallets/demo")
@merchant_required(role="admin", step_up=True)
def demo_wallet() -> ResponseReturnValue:
    """Answer with the page itself: the secret is shown once and stored nowhere, so no redirect can carry it."""
    someone = user()
    demo = prove_flow.use_demo_wallet(merchant_id=someone.merchant_id, network=someone.network, now=utc_now())
    _tell(demo.wallet.address, "added")
    return render_template("settings/wallet_demo.html", wallet=demo.wallet, secret=demo.secret), 201


@bp.post("/wallets/<address>/default")
@merchant_required(role="admin", step_up=True)
def make_default(address: str) -> ResponseReturnValue:
    someone, now = user(), utc_now()
    changed = prove_flow.change_wallet(
        merchant_id=someone.merchant_id,
        change=lambda: service.make_default(
            merchant_id=someone.merchant_id, network=someone.network, address=address, now=now
        ),
        what="made the default",
        address=address,
        actor=someone.email,
        now=now,
    )
    if changed:
        flash("New invoices are paid to this wallet. Issued ones keep theirs.", "success")
    return redirect(url_for(".wallets"), 303)


@bp.post("/wallets/<address>/retire")
@merchant_required(role="admin", step_up=True)
def retire(address: str) -> ResponseReturnValue:
    someone, now = user(), utc_now()
    try:
        prove_flow.change_wallet(
            merchant_id=someone.merchant_id,
            change=lambda: service.retire(
                merchant_id=someone.merchant_id, network=someone.network, address=address, now=now
            ),
            what="retired",
            address=address,
            actor=someone.email,
            now=now,
        )
        flash("The wallet is retired. Money that still reaches it is recorded.", "success")
    except service.WalletIsDefault as refusal:
        flash(refusal.detail, "error")
    return redirect(url_for(".wallets"), 303)


@bp.get("/wallets/<address>")
@merchant_required()
def wallet(address: str) -> ResponseReturnValue:
    someone = user()
    found = queries.get_wallet(someone.merchant_id, someone.network, address)
    rows = queries.list_readiness(someone.merchant_id, [found.id])
    asked = [row.asset for row in rows if row.reason in SIGNED_REASONS]
    requests = trust_requests(wallet=found, assets=asked, now=utc_now())
    cards = asset_cards(found, rows, requests)
    troubles = [card for card in cards if not card.ready]
    may_change = someone.may("admin")
    return render_template(
        "settings/wallet.html", wallet=found, cards=cards, troubles=troubles, may_change=may_change
    )


@bp.post("/wallets/<address>/fund")
@merchant_required(role="admin")
def fund(address: str) -> ResponseReturnValue:
    someone = user()
    found = queries.get_wallet(someone.merchant_id, someone.network, address)
    try:
        fund_in_sandbox(wallet=found, now=utc_now())
        flash("The account has 10,000 XLM of play money.", "success")
    except Unavailable as refusal:
        flash(refusal.detail or "The sandbox does not answer right now.", "error")
    return redirect(url_for(".wallet", address=address), 303)


@bp.post("/wallets/<address>/check")
@merchant_required()
def check(address: str) -> ResponseReturnValue:
    someone = user()
    wallet = queries.get_wallet(someone.merchant_id, someone.network, address)
    try:
        check_wallet(wallet=wallet, now=utc_now())
        flash("Checked with the network just now.", "success")
    except Unavailable:
        flash("The network does not answer right now. We keep what we knew.", "error")
    if request.args.get("back") == "wallet":
        return redirect(url_for(".wallet", address=address), 303)
    return redirect(url_for(".wallets"), 303)


def _challenge(handle: str) -> WalletChallenge:
    if len(handle) != HANDLE_LENGTH:
        raise queries.ChallengeNotFound("No such challenge.")
    return queries.get_open_challenge(user().merchant_id, handle, now=utc_now())


def _tell(address: str, what: str) -> None:
    someone = user()
    prove_flow.tell_owners(
        merchant_id=someone.merchant_id, what=what, address=address, actor=someone.email, now=utc_now()
    )


def _why(reason: str, asset: str) -> str:
    return DETAILS.get(reason, reason).format(code=asset_code(asset))
