"""The ways by which a hash comes to the portal: each claims it and tells what it was answered."""

import re
from dataclasses import dataclass, field
from typing import Any

from flask import Flask

from portal.db import run_transaction
from portal.domain.api_keys import service as api_keys
from portal.domain.api_keys.rules import SCOPES
from portal.domain.payments.models import Submission
from portal.extensions import db
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref, to_ref
from tests.api.callers import Caller
from tests.cases.scene import Bill, Premises
from tests.support.builders import NETWORK
from tests.web.posting import Visitor, visit

_SUBMISSION = re.compile(r"submission=(sub_[0-9A-Z]{26})")
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_RULE = re.compile(r'<li class="(?:yes|no)">')


@dataclass(frozen=True)
class Heard:
    """What an entry was told; `status` is None where it is not a verdict's own."""

    state: str
    code: str | None
    status: int | None = None
    rules: tuple[bool, ...] = ()


@dataclass
class PageEntry:
    """The form on the payer's page, which nobody signs in to."""

    app: Flask

    def claim(self, premises: Premises, bill: Bill, text: str) -> Heard:
        sent = {"transaction_hash": text}
        answer = self.app.test_client().post(f"/i/{bill.token}/submissions", data=sent)
        if answer.status_code == 404:
            return Heard("MISSING", None)
        if answer.status_code == 422:
            return Heard("REJECTED", "hash_malformed")
        return kept(self.app, premises, answer)


@dataclass
class ApiEntry:
    """POST /api/v1/invoices/{ref}/submissions with a key of the shop."""

    app: Flask
    keys: dict[str, str] = field(default_factory=dict)

    def claim(self, premises: Premises, bill: Bill, text: str) -> Heard:
        caller = Caller(self.app, premises.shop, self._key(premises))
        path = f"/invoices/{to_ref('inv', bill.id)}/submissions"
        answer = caller.post(path, {"transaction_hash": text})
        body: dict[str, Any] = answer.get_json()
        if answer.status_code == 404:
            return Heard("MISSING", None, 404)
        shown = body if answer.status_code < 400 else body.get("submission", {})
        state = shown.get("state", "REJECTED")
        code = body["code"] if answer.status_code >= 400 else shown["code"]
        rules = tuple(rule["ok"] for rule in shown.get("rules", []))
        return Heard(state, code, answer.status_code, rules)

    def _key(self, premises: Premises) -> str:
        shop = premises.shop
        if shop.wallet not in self.keys:

            def work() -> str:
                shop.enter()
                return api_keys.create_key(
                    merchant_id=shop.id, network=NETWORK, name="Till", scopes=list(SCOPES), created_by=None,
                    expires_at=None, now=utc_now(),
                )[1]  # fmt: skip

            with self.app.app_context():
                self.keys[shop.wallet] = run_transaction(work)
        return self.keys[shop.wallet]


@dataclass
class PortalEntry:
    """The form on the merchant's own page of the invoice, sent by the shop's owner."""

    app: Flask
    people: dict[str, Visitor] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def claim(self, premises: Premises, bill: Bill, text: str) -> Heard:
        visitor = self._person(premises)
        path = f"/invoices/{to_ref('inv', bill.id)}/submissions"
        typed = {"csrf_token": self.tokens[premises.shop.wallet], "transaction_hash": text}
        answer = visitor.client.post(path, data=typed)
        if answer.status_code == 404:
            return Heard("MISSING", None)
        shown = answer.get_data(as_text=True)
        if answer.status_code == 422 and 'id="transaction_hash-error-1"' in shown:
            return Heard("REJECTED", "hash_malformed")
        heard = self._kept(premises, bill, text, answer.status_code)
        if heard.state == "REJECTED":
            assert answer.status_code in {409, 422}
            assert "This transaction does not pay this invoice" in shown
            assert len(_RULE.findall(shown)) == len(heard.rules) > 0
        else:
            assert (answer.status_code, answer.headers["Location"]) == (
                303,
                path.removesuffix("/submissions"),
            )
        return heard

    def _person(self, premises: Premises) -> Visitor:
        wallet = premises.shop.wallet
        if wallet not in self.people:
            self.people[wallet] = visit(self.app, premises.shop)
            found = _TOKEN.search(self.people[wallet].get("/clients"))
            assert found is not None
            self.tokens[wallet] = found[1]
        return self.people[wallet]

    def _kept(self, premises: Premises, bill: Bill, text: str, status: int) -> Heard:
        with self.app.app_context():
            premises.shop.enter()
            submission = db.session.scalars(
                db.select(Submission).where(
                    Submission.invoice_id == bill.id, Submission.transaction_hash == text.strip().lower()
                )
            ).one()
            rules = tuple(rule["ok"] for rule in submission.rules)
            return Heard(submission.state, submission.code, status if status >= 400 else None, rules)


def kept(app: Flask, premises: Premises, answer: Any) -> Heard:
    """Return the submission that a page leads to."""
    assert answer.status_code == 303, answer.status_code
    found = _SUBMISSION.search(answer.headers["Location"])
    assert found is not None, answer.headers["Location"]
    with app.app_context():
        premises.shop.enter()
        submission = db.session.get_one(Submission, from_ref("sub", found[1]))
        rules = tuple(rule["ok"] for rule in submission.rules)
        return Heard(submission.state, submission.code, None, rules)
