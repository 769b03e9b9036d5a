"""Say what a verdict means for the one invoice on whose page the hash was submitted."""

from portal.domain.payments.rules import InvoiceFacts, RuleResult, Verdict
from portal.kernel.chain import ObservedTransaction


def explain_for_invoice(
    transaction: ObservedTransaction, verdict: Verdict, invoice: InvoiceFacts
) -> tuple[str | None, tuple[RuleResult, ...]]:
    """Return (code, rules) for the page of `invoice` on which the hash was submitted.

    The code is None when a credit names this invoice and passes every rule, whether it is credited now or
    was recorded before; `hash_used` when everything that reached the merchant went to other invoices.
    """
    if not verdict.transaction_ok:
        return verdict.reason, verdict.rules
    if not verdict.credits:
        return _explain_elsewhere(transaction, invoice, verdict)
    mine = [found for found in verdict.credits if found.invoice_id == invoice.id]
    passed = next((found for found in mine if found.reason is None), None)
    if passed is not None:
        return None, passed.rules
    if mine:
        return mine[0].reason, mine[0].rules
    failed = [found for found in verdict.credits if found.reason is not None]
    if not failed:
        elsewhere = RuleResult("names_this_invoice", False, "its reference names another invoice")
        return "hash_used", (*verdict.rules, elsewhere)
    # What reached this invoice's own wallet in its own asset is the likeliest to have been meant for it.
    expected = (invoice.destination, invoice.asset)
    failed.sort(key=lambda found: (found.credit.destination, found.credit.asset) != expected)
    return failed[0].reason, failed[0].rules


def _explain_elsewhere(
    transaction: ObservedTransaction, invoice: InvoiceFacts, verdict: Verdict
) -> tuple[str, tuple[RuleResult, ...]]:
    if not transaction.credits:
        return "not_a_payment", (*verdict.rules, RuleResult("payment", False, "no operation pays an account"))
    paid = ", ".join(sorted({credit.destination for credit in transaction.credits})[:3])
    return "wrong_destination", (
        *verdict.rules,
        RuleResult("destination", False, f"it pays {paid}, not {invoice.destination}"),
    )
