"""A Horizon of our own, fed with transactions signed by stellar-sdk (see tests/cases)."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from stellar_sdk import Asset, Keypair, Payment

from portal.adapters.horizon import Horizon
from tests.cases.served import PASSPHRASE, Served, page, serving
from tests.cases.signing import Signed, sign


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture
def horizon(served: Served) -> Horizon:
    return Horizon(served.url, passphrase=PASSPHRASE, timeout_seconds=1.0)


@pytest.fixture(scope="session")
def chain() -> SimpleNamespace:
    """The helpers and a cast of accounts."""
    return SimpleNamespace(
        sign=sign,
        page=page,
        passphrase=PASSPHRASE,
        payer=Keypair.random(),
        merchant=Keypair.random(),
        stranger=Keypair.random(),
        issuer=Keypair.random(),
    )


@pytest.fixture
def pay(chain: SimpleNamespace, served: Served) -> Callable[..., Signed]:
    """Sign a payment of 12.5 XLM to the merchant, change its JSON by `edit` and `edit_operation`, serve."""

    def serve(*, edit: Any = None, edit_operation: Any = None, **options: Any) -> Signed:
        operation = Payment(chain.merchant.public_key, Asset.native(), "12.5")
        signed = sign(options.pop("operations", [operation]), payer=chain.payer, **options)
        signed.record.update(edit or {})
        signed.operations[0].update(edit_operation or {})
        signed.serve(served)
        return signed

    return serve
