"""Every invariant finds the one row that breaks it, and nothing else does."""

import json
from uuid import uuid4

import pytest

from portal import cli
from portal.flows import invariants

CASES = {}
BOTH_EXTERNAL = {"debit": ("external", None), "credit": ("external", None)}


def breaks(name):
    def keep(function):
        CASES[name] = function
        return function

    return keep


@breaks("journals_balance")
def _(copy):
    journal = copy.sql("SELECT id FROM ledger_journals WHERE kind = 'issue' AND reference_id = %(open)s")
    copy.enter(journal, ("external", None), "DEBIT", "1")


@breaks("journals_have_entries")
def _(copy):
    copy.sql(
        "INSERT INTO ledger_journals (id, merchant_id, network, kind, reference_id, occurred_at)"
        " VALUES (gen_random_uuid(), %(shop)s, 'test', 'short', %(paid_payment)s, now())"
    )


@breaks("entries_fit_their_account")
def _(copy):
    copy.sql(
        "UPDATE ledger_entries SET asset = 'USDC:' || %(issuer)s WHERE journal_id IN"
        " (SELECT id FROM ledger_journals WHERE kind = 'issue' AND reference_id = %(big)s)",
        issuer="G" + "A" * 55,
    )


@breaks("balances_are_sums_of_entries")
def _(copy):
    copy.sql(
        "UPDATE account_balances SET balance = balance + 1 WHERE account_id ="
        " (SELECT id FROM ledger_accounts WHERE kind = 'income' AND merchant_id = %(shop)s)"
    )


@breaks("accounts_have_the_right_owner")
def _(copy):
    copy.sql(
        "UPDATE ledger_accounts SET owner_id = %(shop)s WHERE kind = 'income' AND merchant_id = %(shop)s"
    )


@breaks("journals_name_their_fact")
def _(copy):
    copy.post("short", uuid4(), **BOTH_EXTERNAL)


@breaks("reversals_mirror_their_journal")
def _(copy):
    copy.sql(
        "UPDATE ledger_journals SET reference_id = %(open)s WHERE kind = 'reversal' AND merchant_id = %(shop)s"
    )


@breaks("issued_invoices_are_booked")
def _(copy):
    copy.post("issue", copy.ids["open"], **BOTH_EXTERNAL)


@breaks("closed_invoices_are_written_off")
def _(copy):
    copy.post("close", copy.ids["open"], **BOTH_EXTERNAL)


@breaks("receivables_are_open_dues")
def _(copy):
    debtor = ("receivable", copy.ids["open"])
    copy.post("short", copy.ids["paid_payment"], debit=debtor, credit=("external", None))


@breaks("client_credit_is_excess")
def _(copy):
    copy.post(
        "short",
        copy.ids["paid_payment"],
        debit=("external", None),
        credit=("client_credit", copy.ids["open"]),
    )


@breaks("credit_is_not_negative")
def _(copy):
    debtor = copy.ids["big"]
    journal = copy.post("credit", debtor, debit=("client_credit", debtor), credit=("receivable", debtor))
    copy.allocate(debtor, "client_credit", debtor, journal)
    copy.sql("UPDATE invoices SET amount_received = 1 WHERE id = %(big)s")


@breaks("suspense_is_unmatched_money")
def _(copy):
    copy.post("short", copy.ids["paid_payment"], debit=("external", None), credit=("suspense", None))


@breaks("wallets_hold_their_payments")
def _(copy):
    wallet = copy.sql("SELECT id FROM wallets WHERE merchant_id = %(shop)s")
    copy.post("short", copy.ids["paid_payment"], debit=("wallet", wallet), credit=("external", None))


@breaks("payments_have_their_journal")
def _(copy):
    copy.post("match", copy.ids["unmatched"], **BOTH_EXTERNAL)


@breaks("confirmed_payments_are_explained")
def _(copy):
    move_credit_elsewhere(copy)


def move_credit_elsewhere(copy):
    """Book what the paid invoice received on another account, and back again in a journal of its own."""
    journal = copy.sql("SELECT journal_id FROM allocations WHERE source_id = %(paid_payment)s")
    copy.sql(
        "DELETE FROM ledger_entries e USING ledger_accounts a"
        " WHERE a.id = e.account_id AND a.kind = 'receivable' AND e.journal_id = %(journal)s",
        journal=journal,
    )
    copy.enter(journal, ("external", None), "CREDIT", "90")
    copy.post(
        "short", copy.ids["paid_payment"], debit=("external", None), credit=("receivable", copy.ids["paid"]),
        amount="90",
    )  # fmt: skip
    # The deleted entry is gone from the balance too.
    copy.sql(
        "UPDATE account_balances SET balance = balance + 90 WHERE account_id ="
        " (SELECT id FROM ledger_accounts WHERE kind = 'receivable' AND owner_id = %(paid)s)"
    )


@breaks("allocations_name_their_journal")
def _(copy):
    copy.sql(
        "UPDATE allocations SET journal_id = (SELECT journal_id FROM allocations WHERE source_id = %(over_payment)s)"
        " WHERE source_id = %(paid_payment)s"
    )


@breaks("decisions_are_carried_out")
def _(copy):
    copy.sql(
        "UPDATE payments SET decision = jsonb_set(decision, '{parts,0,allocated_stroops}', '1')"
        " WHERE id = %(matched_payment)s"
    )


@breaks("refunds_are_within_their_payment")
def _(copy):
    copy.sql("UPDATE payments SET refund_reserved = refund_reserved + 1 WHERE id = %(overpaid_payment)s")


@breaks("refunds_are_booked")
def _(copy):
    copy.sql(
        "UPDATE ledger_journals SET kind = 'short', reference_id = %(overpaid_payment)s"
        " WHERE reference_id = %(refund)s"
    )


@breaks("refunds_return_to_their_payer")
def _(copy):
    copy.sql("UPDATE refunds SET destination = source WHERE id = %(refund)s")


@breaks("external_payments_are_booked")
def _(copy):
    copy.sql("UPDATE external_payments SET amount = amount + 1 WHERE id = %(external)s")


@breaks("clawbacks_are_booked")
def _(copy):
    copy.sql(
        "UPDATE clawbacks SET amount = amount + 1 WHERE payment_id IS NOT NULL AND merchant_id = %(desk)s"
    )


@breaks("reversed_payments_were_clawed_back")
def _(copy):
    copy.sql("DELETE FROM clawbacks WHERE payment_id IS NOT NULL AND merchant_id = %(desk)s")


@breaks("received_is_allocated")
def _(copy):
    journal = copy.sql("SELECT id FROM ledger_journals WHERE kind = 'short' LIMIT 1")
    source = copy.sql("SELECT reference_id FROM ledger_journals WHERE id = %(journal)s", journal=journal)
    copy.allocate(copy.ids["open"], "rounding", source, journal)


@breaks("received_is_within_the_amount")
def _(copy):
    copy.drop_check("invoices", "ck_invoices_received_within_amount")
    copy.drop_check("invoices", "ck_invoices_paid_is_fully_received")
    debtor = ("receivable", copy.ids["paid"])
    journal = copy.post("short", copy.ids["paid_payment"], debit=("external", None), credit=debtor)
    copy.allocate(copy.ids["paid"], "rounding", copy.ids["paid_payment"], journal)
    copy.sql("UPDATE invoices SET amount_received = amount_received + 1 WHERE id = %(paid)s")


@breaks("paid_means_received_in_full")
def _(copy):
    copy.drop_check("invoices", "ck_invoices_paid_has_time")
    copy.sql("UPDATE invoices SET paid_at = NULL WHERE id = %(paid)s")


@breaks("reversed_means_short_of_money")
def _(copy):
    copy.sql("UPDATE invoices SET flags = flags || '{reversed}' WHERE id = %(paid)s")


@breaks("overpaid_is_flagged")
def _(copy):
    copy.sql("UPDATE invoices SET flags = flags || '{overpaid}' WHERE id = %(paid)s")


@breaks("overpaid_is_the_excess")
def _(copy):
    owner = ("client_credit", copy.ids["over"])
    copy.post("short", copy.ids["over_payment"], debit=("external", None), credit=owner)
    copy.sql("UPDATE invoices SET overpaid_by = overpaid_by + 1 WHERE id = %(over)s")


@breaks("drafts_are_unissued")
def _(copy):
    copy.drop_check("invoices", "ck_invoices_issued_is_whole")
    copy.sql("UPDATE invoices SET expires_at = now() WHERE id = %(draft)s")


@breaks("closed_invoices_have_a_time")
def _(copy):
    copy.drop_check("invoices", "ck_invoices_closed_has_time")
    copy.sql("UPDATE invoices SET closed_at = NULL WHERE id = %(expired)s")


@breaks("numbers_are_gapless")
def _(copy):
    copy.sql("UPDATE counters SET value = value + 1 WHERE merchant_id = %(shop)s")
    copy.sql(
        "UPDATE invoices SET number = (SELECT 'INV-' || period || '-' || lpad(value::text, 4, '0') FROM counters"
        " WHERE merchant_id = %(shop)s) WHERE id = %(open)s"
    )


@breaks("counters_are_the_last_number")
def _(copy):
    copy.sql("UPDATE counters SET value = value + 1 WHERE merchant_id = %(shop)s")


@breaks("numbers_fit_their_month")
def _(copy):
    copy.sql("UPDATE counters SET period = '2025-01' WHERE merchant_id = %(stranger)s")
    copy.sql("UPDATE invoices SET number = 'INV-2025-01-0001' WHERE id = %(alone)s")


@breaks("pay_refs_have_a_check_digit")
def _(copy):
    copy.sql("UPDATE invoices SET pay_ref = pay_ref / 10 * 10 + (pay_ref + 1) %% 10 WHERE id = %(open)s")


@breaks("pay_refs_are_unique")
def _(copy):
    copy.drop_check("invoices", "uq_invoices_network_pay_ref")
    copy.sql(
        "UPDATE invoices SET pay_ref = (SELECT pay_ref FROM invoices WHERE id = %(big)s) WHERE id = %(open)s"
    )


@breaks("lines_add_up")
def _(copy):
    copy.sql(
        "INSERT INTO discount_lines (id, merchant_id, invoice_id, position, label, total)"
        " VALUES (gen_random_uuid(), %(shop)s, %(big)s, 0, 'gift', 1)"
    )


@breaks("lines_are_computed")
def _(copy):
    copy.sql("UPDATE invoice_items SET unit_price = unit_price + 1 WHERE invoice_id = %(open)s")


@breaks("invoices_are_paid_to_their_wallet")
def _(copy):
    copy.sql("UPDATE invoices SET destination = %(other)s WHERE id = %(big)s", other="G" + "B" * 55)


@breaks("credits_count_once")
def _(copy):
    copy.drop_check("payments", "uq_payments_transaction_id_operation_index_credit_index")
    twin, event = uuid4(), uuid4()
    for table, key, owner in (("payments", "id", twin), ("events", "aggregate_id", event)):
        copy.sql(f"CREATE TEMP TABLE twin AS SELECT * FROM {table} WHERE {key} = %(ignored)s")
        copy.sql("UPDATE twin SET id = %(owner)s", owner=owner)
        if table == "events":
            copy.sql("UPDATE twin SET aggregate_id = %(twin)s", twin=twin)
        copy.sql(f"INSERT INTO {table} SELECT * FROM twin")
        copy.sql("DROP TABLE twin")
    copy.sql(
        "INSERT INTO outbox (id, merchant_id, event_id, consumer, next_attempt_at)"
        " SELECT gen_random_uuid(), %(shop)s, %(event)s, consumer, now() FROM unnest(ARRAY['feed', 'mirror']) AS consumer",
        event=event,
    )


@breaks("hashes_name_a_transaction")
def _(copy):
    copy.sql("UPDATE chain_transaction_hashes SET network = 'live' WHERE hash = repeat('a', 64)")


@breaks("canonical_hashes_are_known")
def _(copy):
    copy.sql(
        "DELETE FROM chain_transaction_hashes WHERE transaction_id ="
        " (SELECT transaction_id FROM payments WHERE id = %(over_payment)s)"
    )


@breaks("stored_transactions_succeeded")
def _(copy):
    copy.sql(
        "UPDATE chain_transactions SET raw = raw || '{\"successful\": false}' WHERE id ="
        " (SELECT transaction_id FROM payments WHERE id = %(paid_payment)s)"
    )


@breaks("payments_reached_their_wallet")
def _(copy):
    copy.sql("UPDATE payments SET destination = %(other)s WHERE id = %(unmatched)s", other="G" + "B" * 55)


@breaks("confirmed_payments_fit_their_invoice")
def _(copy):
    copy.sql("UPDATE payments SET client_id = %(client)s WHERE id = %(paid_payment)s")


@breaks("accepted_submissions_name_their_payment")
def _(copy):
    copy.sql("UPDATE submissions SET transaction_hash = repeat('b', 64)")


@breaks("networks_agree")
def _(copy):
    copy.sql("UPDATE submissions SET network = 'live'")


@breaks("event_versions_are_gapless")
def _(copy):
    copy.sql(
        "DELETE FROM outbox WHERE event_id = (SELECT id FROM events WHERE aggregate_id = %(alone)s AND version = 1)"
    )
    copy.sql("DELETE FROM events WHERE aggregate_id = %(alone)s AND version = 1")


@breaks("invoices_are_announced")
def _(copy):
    copy.sql('UPDATE events SET payload = payload || \'{"status": "PAID"}\' WHERE aggregate_id = %(open)s')


@breaks("payments_are_announced")
def _(copy):
    copy.sql("UPDATE payments SET version = 2 WHERE id = %(paid_payment)s")


@breaks("refunds_are_announced")
def _(copy):
    copy.sql("UPDATE refunds SET code = 'lost' WHERE id = %(refund)s")


@breaks("events_have_their_outbox_rows")
def _(copy):
    copy.sql(
        "DELETE FROM outbox WHERE consumer = 'mirror' AND event_id ="
        " (SELECT id FROM events WHERE aggregate_id = %(open)s)"
    )


@breaks("events_are_in_the_feed")
def _(copy):
    copy.sql(
        "UPDATE outbox SET state = 'DONE' WHERE consumer = 'feed' AND event_id ="
        " (SELECT id FROM events WHERE aggregate_id = %(alone)s AND version = 1)"
    )


@breaks("feeds_are_gapless")
def _(copy):
    copy.sql("UPDATE event_feed SET seq = seq + 1 WHERE seq = (SELECT max(seq) FROM event_feed)")


@breaks("row_level_security_is_forced")
def _(copy):
    copy.sql("ALTER TABLE payments NO FORCE ROW LEVEL SECURITY")


@breaks("triggers_and_constraints_are_enabled")
def _(copy):
    copy.sql("ALTER TABLE invoices DISABLE TRIGGER invoices_guard_update")


@breaks("append_only_tables_stay_so")
def _(copy):
    copy.sql("GRANT UPDATE ON allocations TO portal_web")


@breaks("checks_hold")
def _(copy):
    copy.drop_check("merchants", "ck_merchants_tolerance_not_negative")
    copy.sql("UPDATE merchants SET tolerance = -1 WHERE id = %(shop)s")


@breaks("unique_keys_hold")
def _(copy):
    copy.drop_check("users", "uq_users_email_lower")
    copy.sql("UPDATE users SET email_lower = 'twin@example.com'")


@breaks("foreign_keys_hold")
def _(copy):
    copy.sql("UPDATE memberships SET user_id = %(nobody)s WHERE user_id = %(user)s", nobody=uuid4())


def failures(result) -> list[str]:
    return [line.split()[1] for line in result.stdout.splitlines() if line.startswith("FAIL ")]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_broken_row_is_told_by_its_own_line_alone(name, copy):
    CASES[name](copy)

    result = copy.run(cli.invariants)

    assert failures(result) == [name], result.output
    assert result.exit_code == 1


def test_every_invariant_has_a_row_that_breaks_it():
    assert sorted(CASES) == sorted(invariants.names())


def test_whole_rows_break_nothing(copy):
    result = copy.run(cli.invariants)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert lines == [f"ok   {name}" for name in invariants.names()]


def test_findings_are_machine_readable_and_name_rows_by_their_refs(copy):
    CASES["counters_are_the_last_number"](copy)

    result = copy.run(cli.invariants, "--json")

    [found] = [each for each in json.loads(result.stdout) if each["rows"]]
    assert (found["name"], found["rows"]) == ("counters_are_the_last_number", 1)
    assert found["refs"][0].startswith("mer_")
    assert result.exit_code == 1
