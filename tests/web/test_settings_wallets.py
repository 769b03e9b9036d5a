"""Receiving wallets through the pages, against the bundled sandbox."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text
from stellar_sdk import Keypair, MuxedAccount, TransactionEnvelope

from config import PUBLIC_PASSPHRASE, SANDBOX_PASSPHRASE
from portal.extensions import db
from tests.web.people import Browser, browser_of, mails_to


def challenge_for(browser: Browser, address: str) -> tuple[str, str]:
    """Return the page of a challenge and its transaction."""
    answer = browser.post("/settings/wallets", {"address": address}, form_on="/settings/wallets/new")
    assert answer.status_code == 303, answer.text
    page = answer.headers["Location"]
    return page, re.search(r"<code>(AAAA[^<]+)</code>", browser.get(page).text)[1]


def sign(xdr: str, *pairs: Keypair, passphrase: str = SANDBOX_PASSPHRASE) -> str:
    envelope = TransactionEnvelope.from_xdr(xdr, passphrase)
    for pair in pairs:
        envelope.sign(pair)
    return envelope.to_xdr()


def answer(browser: Browser, page: str, signed: str):
    return browser.post(page, {"signed_xdr": signed}, form_on="/settings/wallets/new")


def wallets_of(app, shop):
    with app.app_context():
        found = db.session.execute(
            text(
                "SELECT address, is_default, retired_at, watched_from FROM wallets WHERE merchant_id = :id ORDER BY id"
            ),
            {"id": shop.id},
        ).all()
        db.session.rollback()
    return found


class TestProof:
    def test_makes_the_first_wallet_the_default(self, sandbox_app, sandbox_worker_app):
        browser, shop = browser_of(sandbox_app)
        pair = Keypair.random()
        page, xdr = challenge_for(browser, pair.public_key)

        proven = answer(browser, page, sign(xdr, pair))

        assert (proven.status_code, proven.headers["Location"]) == (303, "/settings/wallets")
        [wallet] = wallets_of(sandbox_worker_app, shop)
        assert (wallet.address, wallet.is_default) == (pair.public_key, True)
        assert wallet.watched_from.isdigit()
        shown = browser.get("/settings/wallets").text
        assert pair.public_key in shown
        assert "does not exist yet" in shown
        assert "was added" in mails_to(sandbox_app, shop.email)[0]

    def test_refuses_another_key(self, sandbox_app, sandbox_worker_app):
        browser, shop = browser_of(sandbox_app)
        page, xdr = challenge_for(browser, Keypair.random().public_key)

        for signed in (xdr, sign(xdr, Keypair.random())):
            assert answer(browser, page, signed).status_code == 422

        assert wallets_of(sandbox_worker_app, shop) == []

    def test_refuses_a_signature_for_another_network(self, sandbox_app):
        browser, _ = browser_of(sandbox_app)
        pair = Keypair.random()
        page, xdr = challenge_for(browser, pair.public_key)

        assert answer(browser, page, sign(xdr, pair, passphrase=PUBLIC_PASSPHRASE)).status_code == 422

    def test_refuses_a_challenge_of_another_server(self, sandbox_app):
        from stellar_sdk.sep.stellar_web_authentication import build_challenge_transaction

        browser, _ = browser_of(sandbox_app)
        pair = Keypair.random()
        page, _ = challenge_for(browser, pair.public_key)
        forged = build_challenge_transaction(
            Keypair.random().secret, pair.public_key, "localhost", "localhost", SANDBOX_PASSPHRASE
        )

        assert answer(browser, page, sign(forged, pair)).status_code == 422

    def test_counts_once(self, sandbox_app, sandbox_worker_app):
        browser, shop = browser_of(sandbox_app)
        pair = Keypair.random()
        page, xdr = challenge_for(browser, pair.public_key)
        assert answer(browser, page, sign(xdr, pair)).status_code == 303

        assert answer(browser, page, sign(xdr, pair)).status_code == 404
        assert len(wallets_of(sandbox_worker_app, shop)) == 1

    def test_is_nothing_for_another_merchant(self, sandbox_app, sandbox_worker_app):
        browser, _ = browser_of(sandbox_app)
        stranger, other = browser_of(sandbox_app)
        pair = Keypair.random()
        page, xdr = challenge_for(browser, pair.public_key)
        own_page, _ = challenge_for(stranger, pair.public_key)

        assert stranger.get(page).status_code == 404
        assert answer(stranger, page, sign(xdr, pair)).status_code == 404
        assert answer(stranger, own_page, sign(xdr, pair)).status_code == 422
        assert wallets_of(sandbox_worker_app, other) == []

    def test_of_a_taken_address_is_refused_in_words(self, sandbox_app):
        browser, _ = browser_of(sandbox_app)
        stranger, _ = browser_of(sandbox_app)
        pair = Keypair.random()
        late_page, late_xdr = challenge_for(stranger, pair.public_key)
        page, xdr = challenge_for(browser, pair.public_key)
        answer(browser, page, sign(xdr, pair))

        again = browser.post(
            "/settings/wallets", {"address": pair.public_key}, form_on="/settings/wallets/new"
        )
        other = stranger.post(
            "/settings/wallets", {"address": pair.public_key}, form_on="/settings/wallets/new"
        )
        raced = answer(stranger, late_page, sign(late_xdr, pair))

        assert (again.status_code, "yours already" in again.text) == (422, True)
        assert (other.status_code, "belongs to another business" in other.text) == (422, True)
        assert raced.status_code == 422

    @pytest.mark.parametrize("pasted", ["", "AAAA", "not base64 !", "A" * 9000, "\x00", "AAAAAgAAAAA=", "🙂"])
    def test_answers_garbage_beside_the_field(self, sandbox_app, pasted):
        browser, _ = browser_of(sandbox_app)
        page, _ = challenge_for(browser, Keypair.random().public_key)

        assert answer(browser, page, pasted).status_code == 422

    def test_needs_the_medium_threshold_of_a_shared_account(self, sandbox_app, sandbox, sandbox_worker_app):
        from stellar_sdk import Server, Signer, TransactionBuilder

        server, owner, partner = Server(sandbox.url), Keypair.random(), Keypair.random()
        sandbox_get(sandbox.url + f"/friendbot?addr={owner.public_key}")
        shared = (
            TransactionBuilder(server.load_account(owner.public_key), SANDBOX_PASSPHRASE, 100)
            .append_set_options_op(
                master_weight=1, low_threshold=1, med_threshold=2, high_threshold=2,
                signer=Signer.ed25519_public_key(partner.public_key, 1),
            )
            .set_timeout(60)
            .build()
        )  # fmt: skip
        shared.sign(owner)
        server.submit_transaction(shared)
        browser, shop = browser_of(sandbox_app)
        page, xdr = challenge_for(browser, owner.public_key)

        alone = answer(browser, page, sign(xdr, owner))
        together = answer(browser, page, sign(xdr, owner, partner))

        assert (alone.status_code, "medium threshold" in alone.text) == (422, True)
        assert together.status_code == 303
        assert len(wallets_of(sandbox_worker_app, shop)) == 1

    def test_waits_while_the_network_is_away(self, web_app):
        browser, _ = browser_of(web_app)
        pair = Keypair.random()
        page, xdr = challenge_for(browser, pair.public_key)

        assert answer(browser, page, sign(xdr, pair)).status_code == 503
        assert browser.get(page).status_code == 200


def sandbox_get(url: str) -> None:
    import urllib3

    assert urllib3.request("GET", url).status == 200


class TestAddress:
    def test_never_comes_back_when_it_is_a_secret(self, sandbox_app):
        browser, _ = browser_of(sandbox_app)
        secret = Keypair.random().secret

        for pasted in (secret, f"  {secret}\n", secret.lower(), secret[:-1] + "A"):
            page = browser.post("/settings/wallets", {"address": pasted}, form_on="/settings/wallets/new")

            assert page.status_code == 422
            assert "secret key" in page.text
            assert secret[:20].lower() not in page.text.lower()

    @pytest.mark.parametrize(
        "typed",
        ["", "G", "G" * 56, "rina*kopi.example", "C" + "A" * 55, "🙂", "\x00", "x" * 3000,
         "GBRPYHIL2CI3FNQ4BXLFMNDLFJUNPU2HY3ZMFSHONUCEOASW7QC7OX2X"],
    )  # fmt: skip
    def test_is_explained_when_wrong(self, sandbox_app, typed):
        browser, _ = browser_of(sandbox_app)

        page = browser.post("/settings/wallets", {"address": typed}, form_on="/settings/wallets/new")

        assert page.status_code == 422
        assert 'aria-invalid="true"' in page.text

    def test_of_a_muxed_account_names_the_account(self, sandbox_app):
        browser, _ = browser_of(sandbox_app)
        pair = Keypair.random()

        page, _ = challenge_for(browser, MuxedAccount(pair.public_key, 7).account_muxed)

        assert pair.public_key in browser.get(page).text


class TestDemoWallet:
    def test_is_funded_proven_and_shown_once(self, sandbox_app, sandbox_worker_app):
        browser, shop = browser_of(sandbox_app)

        page = browser.post("/settings/wallets/demo", form_on="/settings/wallets")

        assert page.status_code == 201
        assert page.headers["Cache-Control"] == "no-store"
        secret = re.search(r"\bS[A-Z2-7]{55}\b", page.text)[0]
        [wallet] = wallets_of(sandbox_worker_app, shop)
        assert wallet.address == Keypair.from_secret(secret).public_key
        later = browser.get("/settings/wallets").text
        assert secret not in later
        assert "Ready" in later

    def test_of_a_second_click_does_not_replace_the_default(self, sandbox_app, sandbox_worker_app):
        browser, shop = browser_of(sandbox_app)

        for _ in range(2):
            browser.post("/settings/wallets/demo", form_on="/settings/wallets")

        assert [wallet.is_default for wallet in wallets_of(sandbox_worker_app, shop)] == [True, False]


class TestChange:
    def two(self, app, worker_app):
        browser, shop = browser_of(app)
        for _ in range(2):
            browser.post("/settings/wallets/demo", form_on="/settings/wallets")
        first, second = (wallet.address for wallet in wallets_of(worker_app, shop))
        return browser, shop, first, second

    def test_of_the_default_and_retirement_are_safe_twice(self, sandbox_app, sandbox_worker_app):
        browser, shop, first, second = self.two(sandbox_app, sandbox_worker_app)

        for _ in range(2):
            assert (
                browser.post(f"/settings/wallets/{second}/default", form_on="/settings/wallets").status_code
                == 303
            )
        for _ in range(2):
            assert (
                browser.post(f"/settings/wallets/{first}/retire", form_on="/settings/wallets").status_code
                == 303
            )

        old, new = wallets_of(sandbox_worker_app, shop)
        assert (new.is_default, new.retired_at) == (True, None)
        assert (old.is_default, old.retired_at is None) == (False, False)
        with sandbox_worker_app.app_context():
            types = db.session.scalars(
                text(
                    "SELECT type FROM events WHERE merchant_id = :id AND aggregate_type = 'wallet' ORDER BY id"
                ),
                {"id": shop.id},
            ).all()
            db.session.rollback()
        assert types == ["wallet.proven", "wallet.proven", "wallet.made_default", "wallet.retired"]

    def test_does_not_retire_the_default(self, sandbox_app, sandbox_worker_app):
        browser, shop, first, _ = self.two(sandbox_app, sandbox_worker_app)

        browser.post(f"/settings/wallets/{first}/retire", form_on="/settings/wallets")

        assert wallets_of(sandbox_worker_app, shop)[0].retired_at is None

    @pytest.mark.parametrize("action", ["default", "retire", "check"])
    def test_of_another_merchants_wallet_is_not_found(self, sandbox_app, sandbox_worker_app, action):
        _, _, first, _ = self.two(sandbox_app, sandbox_worker_app)
        stranger, _ = browser_of(sandbox_app)

        answered = stranger.post(f"/settings/wallets/{first}/{action}", form_on="/settings/wallets")

        assert answered.status_code == 404

    def test_needs_a_fresh_password(self, sandbox_app, sandbox_worker_app):
        browser, shop, first, second = self.two(sandbox_app, sandbox_worker_app)
        with sandbox_worker_app.app_context():
            db.session.execute(
                text("UPDATE user_sessions SET confirmed_at = confirmed_at - :age WHERE user_id = :id"),
                {"age": timedelta(minutes=11), "id": shop.user_id},
            )
            db.session.commit()
        from portal.adapters import cache
        from portal.kernel.tokens import digest

        cache.refresh_session(digest(browser.token))

        for path in (f"{second}/default", f"{first}/retire", "demo"):
            answered = browser.post(f"/settings/wallets/{path}", form_on="/settings/security")
            assert answered.headers["Location"].startswith("/confirm?next=")
        assert wallets_of(sandbox_worker_app, shop)[0].is_default


@pytest.mark.parametrize(
    "path",
    [
        "/settings/wallets/G%00/default",
        "/settings/wallets/G%00/retire",
        "/settings/wallets/G%00/check",
        "/settings/wallets/prove/%00" + "a" * 31,
        "/settings/security/sessions/%00" + "a" * 31 + "/revoke",
    ],
)
def test_an_address_with_a_nul_names_nothing(web_app, path):
    browser, _ = browser_of(web_app)

    answer = browser.post(path, form_on="/settings/security")

    assert answer.status_code == 404
