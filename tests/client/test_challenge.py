"""A wallet signs a sign-in to the very server that was called, and nothing else."""

import os
from pathlib import Path

import pytest

from leasebox.client.challenge import check
from leasebox.client.errors import UnsafeChallenge

WALLET = "0x9D85ca56217D2bb651b00f15e694EB7E713637D4"
GOOD = (
    "box.example wants you to sign in with your Ethereum account:\n"
    f"{WALLET}\n\nSign in to leasebox.\n\nURI: https://box.example\nVersion: 1\nChain ID: 84532\n"
    "Nonce: 0123456789abcdef\nIssued At: 2026-11-20T10:00:00Z\nExpiration Time: 2026-11-20T10:05:00Z\nRequest ID: 1"
)


def passes(message: str, base_url: str = "https://box.example", chain_id: int | None = 84532) -> bool:
    try:
        check(message, base_url=base_url, address=WALLET.lower(), nonce="0123456789abcdef", chain_id=chain_id)
    except UnsafeChallenge:
        return False
    return True


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("Sign in to leasebox.\n", ""),
        (WALLET, WALLET.lower()),
        ("box.example wants", "BOX.example:443 wants"),
        ("https://box.example", "https://box.example:443/any/path"),
        ("\nExpiration Time: 2026-11-20T10:05:00Z\nRequest ID: 1", ""),
        ("\nRequest ID: 1", "\nNot Before: 2026-11-20T10:00:00Z\nRequest ID: 1"),
    ],
)
def test_a_plain_sign_in_passes(old: str, new: str) -> None:
    assert passes(GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("box.example wants", "bank.example wants"),
        ("box.example wants", "box.example.evil.example wants"),
        ("box.example wants", "evil.example@box.example wants"),
        ("box.example wants", "box.example@evil.example wants"),
        ("box.example wants", "box.example:8443 wants"),
        ("box.example wants", "box.example/x wants"),
        ("box.example wants", "https://box.example wants"),
        ("https://box.example", "https://bank.example"),
        ("https://box.example", "urn:x"),
        ("https://box.example", "https://box.example:99999"),
        ("https://box.example", "http://box.example"),
        (WALLET, "0x" + "1" * 40),
        (WALLET, WALLET[:-1]),
        ("Nonce: 0123456789abcdef", "Nonce: 0123456789abcdeX"),
        ("Nonce: 0123456789abcdef\n", ""),
        ("Nonce: 0123456789abcdef", "Nonce: "),
        ("Version: 1", "Version: 2"),
        ("Chain ID: 84532", "Chain ID: 1"),
        ("Chain ID: 84532", "Chain ID: ٨٤٥٣٢"),
        ("Sign in to leasebox.", "I give away\nall that I have."),
        ("Request ID: 1", "Request ID: 1\nResources:\n- urn:recap:x"),
        ("Request ID: 1", "Request ID: 1\n"),
        ("Sign in to leasebox.", "x" * 5000),
        (GOOD, "Transfer 100 USDC"),
        (GOOD, ""),
    ],
)
def test_anything_else_is_refused(old: str, new: str) -> None:
    assert not passes(GOOD.replace(old, new, 1))


def test_any_chain_passes_when_none_was_asked_for() -> None:
    assert passes(GOOD.replace("84532", "1"), chain_id=None)


@pytest.mark.parametrize(
    ("url", "told", "same"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://127.0.0.1:8080", "localhost:8080", False),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://box.example", "box.example:80", True),
        ("https://box.example/leasebox", "box.example", True),
    ],
)
def test_the_url_that_was_called_decides(url: str, told: str, *, same: bool) -> None:
    uri = url.removesuffix("/leasebox") if same else f"http://{told}"
    message = GOOD.replace("box.example wants", f"{told} wants").replace("https://box.example", uri)
    assert passes(message, base_url=url) is same


def test_a_phishing_server_is_named() -> None:
    with pytest.raises(UnsafeChallenge, match=r"bank\.example.*nothing was signed"):
        check(
            GOOD.replace("box.example wants", "bank.example wants"),
            base_url="https://box.example",
            address=WALLET,
            nonce="0123456789abcdef",
            chain_id=None,
        )


def test_the_vectors_of_others_end_in_a_verdict() -> None:
    folder = Path(__file__).parents[3] / "shared/vectors/siwe"
    if not folder.is_dir():
        pytest.skip("the SIWE vectors are absent")
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert texts
    assert not any(passes(text) for text in texts), os.fspath(folder)
