"""Signatures that a verifier of EIP-191 accepts."""

from eth_account import Account
from eth_account.messages import encode_defunct

from leasebox.client.signing import sign


def test_the_signature_recovers_to_the_wallet() -> None:
    key = Account.create()
    signature = sign(key, "hello\nworld é")
    assert signature.startswith("0x")
    assert len(signature) == 132
    assert Account.recover_message(encode_defunct(text="hello\nworld é"), signature=signature) == key.address
