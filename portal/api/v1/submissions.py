"""Hashes that programs submit for an invoice, and what came of them."""

from flask import Blueprint, Response, g

from portal.api.v1 import shapes
from portal.api.v1.answers import answer, respond_once, show
from portal.api.v1.contract import api_access
from portal.api.v1.errors import problem
from portal.api.v1.reading import read_attempt, read_body
from portal.api.v1.schemas import SubmissionCreate
from portal.domain.idempotency.rules import KeptAnswer
from portal.domain.payments import queries
from portal.domain.payments.documents import submission_document
from portal.domain.payments.submissions import Answer
from portal.flows import submit_hash as flow
from portal.flows.once import Hooks, answer_once
from portal.kernel.clock import utc_now
from portal.kernel.refs import from_ref

bp = Blueprint("api_submissions", __name__)

# The first look of the worker comes a second after the submission.
CHECKING_RETRY_SECONDS = 2
HASH_USED = "All that this transaction paid has been credited elsewhere."
REFUSED = "This transaction does not pay this invoice; `submission.rules` tells which rule it breaks."


@bp.post("/invoices/<ref>/submissions")
@api_access(
    "invoices:write",
    summary="Submit the hash of a transaction that pays an invoice",
    description=(
        "201: credited now. 200: credited before by the same transaction. 202: not on the ledger yet, follow"
        " Location. 409 hash_used, 422 with the code of the rule that refuses it."
    ),
    body=SubmissionCreate,
    answers={200: shapes.Submission, 201: shapes.Submission, 202: shapes.Submission},
    refusals=(404, 409, 422),
    asks_network=True,
)
def submit_hash(ref: str) -> Response:
    wanted = read_body(SubmissionCreate)
    now = utc_now()
    invoice_id = from_ref("inv", ref)

    def effect(hooks: Hooks) -> None:
        flow.submit_hash(
            merchant_id=g.api_key.merchant_id,
            network=g.api_key.network,
            invoice_id=invoice_id,
            text=wanted.transaction_hash,
            origin="api",
            now=now,
            prepare=hooks.prepare,
            finish=lambda result: hooks.finish(_shown(result)),
        )

    return respond_once(answer_once(read_attempt(), effect, now=now, asks_network=True))


@bp.get("/submissions/<ref>")
@api_access("invoices:read", summary="Show a submission", answers={200: shapes.Submission}, refusals=(404,))
def show_submission(ref: str) -> Response:
    submission = queries.get_submission(merchant_id=g.api_key.merchant_id, submission_id=from_ref("sub", ref))
    return show(submission_document(submission))


def _shown(result: Answer) -> KeptAnswer:
    """Return what a verdict answers: a refusal is a problem that carries the submission it was recorded as."""
    document = submission_document(result.submission)
    location = f"/api/v1/submissions/{document['id']}"
    if result.status < 400:
        waiting = {"retry_after": str(CHECKING_RETRY_SECONDS)} if result.status == 202 else {}
        return answer(result.status, document, location=location, **waiting)
    detail = HASH_USED if result.status == 409 else REFUSED
    return problem(result.status, code=document["code"], detail=detail, submission=document)
