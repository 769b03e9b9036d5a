"""What the sandbox tests share beside fixtures."""

from pathlib import Path

from stellar_sdk import Asset

PASSPHRASE = "Sandbox test network ; November 2026"
FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "horizon"


def paying(destination, amount="10", asset=None):
    """Return an `add` for `submit` that pays."""
    return lambda builder: builder.append_payment_op(destination, asset or Asset.native(), amount)
