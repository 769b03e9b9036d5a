"""The wallet page on the sandbox's own port: a visitor gets a funded account and pays payment links.

`/wallet?uri=<percent-encoded web+stellar:pay link>&return=<http(s) URL of the checkout>` opens it on a payment.
Every action is a plain form, so all of it works without JavaScript.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import (
    Blueprint,
    Response,
    make_response,
    redirect,
    render_template,
    request,
    send_from_directory,
)
from flask.typing import ResponseReturnValue
from stellar_sdk import Keypair
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as BaseResponse

from portal.kernel.assets import asset_code
from portal.kernel.errors import Invalid
from portal.kernel.money import display, parse_amount
from portal.kernel.tokens import new_token
from portal.sandbox import payment_links, wallet
from portal.sandbox.ledger import TransactionRefused
from portal.sandbox.payment_links import BadPaymentLink, PaymentLink
from portal.sandbox.submission_api import settled
from portal.sandbox.transaction_links import is_transaction_link, read_transaction_link
from portal.sandbox.web_context import sandbox

bp = Blueprint("wallet", __name__)
COOKIE = "sandbox_wallet"
COOKIE_SECONDS = 90 * 86_400
_RETURN_CHARACTERS_MAX = 2_000
_ASSETS = {"sandbox.css": "css", "sandbox-wallet.js": "js", "favicon.svg": "icons"}
_STATIC = Path(__file__).resolve().parents[2] / "static"
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'nonce-{nonce}'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def _return_url() -> str | None:
    """Return the checkout's address when it is an http(s) URL; anything else (javascript:, say) is dropped."""
    url = request.values.get("return", "")
    parts = urlsplit(url)
    good = parts.scheme in ("http", "https") and parts.netloc and len(url) <= _RETURN_CHARACTERS_MAX
    return url if good else None


def _visitor() -> Keypair | None:
    return wallet.keypair_of(request.cookies.get(COOKIE))


def _back(path: str = "/wallet", **more: str) -> BaseResponse:
    kept = {"uri": request.values.get("uri", ""), "return": _return_url() or ""} | more
    query = urlencode({name: value for name, value in kept.items() if value})
    return redirect(f"{path}?{query}" if query else path, 303)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    back, nonce = _return_url(), new_token(128)
    page = render_template(
        f"sandbox/{template}",
        nonce=nonce,
        return_url=back,
        return_host=urlsplit(back).netloc if back else None,
        uri=request.values.get("uri", ""),
        passphrase=sandbox().ledger.passphrase,
        **values,
    )
    answer = make_response(page, status)
    answer.headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _wallet_page(status: int = 200, error: str | None = None) -> Response:
    ledger = sandbox().ledger
    visitor = _visitor()
    held = [] if visitor is None else wallet.holdings(ledger, visitor.public_key)
    link, link_error = _link()
    trusted = {holding.asset for holding in held}
    return _page(
        "wallet.html",
        status,
        address=visitor.public_key if visitor and held else None,
        holdings=held,
        test_codes=list(ledger.market.assets),
        choices=[("native", "XLM"), *((asset, code) for code, asset in ledger.market.assets.items())],
        trusted=trusted,
        link=link,
        link_asset_code=link and asset_code(link.asset),
        link_amount=link and link.amount and display(link.amount),
        offers=wallet.offers(ledger, held, link) if link else [],
        error=error or link_error,
        typed=request.form,
        memo_types=payment_links.MEMO_TYPES,
    )


def _link() -> tuple[PaymentLink | None, str | None]:
    uri = request.values.get("uri", "")
    if not uri:
        return None, None
    try:
        return payment_links.read_link(uri, sandbox().ledger.passphrase), None
    except BadPaymentLink as bad:
        return None, bad.detail


@bp.get("/wallet")
def show() -> ResponseReturnValue:
    if is_transaction_link(request.args.get("uri", "")):
        return _signing_page()
    return _wallet_page()


def _signing_page(status: int = 200, error: str | None = None) -> Response:
    """Show a transaction that somebody asks to sign; a link that cannot be read leads to the wallet itself."""
    try:
        link = read_transaction_link(request.values.get("uri", ""), sandbox().ledger.passphrase)
    except BadPaymentLink as bad:
        return _wallet_page(status, bad.detail)
    visitor = _visitor()
    is_own = visitor is not None and visitor.public_key == link.signer
    return _page("transaction.html", status, link=link, is_own=is_own, error=error)


@bp.post("/wallet/transactions")
def sign() -> ResponseReturnValue:
    """Sign a link's transaction with the visitor's key, or with the one typed for this once, and submit it."""
    ledger = sandbox().ledger
    try:
        link = read_transaction_link(request.form.get("uri", ""), ledger.passphrase)
        typed = request.form.get("secret", "").strip()
        signer = wallet.keypair_of(typed) if typed else _visitor()
        if signer is None:
            return _signing_page(422, "This is no secret key. It begins with S and has 56 characters.")
        ticket = ledger.submit(link.signed(signer, ledger.passphrase))
        settled(ledger, ticket)
    except TransactionRefused as refused:
        return _signing_page(422, wallet.sentence_for(refused.words))
    except Invalid as bad:
        return _signing_page(422, bad.detail)
    except TimeoutError:
        return _signing_page(503, "The ledger did not close in time. Look whether it went through.")
    return _back(f"/wallet/payments/{ticket.hash}", uri="")


@bp.post("/wallet/account")
def open_account() -> ResponseReturnValue:
    """Make a key, have the friendbot fund it, keep the secret in the visitor's cookie."""
    fresh = Keypair.random()
    try:
        settled(sandbox().ledger, sandbox().ledger.fund(fresh.public_key))
    except (TransactionRefused, TimeoutError):
        return _wallet_page(503, "The sandbox could not fund an account just now. Try again.")
    answer = _back()
    answer.set_cookie(
        COOKIE, fresh.secret, max_age=COOKIE_SECONDS, path="/wallet", httponly=True, samesite="Lax"
    )
    return answer


@bp.post("/wallet/forgotten")
def forget_account() -> ResponseReturnValue:
    answer = _back()
    answer.delete_cookie(COOKIE, path="/wallet")
    return answer


@bp.post("/wallet/test-money")
def get_test_money() -> ResponseReturnValue:
    visitor = _visitor()
    if visitor is None:
        return _back()
    try:
        settled(
            sandbox().ledger, wallet.add_test_money(sandbox().ledger, visitor, request.form.get("code", ""))
        )
    except TransactionRefused as refused:
        return _wallet_page(422, wallet.sentence_for(refused.words))
    except Invalid as bad:
        return _wallet_page(422, bad.detail)
    except TimeoutError:
        return _wallet_page(503, "The ledger did not close in time. Reload to see whether the money arrived.")
    return _back()


@bp.post("/wallet/links")
def write_link() -> ResponseReturnValue:
    """Turn the hand-filled form into a payment link, so that there is one way to confirm and pay."""
    return _back(uri=payment_links.write_link(request.form.to_dict()))


@bp.post("/wallet/payments")
def pay() -> ResponseReturnValue:
    visitor, (link, _error) = _visitor(), _link()
    if visitor is None or link is None:
        return _wallet_page(422)
    try:
        amount = link.amount or parse_amount(request.form.get("amount", "").strip())
        pay_with = request.form.get("pay_with", link.asset)
        ticket = wallet.pay(sandbox().ledger, visitor, link, amount=amount, pay_with=pay_with)
        settled(sandbox().ledger, ticket)
    except TransactionRefused as refused:
        return _wallet_page(422, wallet.sentence_for(refused.words))
    except Invalid as bad:
        return _wallet_page(422, bad.detail)
    except TimeoutError:
        return _wallet_page(
            503, "The ledger did not close in time. Look at the balances before you pay again."
        )
    return _back(f"/wallet/payments/{ticket.hash}", uri="")


@bp.get("/wallet/payments/<hash_text>")
def show_payment(hash_text: str) -> ResponseReturnValue:
    ledger = sandbox().ledger
    found = ledger.store.transaction(hash_text)
    if found is None:
        raise NotFound
    record, words = found
    sql = "SELECT json_extract(body, '$.amount'), json_extract(body, '$.asset_code'), "
    sql += "COALESCE(json_extract(body, '$.to'), json_extract(body, '$.account')), "
    sql += "json_extract(body, '$.starting_balance') FROM operations WHERE id = ?"
    amount, code, to, starting = ledger.store.rows(sql, (int(record["paging_token"]) + 1,))[0]
    shown = {"hash": hash_text, "ledger": record["ledger"], "closed_at": record["created_at"]}
    shown |= {
        "amount": _shown(amount or starting),
        "code": code or "XLM",
        "to": to,
        "memo": record.get("memo"),
        "word": "Payment" if amount or starting else "Transaction",
    }
    return _page("paid.html", payment=shown, failure=None if words is None else wallet.sentence_for(words))


def _shown(amount: str | None) -> str | None:
    return None if amount is None else display(parse_amount(amount))


@bp.get("/static/<any(css, js, icons):folder>/<name>")
def asset(folder: str, name: str) -> ResponseReturnValue:
    """Serve the wallet's own files, so that the sandbox runs without the portal beside it."""
    if _ASSETS.get(name) != folder:
        raise NotFound
    answer = send_from_directory(_STATIC / folder, name)
    answer.headers["Cache-Control"] = "max-age=300"
    return answer
