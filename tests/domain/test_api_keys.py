"""API keys below the pages: their text, their hash, who they open for."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from portal.db import leave_tenant, run_transaction
from portal.domain.api_keys import queries, rules, service
from portal.domain.api_keys.models import ApiKey
from portal.extensions import db
from tests.support.builders import NOON, make_shop


def make_key(shop, **changes):
    fields = {
        "merchant_id": shop.id, "network": "test", "name": "Shop", "scopes": ["invoices:read"],
        "created_by": shop.user_id, "expires_at": None, "now": NOON, **changes,
    }  # fmt: skip
    shop.enter()
    made = run_transaction(lambda: service.create_key(**fields))
    leave_tenant()
    return made


class TestText:
    @given(st.sampled_from(["test", "live"]))
    def test_of_a_new_key_is_read_back(self, network):
        text = rules.new_key_text(network, rules.new_prefix())

        parsed = rules.parse_key(text)

        assert len(text) == 66
        assert (parsed.network, parsed.prefix) == (network, text[9:17])

    @given(st.integers(min_value=0, max_value=65), st.sampled_from(rules.BASE62))
    def test_with_one_wrong_character_is_refused(self, place, character):
        text = rules.new_key_text("test", rules.new_prefix())
        wrong = text[:place] + character + text[place + 1 :]

        assert wrong == text or rules.parse_key(wrong) is None

    @pytest.mark.parametrize(
        "text", ["", "tgh_test_", "sk_live_" + "a" * 58, "tgh_test_" + "ä" * 57, "x" * 100_000]
    )
    def test_of_another_shape_is_refused(self, text):
        assert rules.parse_key(text) is None


class TestAuthenticate:
    def test_names_the_merchant_and_enters_it(self, as_web):
        shop = make_shop()
        key, text = make_key(shop)

        identity = service.authenticate(text, NOON)

        assert (identity.merchant_id, identity.key_id, identity.network) == (shop.id, key.id, "test")
        assert identity.may("invoices:read")
        assert not identity.may("invoices:write")
        assert db.session.scalars(select(ApiKey.id)).all() == [key.id]

    def test_costs_one_statement_once_the_key_is_known(self, as_web, statements):
        _, text = make_key(make_shop())
        service.authenticate(text, NOON)
        db.session.rollback()
        leave_tenant()
        statements.clear()

        service.authenticate(text, NOON)

        assert [line.split()[0:2] for line in statements if "set_config" not in line] == [
            ["SELECT", "api_keys.id,"]
        ]

    def test_refuses_a_mistyped_key_without_sql(self, as_web, statements):
        _, text = make_key(make_shop())
        statements.clear()

        with pytest.raises(service.InvalidApiKey):
            service.authenticate(text[:-1] + ("a" if text[-1] != "a" else "b"), NOON)

        assert statements == []

    def test_refuses_another_secret_with_the_same_prefix(self, as_web):
        key, _ = make_key(make_shop())

        with pytest.raises(service.InvalidApiKey):
            service.authenticate(rules.new_key_text("test", key.prefix), NOON)

    def test_refuses_an_unknown_prefix(self, as_web):
        with pytest.raises(service.InvalidApiKey):
            service.authenticate(rules.new_key_text("test", rules.new_prefix()), NOON)

    def test_refuses_a_revoked_key_at_once(self, as_web):
        shop = make_shop()
        key, text = make_key(shop)
        service.authenticate(text, NOON)
        run_transaction(lambda: service.revoke_key(merchant_id=shop.id, key_id=key.id, now=NOON))

        with pytest.raises(service.InvalidApiKey):
            service.authenticate(text, NOON)

    def test_refuses_an_expired_key(self, as_web):
        _, text = make_key(make_shop(), expires_at=NOON + timedelta(days=1))
        service.authenticate(text, NOON)
        leave_tenant()

        with pytest.raises(service.InvalidApiKey):
            service.authenticate(text, NOON + timedelta(days=1))


class TestUse:
    def test_is_noted_once_a_minute(self, as_web):
        shop = make_shop()
        key, text = make_key(shop)
        identity = service.authenticate(text, NOON)
        assert identity.is_use_due

        for seconds, ip in ((0, "10.0.0.1"), (30, "10.0.0.2")):
            now = NOON + timedelta(seconds=seconds)
            run_transaction(
                lambda now=now, ip=ip: service.record_use(merchant_id=shop.id, key_id=key.id, ip=ip, now=now)
            )

        kept = db.session.scalars(select(ApiKey).where(ApiKey.id == key.id)).one()
        db.session.refresh(kept)
        assert (kept.last_used_at, kept.last_used_ip) == (NOON, "10.0.0.1")
        assert not service.authenticate(text, NOON + timedelta(seconds=59)).is_use_due


class TestStrangers:
    def test_see_no_key(self, as_web):
        shop, stranger = make_shop(), make_shop()
        key, _ = make_key(shop)
        stranger.enter()

        assert queries.list_keys(stranger.id, "test") == []
        with pytest.raises(queries.KeyNotFound):
            queries.get_key(stranger.id, key.id)
        with pytest.raises(queries.KeyNotFound):
            queries.get_key(shop.id, key.id)
