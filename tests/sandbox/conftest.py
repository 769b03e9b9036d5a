"""A sandbox of its own per worker, closing every 50 ms, and the cast that pays on it."""

import json

import pytest
import requests
from stellar_sdk import Asset, Keypair, Server, TransactionBuilder

from portal.sandbox.server import start_in_thread
from tests.sandbox.cast import FIXTURES, PASSPHRASE


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    running = start_in_thread(
        tmp_path_factory.mktemp("sandbox") / "ledger.sqlite", passphrase=PASSPHRASE, close_seconds=0.05
    )
    yield running
    running.stop()


@pytest.fixture(scope="session")
def http():
    with requests.Session() as session:
        yield session


@pytest.fixture
def get(sandbox, http):
    """GET a path of the sandbox and return its JSON."""

    def call(path, **parameters):
        return http.get(sandbox.url + path, params=parameters, timeout=20).json()

    return call


@pytest.fixture(scope="session")
def server(sandbox):
    with Server(sandbox.url) as client:
        yield client


@pytest.fixture
def fund(sandbox, http):
    """Return a function that makes a key pair with 10,000 XLM."""

    def make():
        keypair = Keypair.random()
        answer = http.get(f"{sandbox.url}/friendbot", params={"addr": keypair.public_key}, timeout=20)
        assert answer.status_code == 200, answer.text
        return keypair

    return make


@pytest.fixture
def payer(fund):
    return fund()


@pytest.fixture
def shop(fund):
    return fund()


@pytest.fixture
def build(server):
    """Return a function that builds and signs a transaction; `add` puts the operations in."""

    def make(signer, add, *others, memo=None, base_fee=100, source=None, passphrase=PASSPHRASE):
        builder = TransactionBuilder(server.load_account(source or signer.public_key), passphrase, base_fee)
        add(builder)
        if memo is not None:
            builder.add_memo(memo)
        envelope = builder.set_timeout(300).build()
        for keypair in (signer, *others):
            envelope.sign(keypair)
        return envelope

    return make


@pytest.fixture
def submit(server, build):
    """Return a function that builds, signs and submits, and returns Horizon's record."""

    def send(signer, add, *others, **options):
        return server.submit_transaction(
            build(signer, add, *others, **options), skip_memo_required_check=True
        )

    return send


@pytest.fixture
def usdc(sandbox):
    return Asset("USDC", sandbox.ledger.market.issuer)


@pytest.fixture(scope="session")
def recorded():
    """Return a function that reads a record of the real networks."""
    if not FIXTURES.is_dir():
        pytest.skip("the recorded Horizon answers (../shared/fixtures/horizon) are not on this machine")
    return lambda name: json.loads((FIXTURES / name).read_text())
