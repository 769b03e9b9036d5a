"""The balances page: books that add up, asset by asset."""

from decimal import Decimal

from portal.domain.ledger.queries import AccountLine
from portal.web.balances.views import books_of
from tests.web.posting import pay, visit, write_invoice


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
