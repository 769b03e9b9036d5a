"""Where a case plays: a shop with three wallets, a rival, an issuer, a payer, and one invoice of the shop's."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from flask import Flask
from stellar_sdk import Asset, IdMemo, Keypair, MuxedAccount, Payment

from portal.db import run_transaction
from portal.domain.invoices import service as invoices
from portal.domain.invoices.models import Invoice
from portal.domain.invoices.service import IssueTerms
from portal.domain.merchants.models import Merchant, Wallet
from portal.extensions import db
from portal.kernel.clock import utc_now
from tests.cases.listing import Listing
from tests.cases.served import page
from tests.cases.signing import Signed, sign
from tests.cases.table import Terms
from tests.support.builders import NETWORK, Shop, make_draft, make_shop

# One number a transaction, for all cases of this process: no two are the same, none closed before another.
_ledgers = count(1_000)
_OWN = object()


@dataclass(frozen=True)
class Premises:
    """A shop and the keys of its wallets; `other` and `retired` are those of the shop called `plain` alone."""

    shop: Shop
    main: Keypair
    other: Keypair
    retired: Keypair

    def pair(self, name: str) -> Keypair:
        found: Keypair = getattr(self, name)
        return found


@dataclass(frozen=True)
class Bill:
    """An invoice as its payer knows it; a draft has no reference."""

    id: UUID
    token: str
    pay_ref: int
    destination: str
    asset: Asset
    amount: str
    issued_at: datetime
    expires_at: datetime
    owner: Premises


class Stage:
    """The shops of one database, with the chain that they and everybody else see."""

    def __init__(self, app: Flask, listing: Listing) -> None:
        self.app, self.listing = app, listing
        self.issuer, self.forger, self.payer, self.stranger = (Keypair.random() for _ in range(4))
        self.usdc = Asset("USDC", self.issuer.public_key)
        policies: dict[str, dict[str, Any]] = {
            "plain": {},
            "tolerant": {"tolerance": Decimal("0.5")},
            "strict": {"late_policy": "unmatched"},
            "rival": {},
        }
        with app.app_context():
            self.premises = {name: self._open(name, columns) for name, columns in policies.items()}

    def _open(self, name: str, columns: dict[str, Any]) -> Premises:
        shop = make_shop(**columns)
        premises = Premises(
            shop, Keypair.from_secret(shop.wallet_secret), other=Keypair.random(), retired=Keypair.random()
        )
        self.listing.know(premises.main.public_key)
        # A watcher asks for each wallet, so only the shop where most cases play has three.
        if name == "plain":
            self._prove(premises)
        return premises

    def _prove(self, premises: Premises) -> None:
        now = utc_now()

        def prove() -> None:
            premises.shop.enter()
            for pair, retired_at in ((premises.other, None), (premises.retired, now)):
                db.session.add(
                    Wallet(
                        merchant_id=premises.shop.id, network=NETWORK, address=pair.public_key,
                        is_default=False, proven_at=now, watched_from="0", retired_at=retired_at,
                    )
                )  # fmt: skip
                self.listing.know(pair.public_key)

        run_transaction(prove)

    def write_bill(self, premises: Premises, terms: Terms, now: datetime) -> Bill:
        asset = {"native": Asset.native(), "usdc": self.usdc}[terms.asset]
        issued_at = now - timedelta(hours=terms.issued_hours_ago)
        draft = make_draft(
            amount=terms.amount,
            asset="native" if asset.is_native() else f"{asset.code}:{asset.issuer}",
            expires_in_seconds=int(terms.expires_in_hours * 3600),
        )

        def write() -> Invoice:
            premises.shop.enter()
            address = premises.pair(terms.wallet).public_key
            wallet = db.session.scalars(db.select(Wallet).where(Wallet.address == address)).one()
            return invoices.create(
                merchant=db.session.get_one(Merchant, premises.shop.id), network=NETWORK, draft=draft,
                client=None, terms=IssueTerms(wallet) if terms.issue else None, now=issued_at,
            ).invoice  # fmt: skip

        with self.app.app_context():
            found = run_transaction(write)
            return Bill(
                found.id, found.token, found.pay_ref or 0, found.destination or "", asset, terms.amount,
                issued_at, found.expires_at or now, premises,
            )  # fmt: skip


class Scene:
    """One case on its stage: what it may refer to, and the payments it makes."""

    def __init__(self, stage: Stage, terms: Terms) -> None:
        self.stage, self.terms = stage, terms
        self.now = utc_now().replace(microsecond=0)
        self.premises = stage.premises[terms.shop]
        self.bill = stage.write_bill(self.premises, terms, self.now)
        self.payer, self.issuer, self.stranger = stage.payer, stage.issuer, stage.stranger

    @property
    def ref(self) -> int:
        return self.bill.pay_ref

    @property
    def digits(self) -> bytes:
        return str(self.ref).encode()

    @property
    def wallet(self) -> str:
        return self.bill.destination

    @property
    def usdc(self) -> Asset:
        return self.stage.usdc

    def another_bill(self, *, rival: bool = False, **terms: Any) -> Bill:
        owner = self.stage.premises["rival"] if rival else self.premises
        return self.stage.write_bill(owner, Terms(**terms), self.now)

    def send(
        self, amount: str | None = None, *, to: str | MuxedAccount | None = None, asset: Asset | None = None,
        source: str | None = None,
    ) -> Payment:  # fmt: skip
        """Return the operation that pays the invoice, unless told otherwise."""
        return Payment(to or self.wallet, asset or self.bill.asset, amount or self.bill.amount, source)

    def sign(
        self, *operations: Any, memo: Any = _OWN, payer: Keypair | None = None, **options: Any
    ) -> Signed:
        """Return a transaction with the invoice's reference as its memo, unless told otherwise."""
        return sign(
            list(operations),
            payer=payer or self.payer,
            memo=IdMemo(self.ref) if memo is _OWN else memo,
            ledger=next(_ledgers),
            closed_at=options.pop("closed_at", self.now - timedelta(minutes=1)),
            **options,
        )

    def pay(self, amount: str | None = None, **options: Any) -> Signed:
        """Return a transaction that pays the invoice by one operation, unless told otherwise."""
        sent = {name: options.pop(name) for name in ("to", "asset", "source") if name in options}
        return self.sign(self.send(amount, **sent), **options)

    def muxed(self, number: int, wallet: str | None = None) -> MuxedAccount:
        return MuxedAccount(wallet or self.wallet, number)

    def serve_merge(self, signed: Signed, paid: str, index: int = 0, **changes: Any) -> Signed:
        """Lay down the effects by which Horizon tells what an account_merge paid."""
        row = signed.operations[index]
        credited = {
            "type": "account_credited",
            "account": row["into"],
            "asset_type": "native",
            "amount": paid,
        }
        effects = [
            {"type": "account_debited", "account": row["account"], "asset_type": "native", "amount": paid},
            {**credited, **changes},
            {"type": "account_removed", "account": row["account"]},
        ]
        self.stage.listing.served.add(f"/operations/{row['id']}/effects", page(effects))
        return signed

    def in_shop(self, work: Any) -> None:
        """Do something in the shop's own name, in one transaction."""

        def whole() -> None:
            self.premises.shop.enter()
            work()

        with self.stage.app.app_context():
            run_transaction(whole)

    def cancel(self) -> None:
        shop, bill = self.premises.shop, self.bill
        self.in_shop(lambda: invoices.cancel(merchant_id=shop.id, invoice_id=bill.id, now=self.now))

    def expire(self) -> None:
        shop, bill = self.premises.shop, self.bill
        self.in_shop(lambda: invoices.expire(merchant_id=shop.id, invoice_id=bill.id, now=self.now))
