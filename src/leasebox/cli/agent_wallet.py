"""A wallet's key on this machine: read from a file, or made.

The generated key lies unencrypted in a file that only its owner can read: an agent must sign in again by itself every
hour, and a password beside the file would protect nothing. Who wants a password brings a keystore (--key-file).
"""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leasebox.client import ClientError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_HEX_KEY = re.compile(r"(?:0x)?([0-9a-fA-F]{64})\Z")
_FILE_CAP = 64 * 1024


class UnusableKey(ClientError):
    """The key file cannot be used; its contents are never shown."""

    error = "unusable_key"


def load_key(path: Path, password: Callable[[], str]) -> "LocalAccount":
    """The key in a file of 64 hexadecimal digits or a keystore (JSON, Web3 Secret Storage).

    `password` is called for a keystore only. Raises UnusableKey.
    """
    text = _contents(path)
    try:
        if text.startswith("{"):
            from eth_account import Account  # noqa: PLC0415 - takes a third of a second to import

            return _key(Account.decrypt(json.loads(text), password()))
        digits = _HEX_KEY.match(text)
        if digits is None:
            raise _unusable(path, "it is neither 64 hexadecimal digits nor a keystore")
        return _key(bytes.fromhex(digits[1]))
    except (ValueError, TypeError, KeyError, AssertionError):
        # What eth-account says may repeat parts of the key.
        raise _unusable(path, "the key or the password is not right") from None


def make_key(path: Path) -> "LocalAccount":
    """Make a wallet from 256 random bits and keep its key in a new file (0600). Raises UnusableKey."""
    from eth_account import Account  # noqa: PLC0415 - takes a third of a second to import

    key: LocalAccount = Account.create()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key.key.hex() + "\n")
    except OSError as fault:
        raise UnusableKey(
            f"Cannot write {path}: {fault.strerror}.", fix="Set XDG_CONFIG_HOME to a directory that can be written."
        ) from None
    return key


def is_exposed(path: Path) -> bool:
    """Whether others on this machine may read the file."""
    return bool(path.stat().st_mode & 0o077)


def ask_password() -> str:
    """The keystore's password from whoever sits at the terminal. Raises UnusableKey where nobody does."""
    if not sys.stdin.isatty():
        raise UnusableKey(
            "The keystore needs a password and nobody can be asked.",
            fix="Run `leasebox login` in a terminal or with --password-file, or use a file with the bare key.",
        )
    answer: str = click.prompt("Password of the keystore", hide_input=True, err=True)
    return answer


def _key(private: bytes) -> "LocalAccount":
    from eth_account import Account  # noqa: PLC0415 - takes a third of a second to import

    key: LocalAccount = Account.from_key(private)
    return key


def _contents(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_CAP).decode().strip()
    except OSError as fault:
        raise _unusable(path, fault.strerror or type(fault).__name__) from None
    except UnicodeDecodeError:
        raise _unusable(path, "it is no text") from None


def _unusable(path: Path, why: str) -> UnusableKey:
    return UnusableKey(
        f"The key file {path} cannot be used: {why}.",
        fix="Name another one with --key-file or LEASEBOX_KEY_FILE, or run `leasebox login --generate`.",
    )
