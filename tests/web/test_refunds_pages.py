"""The pages of refunds: asked for, looked over, handed to a wallet, completed by what the network shows."""

import html
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event
from stellar_sdk import Asset, IdMemo, Keypair, TransactionEnvelope

from config import SANDBOX_PASSPHRASE, Config
from portal.app import create_app
from portal.db import run_transaction
from portal.domain.clients.models import Client
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.domain.refunds.models import Refund
from portal.extensions import db
from portal.flows.submit_hash import submit_hash
from portal.kernel.chain import Debit
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from portal.sandbox.client import fund, play_payment
from portal.workers import follow_refunds
from tests.support.builders import (
    NETWORK,
    Shop,
    make_draft,
    make_invoice,
    make_member,
    make_shop,
    make_transfer,
)
from tests.support.chain_acts import act, funded
from tests.support.money import record
from tests.web.posting import Visitor, pay, visit

REASON = {"reason": "ordered twice", "memo_type": "none", "memo": ""}


@dataclass
class Stall:
    """A shop whose wallet and payer are accounts of the sandbox, with one payment that was recorded."""

    owner: Visitor
    payer: Keypair
    payment: str
    sandbox: object

    @property
    def shop(self) -> Shop:
        return self.owner.shop

    def ask(self, **typed):
        """Send the last form of a refund and return the answer."""
        fields = {"amount": "90", **REASON, **typed}
        return self.owner.send(f"/payments/{self.payment}/refunds", fields, page=self.form)

    @property
    def form(self) -> str:
        return f"/payments/{self.payment}/refunds/new"

    def make(self, **typed) -> str:
        answer = self.ask(**typed)
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return answer.location.rpartition("/")[2]

    def read(self, ref: str) -> Refund:
        with self.owner.app.app_context():
            self.shop.enter()
            return db.session.get_one(Refund, from_ref("rfd", ref))

    def sign(self, ref: str) -> str:
        """Sign and submit the prepared transaction as the merchant's wallet would, and return its hash."""
        envelope = TransactionEnvelope.from_xdr(self.read(ref).envelope_xdr, SANDBOX_PASSPHRASE)
        envelope.sign(Keypair.from_secret(self.shop.wallet_secret))
        ticket = self.sandbox.ledger.submit(envelope.to_xdr())
        assert ticket.done.wait(10)
        return ticket.hash

    def tell(self, ref: str, text: str):
        typed = {"transaction_hash": text}
        return self.owner.send(f"/refunds/{ref}/submissions", typed, page=f"/refunds/{ref}")


@pytest.fixture(scope="module")
def sandbox_app(sandbox_environment):
    app = create_app(Config.checked("web", sandbox_environment))
    app.testing = True
    return app


@pytest.fixture(scope="module")
def sandbox_worker(sandbox_environment):
    return create_app(Config.checked("worker", sandbox_environment))


@pytest.fixture
def sandbox_statements(sandbox_app) -> Iterator[list[str]]:
    """Every SQL statement that the app in front of the sandbox sends while the test runs."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    with sandbox_app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def dead_app(environment):
    """The app in front of a Horizon that nobody serves."""
    app = create_app(Config.checked("web", {**environment, "HORIZON_URL": "http://127.0.0.1:9"}))
    app.testing = True
    return app


def open_stall(app, sandbox, **pays) -> Stall:
    """Return a stall at which 90 XLM were really paid for an invoice and recorded."""
    with app.app_context():
        shop = make_shop()
    fund(sandbox.url, shop.wallet)
    payer = pays.pop("payer", None) or funded(sandbox)
    owner = visit(app, shop)
    payment = pay_really(owner, sandbox, payer, **pays)
    return Stall(owner, payer, payment, sandbox)


def pay_really(owner: Visitor, sandbox, payer: Keypair, *, client: str | None = None) -> str:
    """Let an account of the sandbox pay a new invoice and return the payment's ref."""
    with owner.app.app_context():
        invoice = make_invoice(owner.shop, now=utc_now())
        if client is not None:
            invoice = _hand_to(owner.shop, invoice, client)
        where, memo, invoice_id = invoice.destination, invoice.pay_ref, invoice.id
    found = play_payment(
        sandbox.url, SANDBOX_PASSPHRASE, payer.secret, where, "native", Decimal(90), IdMemo(memo)
    )
    with owner.app.app_context():
        owner.shop.enter()
        answer = submit_hash(
            merchant_id=owner.shop.id, network=NETWORK, invoice_id=invoice_id, text=found, origin="portal",
            now=utc_now(),
        )  # fmt: skip
        assert answer.status == 201, answer
        return to_ref("pay", answer.submission.payment_id)


def _hand_to(shop: Shop, invoice: Invoice, email: str) -> Invoice:
    """Issue another invoice like it, to a client of this name."""

    def work() -> Invoice:
        shop.enter()
        client = Client(merchant_id=shop.id, name=email, email=email, email_lower=email)
        db.session.add(client)
        db.session.flush()
        wallet = db.session.scalars(db.select(Wallet).where(Wallet.merchant_id == shop.id)).one()
        return invoices.create(
            merchant=db.session.get_one(Merchant, shop.id), network=NETWORK, draft=make_draft(), client=client,
            terms=IssueTerms(wallet), now=utc_now(),
        ).invoice  # fmt: skip

    written = run_transaction(work)
    shop.enter()
    return db.session.get_one(Invoice, written.id)


@pytest.fixture
def stall(sandbox_app, sandbox):
    return open_stall(sandbox_app, sandbox)


class TestAsking:
    def test_the_whole_rest_is_proposed_and_the_sender_named(self, stall):
        page = stall.owner.get(stall.form)

        assert 'value="90"' in page and stall.payer.public_key in page

    def test_the_review_names_everything_and_writes_nothing(self, stall):
        fields = {"amount": "12.5", **REASON, "memo_type": "id", "memo": "77"}

        answer = stall.owner.send(f"/payments/{stall.payment}/refunds/review", fields, page=stall.form)

        page = answer.get_data(as_text=True)
        assert answer.status_code == 200 and "Send back 12.50 XLM?" in page
        assert stall.payer.public_key in page and stall.shop.wallet in page and "Memo (ID)" in page
        assert stall.owner.get("/refunds").count("/refunds/rfd_") == 0

    @pytest.mark.parametrize(
        ("typed", "words"),
        [
            ({"amount": "0"}, "The amount must be above zero."),
            ({"amount": "1e1"}, "plain digits"),
            ({"amount": "90.0000001"}, "Only 90 of this payment is left."),
            ({"reason": " "}, "Say why"),
            ({"memo": "77"}, "Choose the kind of memo"),
            ({"memo_type": "id", "memo": "x"}, "A memo ID is a whole number"),
            ({"memo_type": "colour"}, "Not a valid choice"),
        ],
    )
    @pytest.mark.parametrize("step", ["refunds", "refunds/review"])
    def test_what_is_wrong_is_said_beside_its_field(self, stall, typed, words, step):
        fields = {"amount": "90", **REASON, **typed}

        answer = stall.owner.send(f"/payments/{stall.payment}/{step}", fields, page=stall.form)

        assert answer.status_code == 422 and words in html.unescape(answer.get_data(as_text=True))

    @pytest.mark.parametrize(
        ("asked", "shown"),
        [("7.2500000", "7.25"), ("90", "90"), ("90.5", "90"), ("0", "90"), ("-1", "90"), ("NaN", "90")],
    )
    def test_the_form_begins_with_the_amount_that_the_link_says(self, stall, asked, shown):
        page = stall.owner.get(f"{stall.form}?amount={asked}")

        assert re.search(rf'name="amount"[^>]* value="{re.escape(shown)}"', page)

    def test_what_was_typed_is_still_there_for_who_changes_it(self, stall):
        typed = {"amount": "12.5", "reason": "sent twice", "memo_type": "none", "memo": "", "change": "1"}
        review = f"/payments/{stall.payment}/refunds/review"

        answer = stall.owner.send(review, typed, page=stall.form)

        page = answer.get_data(as_text=True)
        assert answer.status_code == 200 and 'value="12.5"' in page and "sent twice" in page

    def test_a_payment_that_cannot_be_refunded_says_why(self, web_app):
        owner = visit(web_app)
        _, payment = pay(web_app, owner.shop, memo_type="none", memo=None)
        contract = "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD2KM"
        with web_app.app_context():
            owner.shop.enter()
            seen = make_transfer(make_invoice(owner.shop, now=utc_now()), closed_at=utc_now())
            credit = replace(seen.credits[0], source=contract)
            payment = to_ref("pay", record(owner.shop, replace(seen, credits=(credit,))).payments[0].id)

        page = owner.get(f"/payments/{payment}/refunds/new")

        assert "It cannot be refunded" in page and "A contract sent this payment" in page

    def test_the_wallet_s_want_of_money_is_said_before_anything_is_promised(self, stall):
        other = Keypair.random()
        fund(stall.sandbox.url, other.public_key)
        secret = Keypair.from_secret(stall.shop.wallet_secret)
        act(
            stall.sandbox,
            secret,
            lambda builder: builder.append_payment_op(other.public_key, Asset.native(), "10070"),
        )

        answer = stall.ask()

        assert answer.status_code == 409 and "Your wallet holds" in answer.get_data(as_text=True)
        assert stall.owner.get("/refunds").count("/refunds/rfd_") == 0

    def test_a_sender_that_was_merged_away_cannot_be_paid(self, stall):
        act(
            stall.sandbox,
            stall.payer,
            lambda builder: builder.append_account_merge_op(stall.shop.wallet),
        )

        answer = stall.ask()

        assert answer.status_code == 409 and "does not exist any more" in answer.get_data(as_text=True)

    def test_a_memo_that_the_sender_requires_is_asked_for_beside_the_field(self, stall):
        act(
            stall.sandbox,
            stall.payer,
            lambda builder: builder.append_manage_data_op("config.memo_required", b"1"),
        )

        refused = stall.ask(confirmed="y")

        page = refused.get_data(as_text=True)
        assert refused.status_code == 422 and 'id="memo-error-1"' in page and "SEP-29" in page
        assert stall.read(stall.make(memo_type="id", memo="77")).memo == "77"

    def test_a_shared_sender_is_warned_of_and_must_be_confirmed(self, stall):
        act(
            stall.sandbox,
            stall.payer,
            lambda builder: builder.append_set_options_op(home_domain="kraken.com"),
        )

        refused = stall.ask()

        page = refused.get_data(as_text=True)
        assert refused.status_code == 422 and "Look twice" in page and 'id="confirmed-error-1"' in page
        assert stall.read(stall.make(confirmed="y")).status == "PENDING"

    def test_one_who_pays_for_several_clients_is_taken_for_shared(self, stall):
        for email in ("rina@kopi.example", "dewi@kopi.example"):
            pay_really(stall.owner, stall.sandbox, stall.payer, client=email)

        assert stall.ask().status_code == 422
        assert stall.read(stall.make(memo_type="text", memo="rina")).status == "PENDING"

    @pytest.mark.parametrize("role", ["viewer", "seller", "accountant"])
    def test_only_those_who_decide_about_money_may(self, stall, role):
        ref = stall.make()
        with stall.owner.app.app_context():
            person = make_member(stall.shop, role=role)
        other = visit(stall.owner.app, person)

        assert "Open in wallet" in other.get(f"/refunds/{ref}")
        assert "Look it up" not in other.get(f"/refunds/{ref}")
        other.get(stall.form, status=403)
        for path in ("submissions", "preparations", "withdrawals", "cancel"):
            assert (
                other.send(
                    f"/refunds/{ref}/{path}",
                    page="/clients/new" if role == "seller" else "/settings/preferences",
                ).status_code
                == 403
            )

    def test_a_stranger_sees_nothing(self, stall):
        ref = stall.make()
        stranger = visit(stall.owner.app)

        stranger.get(f"/refunds/{ref}", status=404)
        stranger.get(stall.form, status=404)
        stranger.get(f"/payments/{stall.payment}/refunds", status=404)
        for path in (f"/refunds/{ref}/cancel", f"/payments/{stall.payment}/refunds"):
            fields = {"amount": "90", **REASON}
            assert stranger.send(path, fields, page="/clients/new").status_code == 404


class TestTwice:
    def test_one_form_sent_twice_makes_one_refund(self, stall):
        first, second = (stall.ask(amount="40", once="the-same-form") for _ in range(2))
        other = stall.ask(amount="40", once="another-form")

        assert first.status_code == second.status_code == other.status_code == 303
        assert first.location == second.location != other.location
        assert 'name="once"' in stall.owner.send(
            f"/payments/{stall.payment}/refunds/review", {"amount": "10", **REASON}, page=stall.form
        ).get_data(as_text=True)

    def test_two_at_once_make_one_too(self, stall):
        clickers = [replace(stall, owner=visit(stall.owner.app, stall.shop)) for _ in range(2)]
        with ThreadPoolExecutor(len(clickers)) as pool:
            answers = list(pool.map(lambda each: each.ask(amount="40", once="the-same-form"), clickers))

        assert [each.status_code for each in answers] == [303, 303]
        with stall.owner.app.app_context():
            stall.shop.enter()
            made = db.session.scalars(db.select(Refund).where(Refund.merchant_id == stall.shop.id)).all()
        assert len(made) == 1

    def test_the_whole_rest_is_no_exception(self, stall):
        first, second = (stall.ask(once="the-same-form") for _ in range(2))

        assert first.location == second.location and first.status_code == second.status_code == 303


class TestTakenBack:
    @pytest.fixture
    def taken(self, stall):
        """The ref of a prepared refund whose payment the issuer took back."""
        ref = stall.make()
        with stall.owner.app.app_context():
            shop = stall.shop
            debit = Debit(0, shop.wallet, None, "native", 900_000_000, "clawback")
            spare = make_invoice(shop, now=utc_now())
            seen = make_transfer(spare, credits=(), debits=(debit,), ledger=10**8, closed_at=utc_now())
            record(shop, seen, now=utc_now())
        return ref

    def test_is_said_plainly_and_nothing_is_left_to_sign(self, stall, taken):
        page = stall.owner.get(f"/refunds/{taken}")

        assert "The issuer took this payment back" in page and "Cancel this refund" in page
        assert "Open in wallet" not in page and "Send a payment from your wallet" not in page
        assert f"/refunds/{taken}/cancel" in page
        refused = stall.owner.send(f"/refunds/{taken}/preparations", page=f"/refunds/{taken}")
        assert refused.status_code == 409
        assert "there is nothing to refund" in refused.get_data(as_text=True)

    def test_can_be_cancelled(self, stall, taken):
        assert stall.owner.send(f"/refunds/{taken}/cancel", page=f"/refunds/{taken}").status_code == 303

        page = stall.owner.get(f"/refunds/{taken}")
        assert "Cancelled" in page and "Refund again" not in page
        assert stall.owner.get(f"/payments/{stall.payment}")

    def test_counts_when_it_was_sent_all_the_same(self, stall, taken):
        assert stall.tell(taken, stall.sign(taken)).status_code == 303

        assert (stall.read(taken).status, stall.read(taken).from_revenue) == ("COMPLETED", 90)
        assert "Borne by you" in stall.owner.get(f"/refunds/{taken}")
        assert stall.owner.get(f"/payments/{stall.payment}")


class TestSending:
    def test_the_wallet_signs_and_the_pasted_hash_completes_it(self, stall):
        ref = stall.make()
        page = stall.owner.get(f"/refunds/{ref}")
        assert "web+stellar:tx?xdr=" in page and "<svg" in page and "/wallet?uri=" in page

        answer = stall.tell(ref, f" {stall.sign(ref).upper()} ")

        assert answer.status_code == 303
        page = stall.owner.get(f"/refunds/{ref}")
        assert "Sent back" in page and "Borne by you" in page and "confirmed by the network" in page
        assert stall.read(ref).from_revenue == 90

    def test_the_worker_finds_it_although_nobody_says_a_word(self, stall, sandbox_worker):
        ref = stall.make()
        stall.sign(ref)

        due = stall.read(ref).next_attempt_at
        with sandbox_worker.app_context():
            # Other tests' refunds are due too, and a batch holds few.
            while follow_refunds.run_once(due, network=NETWORK):
                pass

        assert stall.read(ref).status == "COMPLETED"

    def test_a_hash_that_the_network_lacks_is_followed(self, stall):
        ref = stall.make()

        answer = stall.tell(ref, "ee" * 32)

        assert answer.status_code == 303
        page = stall.owner.get(f"/refunds/{ref}")
        assert stall.read(ref).status == "PROCESSING" and "Looking for your transaction" in page
        refused = stall.owner.send(f"/refunds/{ref}/cancel", page=f"/refunds/{ref}")
        assert refused.status_code == 409 and "cannot be cancelled" in refused.get_data(as_text=True)
        assert stall.owner.send(f"/refunds/{ref}/withdrawals", page=f"/refunds/{ref}").status_code == 303
        assert (stall.read(ref).status, stall.read(ref).code) == ("PENDING", "withdrawn")
        assert "It was named by mistake." in stall.owner.get(f"/refunds/{ref}")

    def test_another_transaction_is_refused_with_its_rules_and_nothing_is_lost(self, stall):
        ref = stall.make()
        wallet = Keypair.from_secret(stall.shop.wallet_secret)
        other = act(
            stall.sandbox,
            wallet,
            lambda builder: builder.append_payment_op(stall.payer.public_key, Asset.native(), "89"),
        )

        answer = stall.tell(ref, other)

        page = answer.get_data(as_text=True)
        assert answer.status_code == 422 and "another amount than was agreed" in page
        assert "89.00 received, 90.00 agreed" in page and f'value="{other}"' in page
        assert (stall.read(ref).status, stall.read(ref).code) == ("PENDING", None)

    def test_no_hash_at_all_is_said_beside_the_field(self, stall):
        ref = stall.make()

        answer = stall.tell(ref, "hello")

        assert answer.status_code == 422 and "64 characters" in answer.get_data(as_text=True)

    def test_a_stale_transaction_is_prepared_again_and_a_good_one_kept(self, stall):
        ref = stall.make()
        first = stall.read(ref).expected_hashes
        again = lambda: stall.owner.send(f"/refunds/{ref}/preparations", page=f"/refunds/{ref}")  # noqa: E731
        assert again().status_code == 303
        assert stall.read(ref).expected_hashes == first
        wallet = Keypair.from_secret(stall.shop.wallet_secret)
        act(stall.sandbox, wallet, lambda builder: builder.append_bump_sequence_op(0))

        assert again().status_code == 303

        assert stall.read(ref).expected_hashes[:-1] == first
        assert stall.tell(ref, stall.sign(ref)).status_code == 303
        assert stall.read(ref).status == "COMPLETED"

    def test_without_the_network_it_is_noted_and_prepared_later(self, stall, dead_app):
        away = visit(dead_app, stall.shop)
        fields = {"amount": "90", **REASON}

        answer = away.send(f"/payments/{stall.payment}/refunds", fields, page=stall.form)

        ref = answer.location.rpartition("/")[2]
        assert answer.status_code == 303 and "Prepare the transaction" in away.get(f"/refunds/{ref}")
        refused = away.send(f"/refunds/{ref}/preparations", page=f"/refunds/{ref}")
        assert refused.status_code == 503 and "does not answer" in refused.get_data(as_text=True)
        assert stall.owner.send(f"/refunds/{ref}/preparations", page=f"/refunds/{ref}").status_code == 303
        assert stall.tell(ref, stall.sign(ref)).status_code == 303

    def test_a_cancelled_one_frees_its_amount(self, stall):
        ref = stall.make()

        assert stall.owner.send(f"/refunds/{ref}/cancel", page=f"/refunds/{ref}").status_code == 303

        assert "Cancelled" in stall.owner.get(f"/refunds/{ref}")
        assert stall.read(stall.make()).amount == 90

    def test_reloaded_addresses_of_forms_lead_back(self, stall):
        ref = stall.make()

        for path in ("submissions", "preparations", "withdrawals", "cancel"):
            assert stall.owner.client.get(f"/refunds/{ref}/{path}").location == f"/refunds/{ref}"
        assert stall.owner.client.get(f"/payments/{stall.payment}/refunds/review").location == stall.form
        assert ref in stall.owner.get(f"/payments/{stall.payment}/refunds")


class TestList:
    def test_says_what_will_appear_here_while_it_is_empty(self, web_app):
        assert "No refunds yet" in visit(web_app).get("/refunds")

    def test_stands_under_payments(self, stall):
        assert 'href="/refunds"' in stall.owner.get("/payments")
        assert 'href="/payments" aria-current="page"' in " ".join(stall.owner.get("/refunds").split())

    def test_is_narrowed_by_status(self, stall):
        ref = stall.make(amount="10")

        assert ref in stall.owner.get("/refunds") and ref in stall.owner.get("/refunds?status=open")
        assert "No such refund" in stall.owner.get("/refunds?status=completed")
        assert "ordered twice" in stall.owner.get("/refunds?status=x%27&after=garbage")

    def test_pages_are_read_in_few_statements(self, stall, sandbox_statements):
        ref = stall.make(amount="10")
        stall.owner.get("/refunds")
        counts = {}
        for path in ("/refunds", f"/refunds/{ref}", stall.form):
            sandbox_statements.clear()
            stall.owner.get(path)
            counts[path] = len(sandbox_statements)

        assert max(counts.values()) <= 8, counts
