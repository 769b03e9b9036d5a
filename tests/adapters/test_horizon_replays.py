"""Real payments of the public and test networks, served as recorded and read as the portal would read them."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from stellar_sdk import FeeBumpTransactionEnvelope, TransactionBuilder, TransactionEnvelope

from portal.adapters.horizon import Horizon
from portal.domain.payments.rules import Context, InvoiceFacts, Outcome, judge
from portal.kernel.chain import ChainContradiction, Credit, ObservedTransaction
from portal.kernel.money import parse_amount, to_stroops
from tests.adapters.recordings import HONEST, PASSPHRASES, index, load, names, needs_recordings
from tests.cases.served import Served, page
from tests.cases.signing import contract_call, operation_fields

pytestmark = needs_recordings

PAYS = {"payment", "create_account", "path_payment_strict_receive", "path_payment_strict_send"}
RECORDED = {(entry["hash"], entry["op_id"]): entry for entry in index("op") if "op_id" in entry}
CALLS = [entry for entry in index("op") if "invoke_host_function" in entry["file"]]


def inner_of(record: dict[str, Any], passphrase: str) -> TransactionEnvelope:
    envelope = TransactionBuilder.from_xdr(record["envelope_xdr"], passphrase)
    if isinstance(envelope, FeeBumpTransactionEnvelope):
        return envelope.transaction.inner_transaction_envelope
    return envelope


def rows_of(record: dict[str, Any], passphrase: str) -> list[dict[str, Any]]:
    """Return the operations of a recorded transaction: as recorded, or else as signed and read by stellar-sdk."""
    inner = inner_of(record, passphrase)
    source = inner.transaction.source.account_id
    rows = []
    for position, operation in enumerate(inner.transaction.operations, start=1):
        number = str(int(record["paging_token"]) + position)
        if (record["hash"], number) in RECORDED:
            rows.append(load(RECORDED[record["hash"], number]))
            continue
        common = {"id": number, "paging_token": number, "transaction_hash": record["hash"]}
        payer = operation.source.account_id if operation.source else source
        rows.append({**common, "source_account": payer, **operation_fields(operation, source)})
    return rows


def replayed(entry: dict[str, Any], served: Served) -> ObservedTransaction:
    record, passphrase = load(entry), PASSPHRASES[entry["network"]]
    served.add("/", {"network_passphrase": passphrase, "history_latest_ledger": 9})
    served.add(f"/transactions/{record['hash']}", record)
    served.add(f"/transactions/{record['hash']}/operations", page(rows_of(record, passphrase)))
    found = Horizon(served.url, passphrase=passphrase).find_transaction(record["hash"])
    assert found is not None
    return found


def expected_credits(entry: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return (operation, destination, muxed id, asset, stroops) as stellar-sdk reads the envelope."""
    found = []
    operations = inner_of(load(entry), PASSPHRASES[entry["network"]]).transaction.operations
    for position, operation in enumerate(operations):
        fields = operation_fields(operation, "")
        if fields["type"] not in PAYS:
            continue
        code, issuer = fields.get("asset_code"), fields.get("asset_issuer")
        to, muxed_id = fields.get("to") or fields.get("account"), fields.get("to_muxed_id")
        amount = fields.get("amount") or fields.get("starting_balance")
        stroops = to_stroops(parse_amount(amount))
        asset = f"{code}:{issuer}" if code else "native"
        found.append((position, to, int(muxed_id) if muxed_id else None, asset, stroops))
    return found


def is_replayable(entry: dict[str, Any]) -> bool:
    record = load(entry)
    return type(record.get("successful")) is bool and "paging_token" in record


REPLAYED = [entry for entry in HONEST if is_replayable(entry)]
PAYING = [entry for entry in REPLAYED if expected_credits(entry)]


@pytest.mark.parametrize("entry", REPLAYED, ids=names(REPLAYED))
def test_a_real_transaction_brings_what_another_reader_finds_in_its_envelope(
    entry: dict[str, Any], served: Served
) -> None:
    found = replayed(entry, served)

    read = [
        (each.operation_index, each.destination, each.muxed_id, each.asset, each.stroops)
        for each in found.credits
    ]
    assert read == expected_credits(entry)


def exact_invoice(found: ObservedTransaction, credit: Credit) -> InvoiceFacts:
    """Return an invoice that this credit fits in everything but its reference."""
    return InvoiceFacts(
        id=uuid4(),
        pay_ref=123456789018,
        status="PENDING",
        asset=credit.asset,
        amount_stroops=credit.stroops,
        received_stroops=0,
        destination=credit.destination,
        issued_at=found.closed_at - timedelta(hours=1),
        expires_at=None,
    )


@pytest.mark.parametrize("entry", PAYING, ids=names(PAYING))
def test_a_real_payment_of_just_the_amount_pays_no_invoice_that_it_does_not_name(
    entry: dict[str, Any], served: Served
) -> None:
    found = replayed(entry, served)
    wallets = frozenset(credit.destination for credit in found.credits)
    invoices = tuple(exact_invoice(found, credit) for credit in found.credits)

    verdict = judge(found, Context(wallets=wallets, invoices=invoices))

    assert len(verdict.credits) == len(found.credits)
    for each in verdict.credits:
        paid_itself = each.credit.source == each.credit.destination
        assert each.outcome is (Outcome.IGNORED if paid_itself else Outcome.UNMATCHED)
        assert each.allocated_stroops == 0 and each.reason


@pytest.mark.parametrize("entry", PAYING, ids=names(PAYING))
@pytest.mark.parametrize(
    ("field", "value"),
    [("amount", "1.2345678"), ("to", "GBZG3SMBL6FPLYYNQP6DMVZHDHCDIR4J4GYRGKE5BYRVLBYN364RBL5S")],
)
def test_a_real_operation_that_was_changed_is_refused(
    entry: dict[str, Any], field: str, value: str, served: Served
) -> None:
    record, passphrase = load(entry), PASSPHRASES[entry["network"]]
    rows = rows_of(record, passphrase)
    changed = next(row for row in rows if row["type"] in PAYS)
    opening = {"amount": "starting_balance", "to": "account"}
    changed[opening[field] if changed["type"] == "create_account" else field] = value
    served.add("/", {"network_passphrase": passphrase, "history_latest_ledger": 9})
    served.add(f"/transactions/{record['hash']}", record)
    served.add(f"/transactions/{record['hash']}/operations", page(rows))

    with pytest.raises(ChainContradiction):
        Horizon(served.url, passphrase=passphrase).find_transaction(record["hash"])


def changes_recorded() -> list[list[dict[str, Any]]]:
    """Return what real contract calls moved, one list a call."""
    calls = [load(entry) for entry in CALLS]
    for entry in index("pages"):
        records = load(entry).get("_embedded", {}).get("records", [])
        calls += [each for each in records if each.get("type") == "invoke_host_function"]
    return [call["asset_balance_changes"] for call in calls if call.get("asset_balance_changes")]


def test_what_real_contract_calls_brought_to_accounts_is_read(
    horizon: Horizon, chain: Any, served: Served
) -> None:
    recorded = changes_recorded()
    for ledger, changes in enumerate(recorded, start=7):
        signed = chain.sign([contract_call()], payer=chain.payer, ledger=ledger)
        signed.edited(asset_balance_changes=changes).serve(served)
        expected = [
            (change["to"], change["amount"])
            for change in changes
            if change["type"] in {"transfer", "mint"} and change["to"].startswith("G")
        ]

        found = horizon.find_transaction(signed.hash)

        assert found is not None
        read = [
            (each.destination, f"{each.stroops // 10**7}.{each.stroops % 10**7:07}") for each in found.credits
        ]
        assert read == expected
    assert len(recorded) >= 3
