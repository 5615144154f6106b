"""EIP-4361 (Sign-In with Ethereum): writing the message and deciding a signed one. Pure: no store, no network.

The `siwe` package parses and verifies. Importing it takes 1.2 s of CPU and 65 MB (web3, a grammar), so it is imported
when first needed; the HTTP role calls `warm` in a thread as soon as it answers.
"""

import functools
import importlib
import re
import secrets
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
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
_SIGNATURE_BYTES = 65
# The last byte of a signature: wallets write 27 and 28, some hardware 0 and 1.
_RECOVERY = {0: b"\x00", 1: b"\x01", 27: b"\x00", 28: b"\x01"}


@functools.cache
def warm() -> Any:
    """Import the `siwe` package, once; the module. Blocks for about a second: call it in a thread."""
    with warnings.catch_warnings():
        # siwe loads EIP-4361's grammar over RFC 5234's core rules, and abnf remarks on each rule that stands in both.
        warnings.filterwarnings("ignore", message="rule '.*' redefines")
        return importlib.import_module("siwe.siwe")


@functools.lru_cache(4096)  # two hashes for an address that has just been asked for, or will be again
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
    """A message for `address` to sign: 128-bit nonce, five minutes, a request id of its own (EIP-4361).

    address: EIP-55 checksummed; statement: one line of ASCII.
    """
    nonce, expires_at = secrets.token_hex(16), (at + CHALLENGE_TTL).replace(microsecond=0)
    message = (
        f"{policy.domain} wants you to sign in with your Ethereum account:\n{address}\n\n{statement}\n\n"
        f"URI: {policy.uri}\nVersion: 1\nChain ID: {chain_id}\nNonce: {nonce}\n"
        f"Issued At: {_to_the_second(at)}\nExpiration Time: {_to_the_second(expires_at)}\n"
        f"Request ID: {secrets.token_hex(8)}"
    )
    return Challenge(message, nonce, expires_at)


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
    """Decide chain, domain, times and signature of a message that we issued. Raises SignInRefused (401)."""
    if parsed.chain_id not in policy.chain_ids:
        raise SignInRefused(f"Chain {parsed.chain_id} is not accepted here.", reason="chain")
    if parsed.domain != policy.domain:
        raise SignInRefused("The message is for another domain.", reason="domain")
    if not _timely(parsed, at):
        raise SignInRefused("The challenge has expired.", reason="expired")
    signer = _recovered(parsed.prepare_message(), signature)
    if signer is None:
        raise SignInRefused("The signature is malformed.", reason="signature")
    if signer != bytes.fromhex(str(parsed.address)[2:]):
        raise SignInRefused("The signature is not the wallet's.", reason="signature")


def _timely(parsed: "SiweMessage", at: datetime) -> bool:
    until, since = parsed.expiration_time, parsed.not_before
    # The package keeps the text as it was sent beside the time that it read there.
    return (until is None or at < until._datetime) and (since is None or at > since._datetime)  # noqa: SLF001


def _recovered(message: str, signature: str) -> bytes | None:
    """The 20 bytes of the address that signed (EIP-191, version 0x45); None where no key can have signed like this.

    `siwe`'s own `verify` builds a Web3 for each message, at ten times the cost of recovering the key.
    """
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
    except ValueError:
        return None
    if len(raw) != _SIGNATURE_BYTES or raw[64] not in _RECOVERY:
        return None
    text = message.encode()
    keccak: Callable[[bytes], bytes] = importlib.import_module("eth_utils.crypto").keccak
    digest = keccak(b"\x19Ethereum Signed Message:\n%d" % len(text) + text)
    try:
        recover = importlib.import_module("coincurve").PublicKey.from_signature_and_message
        key = recover(raw[:64] + _RECOVERY[raw[64]], digest, hasher=None)
    except Exception:  # noqa: BLE001 - coincurve raises bare Exceptions for numbers that are no signature
        return None
    return bytes(keccak(key.format(compressed=False)[1:])[12:])


def _to_the_second(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
