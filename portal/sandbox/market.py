"""What the sandbox brings along: its root account, an issuer of test money, and fixed rates between them.

All keys derive from the network passphrase, so a sandbox with the same passphrase always has the same
issuer. The secrets are public knowledge by design: this is play money.
"""

import hashlib
from fractions import Fraction

from stellar_sdk import Keypair

from portal.kernel.money import STROOPS_PER_UNIT, format_units, from_stroops
from portal.sandbox.envelopes import NATIVE, network_id

# As on the real networks: 100 billion XLM in the root account of ledger 1.
TOTAL_COINS = 1_000_000_000_000_000_000
ISSUER_COINS = 100_000_000_000_000_000
FRIENDBOT_STROOPS = 100_000_000_000
TEST_MONEY_STROOPS = 10_000_000_000

# Worth of one unit in XLM; fixed so that tests and examples can name exact amounts.
_WORTH = {"USDC": Fraction(4), "EURC": Fraction(9, 2)}


def root_keypair(passphrase: str) -> Keypair:
    """Return the master key: the network id is its seed, as on every Stellar network."""
    return Keypair.from_raw_ed25519_seed(network_id(passphrase))


def issuer_keypair(passphrase: str) -> Keypair:
    seed = hashlib.sha256(f"{passphrase} | sandbox issuer of test money".encode()).digest()
    return Keypair.from_raw_ed25519_seed(seed)


class Market:
    """Converts between XLM and the built-in assets; the issuer stands on the other side of every trade."""

    def __init__(self, passphrase: str) -> None:
        self.issuer = issuer_keypair(passphrase).public_key
        self.assets = {code: f"{code}:{self.issuer}" for code in _WORTH}
        self._worth = {NATIVE: Fraction(1)} | {self.assets[code]: worth for code, worth in _WORTH.items()}

    def trades(self, asset: str) -> bool:
        return asset in self._worth

    def rate(self, source: str, destination: str) -> Fraction | None:
        """Return destination units per source unit; None when the two do not trade."""
        if source == destination:
            return Fraction(1)
        if source not in self._worth or destination not in self._worth:
            return None
        return self._worth[source] / self._worth[destination]

    def received(self, source: str, destination: str, stroops: int) -> int | None:
        """Return what sending exactly `stroops` delivers, rounded down in the market's favour."""
        rate = self.rate(source, destination)
        return None if rate is None else (stroops * rate.numerator) // rate.denominator

    def cost(self, source: str, destination: str, stroops: int) -> int | None:
        """Return what delivering exactly `stroops` costs, rounded up in the market's favour."""
        rate = self.rate(source, destination)
        return None if rate is None else -((-stroops * rate.denominator) // rate.numerator)

    def describe(self) -> dict[str, object]:
        rates = {
            code: format_units(from_stroops(int(worth * STROOPS_PER_UNIT))) for code, worth in _WORTH.items()
        }
        return {
            "issuer": self.issuer,
            "assets": [{"code": code, "asset": asset} for code, asset in self.assets.items()],
            "xlm_per_unit": rates,
        }
