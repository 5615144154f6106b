"""Signing with a wallet's key. Importing this costs a third of a second (eth-account), so do it when a key is used."""

from typing import TYPE_CHECKING

from eth_account.messages import encode_defunct

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


def sign(key: "LocalAccount", message: str) -> str:
    """The EIP-191 personal_sign signature of `message`: 0x and 65 bytes in hexadecimal."""
    signature: str = key.sign_message(encode_defunct(text=message)).signature.to_0x_hex()
    return signature
