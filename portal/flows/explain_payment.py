"""Why a transaction was credited or not, for operators: the evidence as it was recorded, over all tenants."""

from typing import Any

from sqlalchemy import select

from portal.domain.payments import queries
from portal.domain.payments.documents import payment_document
from portal.domain.payments.models import Payment
from portal.domain.payments.rules import parse_hash
from portal.extensions import db
from portal.kernel.refs import to_ref


def explain_payment(*, network: str, text: str) -> list[dict[str, Any]]:
    """Return the JSON of every recorded credit of the transaction with this hash, outer or inner.

    :raises HashMalformed: when `text` is no hash.
    """
    transaction = queries.find_transaction(network=network, transaction_hash=parse_hash(text.strip()))
    if transaction is None:
        return []
    statement = select(Payment).where(Payment.transaction_id == transaction.id)
    found = db.session.scalars(statement.order_by(Payment.operation_index, Payment.credit_index)).all()
    return [
        {"merchant": to_ref("mer", payment.merchant_id)}
        | payment_document(
            payment,
            transaction,
            queries.allocations_of(merchant_id=payment.merchant_id, payment_id=payment.id),
        )
        for payment in found
    ]
