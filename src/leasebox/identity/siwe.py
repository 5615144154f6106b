"""EIP-4361 (Sign-In with Ethereum): writing the message and deciding a signed one. Pure: no store, no network.

The `siwe` package parses and verifies. Importing it takes 1.2 s of CPU and 65 MB (web3, a grammar), so it is imported
when first needed; the HTTP role calls `warm` in a thread as soon as it answers.
"""

import functools
import importlib
import re
import secrets
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

from leasebox.identity.errors import NotAChallenge, SignInRefused
from leasebox.identity.model import CHALLENGE_TTL, Challenge, SignInPolicy
from leasebox.values.errors import Unprocessable

if TYPE_CHECKING:
    from siwe import SiweMessage

SIGN_IN = "sign-in"
ADMINISTER = "administer"
MESSAGE_CAP = 4096
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")


@functools.cache
def warm() -> Any:
    """Import the `siwe` package, once; the module. Blocks for about a second: call it in a thread."""
    with warnings.catch_warnings():
        # siwe loads EIP-4361's grammar over RFC 5234's core rules, and abnf remarks on each rule that stands in both.
        warnings.filterwarnings("ignore", message="rule '.*' redefines")
        return importlib.import_module("siwe.siwe")


def checksummed(address: str) -> str:
    """The EIP-55 form of `0x` and 40 hexadecimal digits; mixed case must already be right. Raises Unprocessable."""
    if _ADDRESS.match(address):
        checked = str(importlib.import_module("eth_utils.address").to_checksum_address(address))
        if address == checked or address == address.lower() or address[2:] == address[2:].upper():
            return checked
    raise Unprocessable(
        "wallet_address is no Ethereum address.",
        fix="Send 0x and 40 hexadecimal digits, all lower case or with a right EIP-55 checksum.",
    )


def write(policy: SignInPolicy, address: str, chain_id: int, statement: str, at: datetime) -> Challenge:
    """A message for `address` to sign: 128-bit nonce, five minutes, a request id of its own (EIP-4361)."""
    nonce = secrets.token_hex(16)
    expires_at = (at + CHALLENGE_TTL).replace(microsecond=0)
    siwe = warm()
    message = siwe.SiweMessage(
        domain=policy.domain,
        address=address,
        statement=statement,
        uri=policy.uri,
        version="1",
        chain_id=chain_id,
        nonce=nonce,
        issued_at=siwe.ISO8601Datetime.from_datetime(at.replace(microsecond=0)),
        expiration_time=siwe.ISO8601Datetime.from_datetime(expires_at),
        request_id=secrets.token_hex(8),
    )
    return Challenge(message.prepare_message(), nonce, expires_at)


def parse(message: str) -> "SiweMessage":
    """Read a posted message. Raises NotAChallenge (400) for anything but EIP-4361."""
    if len(message) > MESSAGE_CAP:
        raise NotAChallenge("The message is too long for a sign-in message.")
    try:
        parsed: SiweMessage = warm().SiweMessage.from_message(message, abnf=False)
    except (ValueError, TypeError, RecursionError):
        # pydantic's ValidationError is a ValueError; its text repeats the input, so it is not passed on.
        raise NotAChallenge("The message is not in the form of EIP-4361.") from None
    return parsed


def check(parsed: "SiweMessage", policy: SignInPolicy, signature: str, at: datetime) -> None:
    """Decide chain, domain, expiry and signature of a message that we issued. Raises SignInRefused (401)."""
    if parsed.chain_id not in policy.chain_ids:
        raise SignInRefused(f"Chain {parsed.chain_id} is not accepted here.", reason="chain")
    try:
        parsed.verify(signature, domain=policy.domain, timestamp=at)
    except warm().VerificationError as fault:
        raise SignInRefused(_why(fault), reason=_reason(fault)) from None
    except Exception:  # noqa: BLE001 - siwe lets TypeError, BadSignature and others through on malformed signatures
        raise SignInRefused("The signature is malformed.", reason="signature") from None


def _reason(fault: Exception) -> str:
    return {"ExpiredMessage": "expired", "NotYetValidMessage": "expired", "DomainMismatch": "domain"}.get(
        type(fault).__name__, "signature"
    )


def _why(fault: Exception) -> str:
    return {
        "expired": "The challenge has expired.",
        "domain": "The message is for another domain.",
        "signature": "The signature is not the wallet's.",
    }[_reason(fault)]
