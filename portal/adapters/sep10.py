"""SEP-10 challenges: a transaction that can never be applied, signed by us and then by the wallet's owner.

Everything here is stellar-sdk's reading of the standard, narrowed to our one server key and domain.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from config import Config
from portal.kernel.errors import Invalid

CHALLENGE_SECONDS = 900
# Ours has about 700 characters; twenty signatures more than double it.
ENVELOPE_MAX = 8_000


class ChallengeRefused(Invalid):
    code = "challenge_refused"


@dataclass(frozen=True, slots=True)
class Challenge:
    """`nonce` is the 64-character value of the first operation; whoever signs it proves the address."""

    address: str
    nonce: str
    envelope_xdr: str


class Challenger:
    """Hands out and reads the challenges of one instance."""

    def __init__(self, config: Config) -> None:
        from stellar_sdk import Keypair

        self._seed = config.signing_seed
        self._server = Keypair.from_secret(config.signing_seed).public_key
        self._home_domain = urlsplit(config.public_base_url).hostname or config.web_auth_domain
        self._web_auth_domain = config.web_auth_domain
        self._passphrase = config.network_passphrase

    def build(self, address: str) -> Challenge:
        """Return a challenge for the account `address`, good for 15 minutes."""
        from stellar_sdk.sep.stellar_web_authentication import build_challenge_transaction

        envelope_xdr = build_challenge_transaction(
            self._seed,
            address,
            self._home_domain,
            self._web_auth_domain,
            self._passphrase,
            timeout=CHALLENGE_SECONDS,
        )
        return self.read(envelope_xdr)

    def read(self, envelope_xdr: str) -> Challenge:
        """Return what a challenge of ours is about; says nothing yet about the wallet's signature.

        :raises ChallengeRefused: when it was not signed by our key for this domain and network, was changed,
            is out of time, or is no transaction at all.
        """
        from stellar_sdk.exceptions import SdkError
        from stellar_sdk.sep.exceptions import InvalidSep10ChallengeError
        from stellar_sdk.sep.stellar_web_authentication import read_challenge_transaction

        text = "".join(envelope_xdr.split())
        if not text or len(text) > ENVELOPE_MAX:
            raise ChallengeRefused(
                "Paste the whole signed transaction. It is a long text that begins with AAAA."
            )
        try:
            challenge = read_challenge_transaction(
                text, self._server, self._home_domain, self._web_auth_domain, self._passphrase
            )
        except InvalidSep10ChallengeError as refusal:
            raise ChallengeRefused(_why(str(refusal))) from refusal
        except (SdkError, ValueError, TypeError, EOFError, AttributeError, IndexError) as refusal:
            # What the XDR reader raises for text that is no transaction depends on where it stumbles.
            raise ChallengeRefused(
                "This is not a signed transaction. Paste the text your wallet gave back, which begins with AAAA."
            ) from refusal
        value = getattr(challenge.transaction.transaction.operations[0], "data_value", b"")
        return Challenge(challenge.client_account_id, value.decode("ascii"), text)

    def verify(self, challenge: Challenge, *, weights: dict[str, int], threshold: int) -> None:
        """Check that signers of enough weight signed, and nobody else.

        :raises ChallengeRefused: with a sentence that says which signature is missing or too much.
        """
        from stellar_sdk.exceptions import SdkError
        from stellar_sdk.sep.ed25519_public_key_signer import Ed25519PublicKeySigner
        from stellar_sdk.sep.exceptions import InvalidSep10ChallengeError
        from stellar_sdk.sep.stellar_web_authentication import verify_challenge_transaction_threshold

        signers = [Ed25519PublicKeySigner(key, weight) for key, weight in sorted(weights.items())]
        try:
            verify_challenge_transaction_threshold(
                challenge.envelope_xdr,
                self._server,
                self._home_domain,
                self._web_auth_domain,
                self._passphrase,
                threshold,
                signers,
            )
        except InvalidSep10ChallengeError as refusal:
            raise ChallengeRefused(_why(str(refusal))) from refusal
        except (SdkError, ValueError) as refusal:
            raise ChallengeRefused(
                "The signatures could not be read. Sign the transaction again."
            ) from refusal

    def sign(self, challenge: Challenge, secret: str) -> str:
        """Return the challenge with one more signature; only for wallets whose key this process made itself."""
        from stellar_sdk import Keypair, TransactionEnvelope

        envelope = TransactionEnvelope.from_xdr(challenge.envelope_xdr, self._passphrase)
        envelope.sign(Keypair.from_secret(secret))
        return envelope.to_xdr()


def _why(refusal: str) -> str:
    """Turn the library's reason into a sentence for the person at the form."""
    if "not signed by any client" in refusal or "No signers provided" in refusal:
        return "The wallet's own signature is missing. Sign the transaction with the key of this address."
    if "do not meet threshold" in refusal:
        return "More signers have to sign: the account's medium threshold is not reached yet."
    if "unrecognized signatures" in refusal:
        return "It carries a signature of a key that may not sign for this address."
    if "timebounds" in refusal:
        return "This challenge has expired. Start again."
    return "This is not the challenge of this site and network. Copy it again, sign it unchanged, and paste it back."
