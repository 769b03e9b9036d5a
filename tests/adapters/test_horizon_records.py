"""Real records of the public and test networks, replayed; skipped where they are absent."""

import json
from typing import Any

import pytest

from portal.adapters.horizon import Horizon
from portal.adapters.horizon_accounts import read_account
from portal.adapters.horizon_envelope import read_envelope
from portal.adapters.horizon_records import observe, read_transaction
from portal.kernel.chain import ChainContradiction, ChainUnavailable
from tests.adapters.recordings import (
    FIXTURES,
    HONEST,
    PASSPHRASES,
    TRAPPED,
    index,
    is_trap,
    load,
    names,
    needs_recordings,
)

pytestmark = needs_recordings


@pytest.mark.parametrize("entry", HONEST, ids=names(HONEST))
def test_a_verified_envelope_has_its_hash(entry: dict[str, Any]) -> None:
    envelope = read_envelope(load(entry)["envelope_xdr"], PASSPHRASES[entry["network"]])

    assert entry["hash"] in envelope.hashes


@pytest.mark.parametrize("entry", HONEST, ids=names(HONEST))
def test_a_verified_transaction_is_believed_if_horizon_says_that_it_succeeded(entry: dict[str, Any]) -> None:
    record = load(entry)
    passphrase = PASSPHRASES[entry["network"]]

    if type(record.get("successful")) is not bool:
        # Horizon before 0.17, and answers to submissions, did not say so.
        with pytest.raises(ChainContradiction):
            read_transaction(record, passphrase)
        return
    _, envelope = read_transaction(record, passphrase)

    assert envelope.hashes[0] == entry["hash"]


@pytest.mark.parametrize("entry", HONEST, ids=names(HONEST))
def test_a_verified_transaction_is_refused_under_another_network(entry: dict[str, Any]) -> None:
    with pytest.raises(ChainContradiction):
        read_transaction({**load(entry), "successful": True}, PASSPHRASES["standalone"])


@pytest.mark.parametrize("entry", TRAPPED, ids=names(TRAPPED))
@pytest.mark.parametrize("passphrase", PASSPHRASES.values())
def test_a_trap_is_refused_without_a_crash(entry: dict[str, Any], passphrase: str) -> None:
    with pytest.raises(ChainContradiction):
        read_transaction(load(entry), passphrase)


def test_every_recorded_envelope_has_its_hash_and_memo() -> None:
    lines = (FIXTURES / "envelopes" / "envelopes.jsonl").read_text().splitlines()

    for line in lines:
        known = json.loads(line)
        envelope = read_envelope(known["envelope_xdr"], PASSPHRASES[known["network"]])

        assert envelope.hashes[0] == known["hash"]
        assert envelope.memo_type == known["memo_type"]
        assert envelope.source_account == known["source"]
        assert len(envelope.operations) == len(known["operations"])
    assert len(lines) > 100


def test_every_recorded_account_is_read() -> None:
    accounts = index("account")

    states = [read_account(load(entry)) for entry in accounts]

    assert len(states) == len(accounts) > 10
    assert any(state.memo_required for state in states)


def envelopes_by_hash() -> dict[str, tuple[str, str]]:
    found = {}
    for line in (FIXTURES / "envelopes" / "envelopes.jsonl").read_text().splitlines():
        known = json.loads(line)
        found[known["hash"]] = (known["envelope_xdr"], PASSPHRASES[known["network"]])
    for entry in HONEST:
        found[entry["hash"]] = (load(entry)["envelope_xdr"], PASSPHRASES[entry["network"]])
    return found


def test_recorded_operations_agree_with_their_envelopes_unless_edited() -> None:
    known = envelopes_by_hash()
    outcomes: dict[str, int] = {"read": 0, "refused": 0}

    for entry in index("op"):
        if entry["hash"] not in known:
            continue
        operation = load(entry)
        envelope = read_envelope(*known[entry["hash"]])
        position = (int(operation["id"]) & 0xFFF) - 1
        record = {"successful": True, "ledger": 1, "created_at": operation["created_at"], "envelope_xdr": ""}
        signed = envelope.operations[position : position + 1]
        alone = type(envelope)(
            envelope.hashes, envelope.source_account, envelope.fee_account, "none", None, None, signed
        )
        try:
            found = observe(record, alone, [operation], lambda operation_id, address: 1)
        except ChainContradiction:
            assert is_trap(entry), entry["file"]
            outcomes["refused"] += 1
        else:
            assert not is_trap(entry), entry["file"]
            assert found.credits, entry["file"]
            outcomes["read"] += 1

    assert outcomes["read"] >= 3


@pytest.mark.parametrize(
    "name",
    [
        "pages/page_payments_pubnet_2024.json",
        "pages/page_all_payments_docs.json",
        "pages/FOREIGN_kin_network_payments.json",
    ],
)
def test_a_recorded_page_names_no_payment_that_is_not_proven(
    name: str, horizon: Horizon, served: Any
) -> None:
    body = json.loads((FIXTURES / name).read_text())
    addresses = {record.get(field) for record in body["_embedded"]["records"] for field in ("to", "account")}
    served.add("/payments", body)

    # None of these transactions can be fetched from the double, so nothing may be believed.
    with pytest.raises((ChainUnavailable, ChainContradiction)):
        horizon.payments_since("0", addresses - {None})
