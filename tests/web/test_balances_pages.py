"""The balances pages: books that add up, asset by asset, down to every entry."""

import csv
import html
import io
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from portal.db import leave_tenant, run_transaction
from portal.domain.invoices.models import Invoice
from portal.domain.ledger import checks
from portal.domain.ledger.models import LedgerAccount
from portal.domain.ledger.queries import AccountLine
from portal.domain.merchants.models import Wallet, WalletAsset
from portal.extensions import db
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from portal.web.balances.books import books_of
from portal.web.balances.words import ACCOUNT_WORDS, difference_words
from portal.web.paging import PAGE_SIZE
from tests.support.builders import NETWORK, make_member, make_transfer
from tests.support.money import record
from tests.web.posting import pay, pay_for, visit, write_invoice

# After that of the builder's transfers, so that nothing is shared out anew.
LATER_LEDGER = 51_300_000


def account_path(app, shop, kind):
    with app.app_context():
        shop.enter()
        statement = select(LedgerAccount.id).where(
            LedgerAccount.merchant_id == shop.id, LedgerAccount.kind == kind
        )
        return f"/balances/{to_ref('acc', db.session.scalars(statement).one())}"


def balance_cells(page):
    """Return the last column of a statement as a person reads it."""
    cells = re.findall(r'<td data-label="Balance".*?</td>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def link(page, name):
    return html.unescape(re.search(rf'rel="{name}" href="([^"]+)"', page)[1])


def csv_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def keep_look(app, shop, *differences):
    def keep():
        checks.keep(
            merchant_id=shop.id,
            network=NETWORK,
            checked_at=utc_now(),
            counts={"invoices": 214, "payments": 380, "accounts": 1},
            differences=list(differences),
        )

    with app.app_context():
        leave_tenant()
        run_transaction(keep)


class TestPage:
    def test_says_that_nothing_is_booked_while_it_is_empty(self, web_app):
        assert "Nothing is booked yet" in visit(web_app).get("/balances")

    def test_shows_balanced_books_and_what_is_awaited(self, web_app):
        owner = visit(web_app)
        write_invoice(web_app, owner.shop, amount="40")
        pay(web_app, owner.shop, paid="60")

        page = owner.get("/balances")

        assert "Balanced" in page and "Out of balance" not in page
        assert "130.00" in page and "70.00 XLM" in page and "2 invoices" in page

    def test_shows_nothing_of_another_merchant(self, web_app):
        pay(web_app, visit(web_app).shop)

        assert "Nothing is booked yet" in visit(web_app).get("/balances")

    def test_reads_in_few_statements(self, web_app, statements):
        owner = visit(web_app)
        pay(web_app, owner.shop)
        owner.get("/balances")
        statements.clear()

        owner.get("/balances")

        assert len(statements) <= 8, statements


class TestBooks:
    def test_keep_assets_apart_and_put_each_balance_on_its_side(self):
        usdc = "USDC:" + "G" * 56
        books = books_of([
            AccountLine(usdc, "wallet", Decimal(5)),
            AccountLine(usdc, "suspense", Decimal(-5)),
            AccountLine("native", "receivable", Decimal(7)),
            AccountLine("native", "income", Decimal(-7)),
            AccountLine("native", "discount", Decimal(0)),
        ])  # fmt: skip

        assert [(book.asset, book.total, book.is_balanced) for book in books] == [
            ("native", Decimal(7), True),
            (usdc, Decimal(5), True),
        ]
        assert [(line.name, line.debit, line.credit) for line in books[0].lines] == [
            ("Receivable", Decimal(7), Decimal(0)),
            ("Income", Decimal(0), Decimal(7)),
        ]

    def test_say_so_when_they_do_not_balance(self):
        assert not books_of([AccountLine("native", "wallet", Decimal(1))])[0].is_balanced


class TestStatement:
    def test_tells_what_each_entry_was_about_and_the_balance_after_it(self, web_app):
        owner = visit(web_app)
        invoice, payment = pay(web_app, owner.shop, paid="60")
        pay_for(web_app, owner.shop, invoice, "50", ledger=LATER_LEDGER)

        page = owner.get(account_path(web_app, owner.shop, "wallet"))

        assert "Payment received" in page
        assert f"/payments/{payment}" in page
        assert [balance_cells(page)] == [["110.00 debit", "60.00 debit"]]

    def test_runs_over_pages_forth_and_back_as_over_one(self, web_app):
        owner = visit(web_app)
        invoice = write_invoice(web_app, owner.shop, amount="1")
        for place in range(PAGE_SIZE + 3):
            pay_for(web_app, owner.shop, invoice, "1", ledger=51_000_000 + place)
        path = account_path(web_app, owner.shop, "wallet")

        newest = owner.get(path)
        oldest = owner.get(link(newest, "next"))
        back = owner.get(link(oldest, "prev"))

        expected = [f"{count}.00 debit" for count in range(PAGE_SIZE + 3, 0, -1)]
        assert balance_cells(newest) + balance_cells(oldest) == expected
        assert balance_cells(back) == balance_cells(newest)

    def test_counts_what_the_dates_leave_out(self, web_app):
        owner = visit(web_app)
        invoice = write_invoice(web_app, owner.shop, amount="90")
        yesterday = utc_now() - timedelta(days=1)
        with web_app.app_context():
            owner.shop.enter()
            first = make_transfer(db.session.get_one(Invoice, from_ref("inv", invoice)), amount="10")
            record(owner.shop, replace(first, closed_at=utc_now()), now=yesterday)
        pay_for(web_app, owner.shop, invoice, "20", ledger=LATER_LEDGER)
        path = account_path(web_app, owner.shop, "wallet")
        today, before = utc_now().date(), yesterday.date()

        assert balance_cells(owner.get(f"{path}?from={today}")) == ["30.00 debit"]
        assert balance_cells(owner.get(f"{path}?to={before}")) == ["10.00 debit"]
        assert "No entry in these days" in owner.get(f"{path}?to=2020-01-01")

    def test_names_reversals(self, web_app):
        owner = visit(web_app)
        invoice = write_invoice(web_app, owner.shop, amount="90")
        for ledger in (51_000_002, 51_000_001):
            pay_for(web_app, owner.shop, invoice, "60", ledger=ledger)

        page = owner.get(account_path(web_app, owner.shop, "client_credit"))

        assert balance_cells(page)[0] == "30.00 credit"

    def test_is_nobody_elses(self, web_app):
        owner, stranger = visit(web_app), visit(web_app)
        pay(web_app, owner.shop)
        path = account_path(web_app, owner.shop, "wallet")

        stranger.get(path, status=404)
        stranger.get(f"{path}.csv", status=404)
        stranger.get("/balances/acc_nonsense", status=404)

    def test_reads_in_few_statements(self, web_app, statements):
        owner = visit(web_app)
        invoice = write_invoice(web_app, owner.shop, amount="90")
        counts = []
        for ledger in (51_000_000, 51_000_010):
            for place in range(3):
                pay_for(web_app, owner.shop, invoice, "10", ledger=ledger + place)
            path = account_path(web_app, owner.shop, "wallet")
            owner.get(path)
            statements.clear()
            owner.get(path)
            counts.append(len(statements))

        assert counts[0] == counts[1] <= 8, statements


class TestFiles:
    def test_of_a_statement_begin_with_the_oldest_entry(self, web_app):
        owner = visit(web_app)
        invoice, _ = pay(web_app, owner.shop, paid="60")
        pay_for(web_app, owner.shop, invoice, "50", ledger=LATER_LEDGER)

        rows = csv_of(owner.get(f"{account_path(web_app, owner.shop, 'wallet')}.csv"))

        assert [row["balance"] for row in rows] == ["60.0000000", "110.0000000"]
        assert [row["debit"] for row in rows] == ["60.0000000", "50.0000000"]
        assert rows[0]["what"] == "Payment received"

    def test_keep_the_balance_where_the_dates_begin_later(self, web_app):
        owner = visit(web_app)
        pay(web_app, owner.shop)
        path = account_path(web_app, owner.shop, "wallet")
        rows = csv_of(owner.get(f"{path}.csv?from={utc_now().date() + timedelta(days=1)}"))
        assert rows == []

    def test_of_the_trial_balance_hold_the_whole_chart(self, web_app):
        owner = visit(web_app)
        pay(web_app, owner.shop, paid="60")

        rows = csv_of(owner.get("/balances/trial-balance.csv"))

        sides = {row["account"]: (row["debit"], row["credit"]) for row in rows}
        assert len(rows) == len(ACCOUNT_WORDS)
        assert sides["Wallet"] == ("60.0000000", "0.0000000")
        assert sides["Income"] == ("0.0000000", "90.0000000")

    def test_are_for_those_who_may_export(self, web_app):
        owner = visit(web_app)
        pay(web_app, owner.shop)
        with web_app.app_context():
            viewer = make_member(owner.shop, role="viewer")
        visit(web_app, viewer).get("/balances/trial-balance.csv", status=403)


class TestAccounts:
    def test_of_many_debtors_are_listed_by_whose_they_are(self, web_app):
        owner = visit(web_app)
        pay(web_app, owner.shop, paid="60")
        pay(web_app, owner.shop)

        page = owner.get("/balances")
        listed = owner.get("/balances/accounts?kind=receivable&asset=native")
        settled = owner.get("/balances/accounts?kind=receivable&asset=native&all=1")

        assert "/balances/accounts?kind=receivable" in page
        assert listed.count("/balances/acc_") == 1
        assert settled.count("/balances/acc_") == 2
        owner.get("/balances/accounts?kind=income&asset=native", status=404)


class TestNightlyLook:
    def test_is_told_when_it_found_nothing(self, web_app, worker_app):
        owner = visit(web_app)
        keep_look(worker_app, owner.shop)

        page = owner.get("/balances")

        assert "214 invoices, 380 payments, 1 account, no differences" in page
        assert "differ" not in owner.get("/home")

    def test_tells_each_difference_with_its_page(self, web_app, worker_app):
        owner = visit(web_app)
        invoice, _ = pay(web_app, owner.shop)
        found = {"ref": invoice, "figure": "amount_received", "stored": "1.0000000", "derived": "90.0000000"}
        keep_look(worker_app, owner.shop, found)

        page = owner.get("/balances")

        assert f'href="/invoices/{invoice}"' in page and "amount received" in page
        assert "1 figure differs" in owner.get("/home")


class TestReconciliation:
    @pytest.mark.parametrize(
        ("asset", "held", "words"),
        [
            ("native", "90", "holds what the book says"),
            ("native", "95", "before the portal began to watch"),
            ("native", "89.9999", "in fees"),
            ("native", "10", "sent it out"),
            ("USDC:G", "89.9999", "sent it out"),
        ],
    )
    def test_says_why_a_wallet_differs_from_its_book(self, asset, held, words):
        assert words in difference_words(asset, Decimal(held) - 90)

    @pytest.mark.parametrize(
        ("asked", "difference", "words"),
        [
            (timedelta(0), "5.00 XLM", "before the portal began"),
            (timedelta(hours=1), "", "since the network was asked"),
        ],
    )
    def test_stands_beside_the_book_unless_it_changed_since(
        self, web_app, worker_app, asked, difference, words
    ):
        owner = visit(web_app)
        pay(web_app, owner.shop)

        def hold():
            wallet_id = db.session.scalars(select(Wallet.id).where(Wallet.merchant_id == owner.shop.id)).one()
            db.session.add(
                WalletAsset(
                    merchant_id=owner.shop.id, wallet_id=wallet_id, asset="native", ready=True,
                    balance=Decimal(95), checked_at=utc_now() - asked,
                )
            )  # fmt: skip

        with worker_app.app_context():
            run_transaction(hold)
        page = owner.get("/balances")

        assert words in page and difference in page
        assert ("More than the book" in page) is bool(difference)
