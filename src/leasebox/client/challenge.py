"""What a wallet may sign to sign in: the checks of an EIP-4361 message before it is signed. Pure.

A wallet that signs whatever a server shows it can be led to sign in elsewhere for somebody else (phishing).
"""

import re
from urllib.parse import urlsplit

from leasebox.client.errors import UnsafeChallenge

MESSAGE_CAP = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}
# EIP-4361's grammar without its scheme and Resources parts: a plain sign-in has neither.
_MESSAGE = re.compile(
    r"(?P<domain>[^\s/?#@]+) wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n"
    r"\n(?:[^\n]+\n)?\n"
    r"URI: (?P<uri>\S+)\n"
    r"Version: 1\n"
    r"Chain ID: (?P<chain_id>[0-9]{1,16})\n"
    r"Nonce: (?P<nonce>[a-zA-Z0-9]{8,})\n"
    r"Issued At: \S+"
    r"(?:\nExpiration Time: \S+)?(?:\nNot Before: \S+)?(?:\nRequest ID: \S*)?\Z"
)


def check(message: str, *, base_url: str, address: str, nonce: str, chain_id: int | None) -> None:
    """Let `message` pass if it signs `address` in to the server at `base_url` and does nothing else.

    chain_id None: any chain. Raises UnsafeChallenge.
    """
    found = _MESSAGE.match(message) if len(message) <= MESSAGE_CAP else None
    if found is None:
        raise _unsafe("it is no plain sign-in message (EIP-4361)")
    ours = _authority(base_url)
    scheme = urlsplit(base_url).scheme.lower()
    if _authority(f"{scheme}://{found['domain']}") != ours:
        raise UnsafeChallenge(
            f"The server asked to sign in to {found['domain']!r}, but it was called at {base_url}; nothing was signed.",
            fix=f"If {found['domain']} is the server you mean, call it by that name; if not, do not trust this one.",
        )
    if _authority(found["uri"]) != ours:
        raise _unsafe("its URI names another server")
    if found["address"].lower() != address.lower():
        raise _unsafe("it is for another wallet")
    if found["nonce"] != nonce:
        raise _unsafe("its nonce is not the one that was announced")
    if chain_id is not None and int(found["chain_id"]) != chain_id:
        raise _unsafe(f"it is for chain {found['chain_id']}, not {chain_id}")


def _authority(url: str) -> tuple[str, int | None] | None:
    """Host and port in one spelling, so that `Example.com` and `example.com:443` are equal; None for no web URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if not parts.hostname or scheme not in _DEFAULT_PORTS or "@" in parts.netloc:
        return None
    return parts.hostname.lower(), port or _DEFAULT_PORTS[scheme]


def _unsafe(why: str) -> UnsafeChallenge:
    return UnsafeChallenge(
        f"The message to sign was refused: {why}; nothing was signed.",
        fix="Check the server's URL; a leasebox asks for a plain sign-in to itself and for nothing else.",
    )
