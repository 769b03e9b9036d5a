"""Rules and writes of people and wallets below the pages."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from stellar_sdk import Keypair

from portal.db import leave_tenant, run_transaction
from portal.domain.merchants import codes, passwords, queries, rules, service
from portal.domain.merchants.service import ChallengeUsed
from portal.extensions import db
from portal.flows.check_readiness import check_readiness
from portal.flows.seed_merchant import EmailTaken, seed_merchant
from portal.kernel.chain import AccountState, AssetHolding, Signer
from portal.kernel.money import from_stroops
from tests.support.builders import NOON, make_shop

# Fixed, because they are part of the names of parametrised tests.
ADDRESS, ISSUER = (Keypair.from_raw_ed25519_seed(bytes([number]) * 32).public_key for number in (1, 2))
USDC = f"USDC:{ISSUER}"


def state(*holdings: AssetHolding, **changes) -> AccountState:
    fields = {
        "address": ADDRESS, "sequence": 1, "balances": holdings, "auth_required": False, "auth_revocable": False,
        "auth_clawback_enabled": False, "low_threshold": 0, "medium_threshold": 0, "high_threshold": 0,
        "signers": (Signer(ADDRESS, 1),), "home_domain": None, "memo_required": False, **changes,
    }  # fmt: skip
    return AccountState(**fields)


def holding(**changes) -> AssetHolding:
    fields = {
        "asset": USDC, "balance_stroops": 10, "limit_stroops": 100, "buying_liabilities_stroops": 0,
        "selling_liabilities_stroops": 0, "authorized": True, **changes,
    }  # fmt: skip
    return AssetHolding(**fields)


class TestReadiness:
    @pytest.mark.parametrize(
        ("account", "asset", "due", "reason"),
        [
            (None, "native", 0, "no_account"),
            (state(), USDC, 0, "no_trustline"),
            (state(holding(authorized=False)), USDC, 0, "not_authorised"),
            (state(holding(balance_stroops=100)), USDC, 0, "limit"),
            (state(holding()), USDC, 91, "limit"),
            (state(holding(buying_liabilities_stroops=90)), USDC, 0, "limit"),
            (state(holding()), USDC, 90, None),
            (state(holding(asset="native", limit_stroops=None)), "native", 10**18, None),
            (state(address=ISSUER), USDC, 0, None),
        ],
    )
    def test_names_the_reason(self, account, asset, due, reason):
        found = rules.readiness_of(account, asset, due=from_stroops(due))

        assert (found.ready, found.reason) == (reason is None, reason)

    def test_is_kept_over_what_was_known(self, as_web):
        shop = make_shop()
        shop.enter()
        wallet = queries.default_wallet(shop.id, "test")
        for minutes, ready in ((0, False), (1, True)):
            result = rules.Readiness("native", ready, None if ready else "no_account")
            at = NOON + timedelta(minutes=minutes)
            run_transaction(
                lambda result=result, at=at: service.record_readiness(
                    merchant_id=shop.id, wallet_id=wallet.id, results=[result], now=at
                )
            )

        kept = queries.readiness(shop.id, wallet.id, "native")

        assert (kept.ready, kept.reason, kept.checked_at) == (True, None, NOON + timedelta(minutes=1))

    def test_is_unknown_while_the_network_is_away(self, as_web):
        shop = make_shop()
        shop.enter()
        wallet = queries.default_wallet(shop.id, "test")

        assert check_readiness(wallet=wallet, asset="native", now=NOON).ready is None

    def test_is_asked_of_the_network(self, sandbox_app):
        with sandbox_app.app_context():
            shop = make_shop()
            shop.enter()
            wallet = queries.default_wallet(shop.id, "test")

            answer = check_readiness(wallet=wallet, asset=USDC, now=NOON)

            assert (answer.ready, answer.reason) == (False, "no_account")
            assert "does not exist" in answer.detail


class TestSigners:
    def test_of_a_missing_account_is_its_own_key(self):
        assert rules.signing_weights(None, ADDRESS) == ({ADDRESS: 1}, 1)

    def test_of_weight_zero_never_count(self):
        account = state(signers=(Signer(ADDRESS, 0), Signer(ISSUER, 3), Signer("X" + ADDRESS[1:], 5)))

        assert rules.signing_weights(account, ADDRESS) == ({ISSUER: 3}, 1)


class TestInput:
    @given(st.text(max_size=100))
    def test_of_any_text_is_an_address_or_refused(self, typed):
        try:
            assert rules.clean_wallet_address(typed).startswith("G")
        except rules.AddressInvalid as refusal:
            assert refusal.detail

    @given(st.text(max_size=60))
    def test_of_any_mail_address_is_lower_cased_alike_by_database_and_python(self, typed):
        try:
            assert rules.clean_email(typed).isascii()
        except rules.EmailInvalid as refusal:
            assert refusal.detail

    @given(st.text(max_size=200))
    def test_of_any_name_can_be_stored(self, typed):
        try:
            assert "\x00" not in rules.clean_text(typed, what="a name")
        except rules.TextInvalid as refusal:
            assert refusal.detail


class TestPasswords:
    def test_match_their_own_hash_alone(self):
        kept = passwords.hash_password("a long sentence")

        assert kept.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
        assert passwords.password_matches(kept, "a long sentence")
        assert not passwords.password_matches(kept, "another one")
        assert not passwords.password_matches(None, "nobody signs in with this password")
        assert not passwords.password_matches("garbage", "x")
        assert not passwords.needs_rehash(kept)


class TestCodes:
    def test_are_not_sent_without_end(self, as_web):
        shop = make_shop()
        shop.enter()

        sent = [
            run_transaction(
                lambda: codes.issue_code(
                    user_id=shop.user_id, purpose="verify_email", nonce="n" * 22, code="123456", now=NOON
                )
            )
            for _ in range(8)
        ]

        assert sent == [True] * 6 + [False] * 2


class TestChallenges:
    def test_of_a_used_nonce_open_nothing(self, as_web):
        shop = make_shop(wallet=False)
        shop.enter()
        address = Keypair.random().public_key
        fields = {
            "merchant_id": shop.id,
            "network": "test",
            "address": address,
            "nonce": "n-" + address,
            "now": NOON,
        }
        run_transaction(lambda: service.start_challenge(envelope_xdr="AAAA", **fields))
        run_transaction(lambda: service.add_wallet(watched_from="0", **fields))

        with pytest.raises(ChallengeUsed):
            run_transaction(lambda: service.add_wallet(watched_from="0", **fields))

    def test_open_nothing_for_another_address_or_too_late(self, as_web):
        shop = make_shop(wallet=False)
        shop.enter()
        address = Keypair.random().public_key
        fields = {
            "merchant_id": shop.id,
            "network": "test",
            "address": address,
            "nonce": "n-" + address,
            "now": NOON,
        }
        run_transaction(lambda: service.start_challenge(envelope_xdr="AAAA", **fields))

        for wrong in ({"address": ISSUER}, {"now": NOON + timedelta(minutes=15)}, {"nonce": "other"}):
            with pytest.raises(ChallengeUsed):
                run_transaction(
                    lambda wrong=wrong: service.add_wallet(watched_from="0", **{**fields, **wrong})
                )


class TestStrangers:
    def test_see_no_wallet_person_or_business(self, as_web):
        shop, stranger = make_shop(), make_shop()
        stranger.enter()

        for table, key in (("wallets", "merchant_id"), ("merchants", "id"), ("memberships", "merchant_id")):
            sql = text(f"SELECT count(*) FROM {table} WHERE {key} = :id")
            assert db.session.scalar(sql, {"id": shop.id}) == 0
        assert queries.find_user(shop.user_id) is None
        with pytest.raises(queries.MerchantNotFound):
            queries.get_merchant(shop.id)
        assert queries.wallet_is_taken("test", shop.wallet)
        leave_tenant()
        db.session.rollback()


class TestSeed:
    @pytest.mark.parametrize("role", ["sandbox_app", "sandbox_worker_app"])
    def test_makes_a_merchant_that_can_be_paid(self, request, role):
        app = request.getfixturevalue(role)
        email = f"seed-{Keypair.random().public_key[:12].lower()}@kopi.example"
        with app.app_context():
            seeded = seed_merchant(email=email, password="a long sentence", business_name="Kopi", now=NOON)

            wallet = queries.default_wallet(seeded.merchant_id, "test")

            assert wallet.address == seeded.wallet == Keypair.from_secret(seeded.wallet_secret).public_key
            assert queries.readiness(seeded.merchant_id, wallet.id, "native").ready
            assert queries.get_merchant(seeded.merchant_id).status == "ACTIVE"
            with pytest.raises(EmailTaken):
                seed_merchant(email=email, password="a long sentence", business_name="Kopi", now=NOON)
