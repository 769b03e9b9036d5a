"""What the inbox suggests, and on what grounds."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.db import run_transaction
from portal.domain.clients.models import Client
from portal.domain.invoices.models import Invoice
from portal.domain.payments import submissions
from portal.domain.payments.inbox import near_numbers
from portal.domain.payments.matching import is_near
from portal.extensions import db
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref
from portal.kernel.tokens import new_pay_ref
from tests.support.builders import ISSUER, NETWORK, PAYER
from tests.web.posting import pay_for, visit, write_client, write_invoice

NAMELESS: dict[str, Any] = {"memo_type": "none", "memo": None}
LIKELY = re.compile(r"(Probably|Perhaps) (INV-\S+?),? ?([A-Z][a-z ]+)?: (.+?) G[A-Z2-7]")


@pytest.fixture
def owner(web_app):
    return visit(web_app)


def loaded(owner, ref: str) -> Invoice:
    with owner.app.app_context():
        owner.shop.enter()
        return db.session.get_one(Invoice, from_ref("inv", ref))


def bill(owner, amount: str = "90", client: str = "", **more: str) -> str:
    """Issue an invoice by its form and return its ref."""
    typed = {
        "client": client, "asset": "native", "items-0-description": "Class", "items-0-quantity": "1",
        "items-0-unit_price": amount, **more,
    }  # fmt: skip
    answer = owner.send("/invoices/new/issue", typed, page="/invoices/new")
    assert answer.status_code == 303
    return answer.location.rpartition("/")[2]


def arrive(owner, amount: str, **transfer: Any) -> str:
    """Let money reach the shop that pays nothing by itself."""
    lender = write_invoice(owner.app, owner.shop, amount="12345")
    return pay_for(owner.app, owner.shop, lender, amount, **{**NAMELESS, **transfer})


def words_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def guess(owner) -> str:
    """Return the words of the inbox's only suggestion, or nothing."""
    found = re.search(r'<span class="guess">(.*?)</span>', owner.get("/payments/unmatched"), re.DOTALL)
    return words_of(found[1]) if found else ""


def memo(text: str) -> dict[str, Any]:
    return {"memo_type": "text", "memo": text, "memo_bytes": text.encode()}


class TestSuggestion:
    def test_of_an_exact_amount_alone_is_a_perhaps(self, owner):
        number = loaded(owner, bill(owner, "41.5")).number
        bill(owner, "41.6")

        arrive(owner, "41.5")

        assert guess(owner) == f"Perhaps {number} : exact amount"

    def test_of_a_payer_who_paid_before_and_the_exact_amount_is_probable(self, owner):
        client = write_client(owner.app, owner.shop)
        pay_for(owner.app, owner.shop, bill(owner, "10", client))
        number = loaded(owner, bill(owner, "41.5", client)).number
        bill(owner, "41.5")

        arrive(owner, "41.5")

        assert guess(owner) == f"Probably {number} , Rina Hartono: known payer, exact amount"

    def test_knows_a_payer_by_the_wallet_that_the_client_names(self, owner):
        client = write_client(owner.app, owner.shop)
        with owner.app.app_context():
            owner.shop.enter()

            def name_wallet() -> None:
                db.session.get_one(Client, from_ref("cli", client)).wallet_addresses = [PAYER]

            run_transaction(name_wallet)
        number = loaded(owner, bill(owner, "50", client)).number

        arrive(owner, "7")

        assert guess(owner) == f"Probably {number} , Rina Hartono: known payer"

    @pytest.mark.parametrize("shape", ["{}", "INV {} thanks", "#{}", "{grouped}"])
    def test_finds_a_reference_with_one_slip(self, owner, shape):
        invoice = loaded(owner, bill(owner, "50"))
        digits = str(invoice.pay_ref)
        slip = digits[:4] + digits[5] + digits[4] + digits[6:]
        if slip == digits:
            slip = digits[:3] + digits[4:]
        text = shape.format(slip, grouped=f"{slip[:4]} {slip[4:8]} {slip[8:]}")

        arrive(owner, "7", **memo(text))

        assert guess(owner) == f"Probably {invoice.number} : its reference, mistyped"

    def test_reads_a_whole_reference_among_other_words(self, owner):
        invoice = loaded(owner, bill(owner, "50"))

        arrive(owner, "7", **memo(f"for {invoice.pay_ref} ok"))

        assert guess(owner) == f"Probably {invoice.number} : its reference names it"

    def test_shows_a_named_invoice_that_nobody_may_choose_with_the_reason(self, owner):
        ref = bill(owner, "50")
        owner.send(f"/invoices/{ref}/cancel")
        payment = pay_for(owner.app, owner.shop, ref)

        page = owner.get(f"/payments/{payment}")

        assert "Its reference names it" in page and "This invoice was cancelled." in page
        assert f"match?invoice={ref}" not in page

    def test_adds_that_somebody_was_paying_it_then(self, owner):
        ref = bill(owner, "50")
        with owner.app.app_context():
            owner.shop.enter()
            run_transaction(
                lambda: submissions.open_submission(
                    merchant_id=owner.shop.id,
                    network=NETWORK,
                    invoice_id=from_ref("inv", ref),
                    transaction_hash="ab" * 32,
                    origin="checkout",
                    now=utc_now() - timedelta(hours=1),
                )
            )

        arrive(owner, "50")

        assert guess(owner).endswith("somebody was paying it then, exact amount")

    def test_lists_an_invoice_for_which_this_very_transaction_was_named(self, owner):
        ref = bill(owner, "50")
        payment = arrive(owner, "7", canonical_hash="cd" * 32, hashes=("cd" * 32,))
        with owner.app.app_context():
            owner.shop.enter()
            run_transaction(
                lambda: submissions.open_submission(
                    merchant_id=owner.shop.id,
                    network=NETWORK,
                    invoice_id=from_ref("inv", ref),
                    transaction_hash="cd" * 32,
                    origin="portal",
                    now=utc_now(),
                )
            )

        assert f"match?invoice={ref}" in owner.get(f"/payments/{payment}")

    def test_never_names_another_asset_a_draft_or_another_merchant(self, owner):
        stranger = visit(owner.app)
        bill(stranger, "41.5")
        write_invoice(owner.app, owner.shop, amount="41.5", asset=f"USDC:{ISSUER}")
        write_invoice(owner.app, owner.shop, amount="41.5", issue=False)

        payment = arrive(owner, "41.5")

        assert guess(owner) == ""
        assert "No open invoice of yours fits" in owner.get(f"/payments/{payment}")

    def test_costs_the_same_few_statements_for_one_payment_or_ten(self, owner, statements):
        invoice = loaded(owner, bill(owner, "41.5"))
        near = str(invoice.pay_ref + 1)
        counts = []
        for more in (1, 9):
            for _ in range(more):
                arrive(owner, "41.5", **memo(near))
            owner.get("/payments/unmatched")
            statements.clear()
            owner.get("/payments/unmatched")
            counts.append(len(statements))

        assert counts[0] == counts[1] <= 14, statements


class TestDust:
    def test_has_one_line_for_each_asset(self, owner):
        dust = arrive(owner, "0.001")
        arrive(owner, "0.002")

        page = owner.get("/payments/unmatched")

        assert "Dust left out: 2 credits of 0.003 XLM in all" in words_of(page)
        assert "tab=dust&amp;asset=native" in page
        assert dust in owner.get("/payments/unmatched?tab=dust&asset=native")
        assert dust not in owner.get(f"/payments/unmatched?tab=dust&asset=USDC:{ISSUER}")

    @pytest.mark.parametrize("query", ["tab=none", "tab=dust&asset=%00", "tab=refund&asset=x", "asset=%27"])
    def test_takes_no_harm_from_hand_made_links(self, owner, query):
        owner.get(f"/payments/unmatched?{query}")


class TestNearNumbers:
    @given(st.data())
    def test_hold_whatever_one_slip_makes_of_a_reference(self, data):
        wanted = str(new_pay_ref())
        place = data.draw(st.integers(0, len(wanted) - 1))
        digit = data.draw(st.sampled_from("0123456789"))
        typed = data.draw(
            st.sampled_from(
                [
                    wanted[:place] + digit + wanted[place + 1 :],
                    wanted[:place] + wanted[place + 1 :],
                    wanted[:place] + digit + wanted[place:],
                    wanted[: place - 1] + wanted[place] + wanted[place - 1] + wanted[place + 1 :]
                    if place
                    else wanted,
                ]
            )
        )

        assert int(wanted) in near_numbers(typed)
        assert is_near(typed, int(wanted))
